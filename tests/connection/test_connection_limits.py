"""Limits on unfair peers: rate, unfinished messages, stalls, queues, and the memory budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.connection.recording import Recorder, Waiting, factory_of, made, made_tls
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.stalls import LOOKS_PER_TURN, PAUSE, StallCheck
from twisted_net.policy.budget import MemoryBudget
from twisted_net.policy.close_reasons import CLOSED, PEER_CLOSED
from twisted_net.policy.limits import OverflowPolicy
from twisted_net.testing import connect_peer, connect_tls_peer
from twisted_net.wire.framing import LengthPrefixed, SkippingLines, TooLong


def numbers(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def lines(messages: list[bytes]) -> bytes:
    return b"".join(message + b"\n" for message in messages)


class RateTests(SynchronousTestCase):
    def test_not_read_until_it_may_go_on(self) -> None:
        """A burst is read at once, then ``rate`` messages per second."""
        connection, peer = made(rate=8, burst=5)
        peer.send(*(number + b"\n" for number in numbers(100)))
        self.assertEqual(connection.events[1:], numbers(5))
        self.assertFalse(peer.reading)
        self.assertTrue(peer.unread)
        for done in range(6, 101):
            peer.advance(0.125)
            self.assertEqual(connection.messages_received, done)
        self.assertEqual(connection.events[1:], numbers(100))

    def test_nothing_is_lost(self) -> None:
        """Messages over the rate are not lost, even if the peer has closed."""
        connection, peer = made(rate=10, burst=5)
        peer.send(lines(numbers(50)))
        peer.write_eof()
        self.assertTrue(peer.connected)
        peer.advance(3)
        self.assertEqual(connection.messages_received, 35)
        peer.advance(2)
        self.assertEqual(connection.events[1:], [*numbers(50), PEER_CLOSED])

    def test_nothing_is_lost_over_tls(self) -> None:
        """Over TLS, which has no half-close, the rest is still delivered after the peer's end."""
        connection, peer = made_tls(rate=10, burst=5)
        peer.send(lines(numbers(50)))
        peer.resumeProducing()  # OpenSSL reads the end together with what came before
        peer.write_eof()
        self.assertFalse(peer.connected)
        peer.advance(6)
        self.assertEqual(connection.events[1:], [*numbers(50), PEER_CLOSED])
        self.assertEqual(len(connection.factory), 0)
        self.assertEqual(peer.clock.getDelayedCalls(), [])

    def test_a_fair_peer_never_waits(self) -> None:
        connection, peer = made(rate=10, burst=1)
        for number in numbers(200):
            peer.send(number + b"\n")
            self.assertEqual(connection.events[-1], number)
            peer.advance(0.1 + 1e-9)
        self.assertTrue(peer.reading)

    def test_it_is_not_idle_meanwhile(self) -> None:
        """A peer is not idle while paused for the rate, and has the full time again afterwards."""
        connection, peer = made(rate=0.1, burst=1, idle_timeout=3)
        peer.send(b"a\nb\n")
        for _ in range(19):
            peer.advance(1)
            self.assertIsNone(connection.reason)
        self.assertEqual(connection.messages_received, 2)
        peer.advance(3)
        self.assertIsNone(connection.reason)
        peer.advance(1)
        self.assertEqual(connection.reason.code, "idle")

    def test_with_asynchronous_hooks(self) -> None:
        """Reading continues when both the rate and the hook allow it."""
        connection, peer = made(Waiting, rate=1, burst=1)
        peer.send(b"a\nb\n")
        connection.hooks[0].callback(None)
        self.assertEqual(len(connection.hooks), 1)
        peer.advance(1)
        self.assertEqual(len(connection.hooks), 2)
        peer.advance(5)
        self.assertFalse(peer.reading)
        connection.hooks[1].callback(None)
        self.assertTrue(peer.reading)

    def test_ends(self) -> None:
        """However the connection ends during a pause, no timer is left."""
        for end in ("close", "abort"):
            connection, peer = made(rate=1, burst=1)
            peer.send(b"a\nb\n")
            getattr(connection, end)()
            peer.turn()
            peer.write_eof()
            self.assertEqual(connection.events[1:2], [b"a"])
            self.assertEqual(peer.clock.getDelayedCalls(), [])


class Skipping(Recorder):
    framing = SkippingLines

    def message_received(self, message: Any) -> None:
        self.events.append(message)


class MessageTimeoutTests(SynchronousTestCase):
    def closed_at(self, connection: Any, peer: Any, sent: bytes, every: float) -> float:
        """Send one byte after another, and return the time at which the connection was closed."""
        started = peer.clock.seconds()
        for byte in sent:
            peer.send(bytes([byte]))
            peer.advance(every)
            if connection.reason is not None:
                self.assertEqual(connection.reason.code, "unfinished")
                return float(peer.clock.seconds() - started)
        raise AssertionError("it is still there")

    def test_a_drip(self) -> None:
        """A message sent byte by byte is closed between S and S + 1 seconds after its start."""
        for seconds in (1.0, 2.5, 10.0):
            for protocol in (Recorder, self.prefixed(), self.skipping()):
                for phase in (0.0, 0.2, 0.4):
                    connection, peer = made(protocol, message_timeout=seconds)
                    peer.send(b"\x00" if protocol.framing is not Recorder.framing else b"x")
                    peer.advance(phase)
                    lasted = phase + self.closed_at(connection, peer, b"\x00" + b"x" * 300, 0.05)
                    self.assertTrue(seconds < lasted <= seconds + 1.05, (protocol, lasted))

    def prefixed(self) -> Any:
        return type("Prefixed", (Recorder,), {"framing": partial(LengthPrefixed, 4)})

    def skipping(self) -> Any:
        return Skipping

    def test_of_an_endless_line(self) -> None:
        """A line that is skipped has a time limit too."""
        connection, peer = made(self.skipping(), message_timeout=5, max_message=10)
        self.closed_at(connection, peer, b"x" * 100, 0.1)
        self.assertIn(TooLong(10), connection.events)

    def test_more_time(self) -> None:
        """A subclass may give a message more time, as long as more of it arrives."""

        class Patient(Recorder):
            asked = 0

            def has_more_time(self) -> bool:
                self.asked += 1
                return self.asked < 10

        connection, peer = made(Patient, message_timeout=5)
        self.assertFalse(connection.is_incomplete)
        for asked in range(10):
            peer.send(b"x")
            self.assertEqual((connection.asked, connection.is_incomplete), (asked, True))
            peer.advance(4)
        self.assertIsNone(connection.reason)
        peer.send(b"x")
        peer.advance(3)
        self.assertEqual((connection.asked, connection.reason.code), (10, "unfinished"))

    def test_the_answer(self) -> None:
        """A subclass may tell a peer that its message took too long, before the end."""

        class Telling(Recorder):
            def overdue_answer(self) -> bytes:
                return b"too late\n"

        connection, peer = made(Telling, message_timeout=5)
        peer.send(b"x")
        peer.advance(4)
        self.assertEqual(peer.received, b"")
        peer.advance(2)
        self.assertEqual((peer.received, peer.finished), (b"too late\n", True))
        self.assertEqual(connection.reason.code, "unfinished")

    def test_progress(self) -> None:
        """Complete messages count as progress, even if one is always unfinished."""
        connection, peer = made(message_timeout=2)
        peer.send(b"first")
        for _ in range(100):
            peer.advance(1.9)
            peer.send(b" end\nnext")
        self.assertIsNone(connection.reason)
        self.assertEqual(connection.messages_received, 100)
        peer.advance(3)
        self.assertEqual(connection.reason.code, "unfinished")

    def test_a_pause_between_messages(self) -> None:
        """Pauses between messages are not limited, and each message has the full time."""
        connection, peer = made(message_timeout=2)
        for _ in range(20):
            peer.send(b"a")
            peer.advance(1.7)
            peer.send(b"b\n")
            peer.advance(1.7)
        self.assertEqual((connection.reason, connection.messages_received), (None, 20))

    def test_nobody_listens(self) -> None:
        """Time during which the peer is not read does not count."""
        connection, peer = made(message_timeout=2)
        peer.send(b"half")
        peer.advance(1.5)
        connection.pause()
        peer.send(b" and half\n")
        peer.advance(20)
        connection.resume()
        peer.turn()
        self.assertEqual(connection.events[1:], [b"half and half"])
        peer.send(b"half")
        peer.advance(1.5)
        connection.pause()
        connection.resume()
        peer.advance(1.9)
        self.assertIsNone(connection.reason)
        peer.advance(2)
        self.assertEqual(connection.reason.code, "unfinished")

    def test_never(self) -> None:
        connection, peer = made(message_timeout=0)
        peer.send(b"half")
        peer.advance(10_000)
        self.assertIsNone(connection.reason)


class HandshakeTests(SynchronousTestCase):
    def test_in_time(self) -> None:
        """A handshake may use all its time. Afterwards the timeout is off."""
        connection, peer = made_tls(handshake_timeout=10)
        peer.advance(1000)
        self.assertIsNone(connection.reason)

    def test_too_late(self) -> None:
        for seconds in (0.5, 10.0):
            peer = connect_tls_peer(factory_of(Recorder, handshake_timeout=seconds))
            peer.advance(seconds)
            self.assertTrue(peer.connected)
            peer.advance(1)
            self.assertFalse(peer.connected)
            self.assertEqual(peer.protocol.reason.code, "handshake")
            self.assertEqual(peer.protocol.events, [])
            self.assertEqual(peer.clock.getDelayedCalls(), [])

    def test_never(self) -> None:
        peer = connect_tls_peer(factory_of(Recorder, handshake_timeout=0))
        peer.advance(10_000)
        self.assertTrue(peer.connected)


class Looked(Recorder):
    """Counts the checked connections, by time."""

    turns: ClassVar[Counter[float]] = Counter()


class Unable(Clock):
    """A reactor that does not know its writers, such as IOCP."""

    def getWriters(self) -> Sequence[object]:
        raise NotImplementedError


@implementer(IReactorFDSet)
class Knowing(Clock):
    """A clock that knows, as a reactor does, which transports have data to write."""

    writers: Sequence[object] = ()

    def getWriters(self) -> Sequence[object]:
        return self.writers


class Between:
    """Keeps what it wraps in an attribute."""

    def __init__(self, name: str, inner: object) -> None:
        setattr(self, name, inner)


def in_a_client(protocol: Any) -> Any:
    """Put TLS, and the wrapper of Twisted's client endpoints, in front of a protocol."""
    return Between("_wrappedProtocol", Between("wrappedProtocol", protocol))


class StallTests(SynchronousTestCase):
    def setUp(self) -> None:
        look_at = StallCheck.look_at

        def counted(check: StallCheck, connection: Any) -> None:
            if isinstance(connection, Looked):
                connection.turns[connection.factory.clock.seconds()] += 1
            look_at(check, connection)

        self.patch(StallCheck, "look_at", counted)

    def test_it_takes_nothing(self) -> None:
        """A stalled peer is aborted between 1 and 1.5 times the limit, on plain TCP and TLS."""
        for make in (made, made_tls):
            for size in (1, 50_000, 300_000):
                connection, peer = make(stall_timeout=30)
                peer.full()
                connection.send(b"x" * size)
                peer.advance(29)
                self.assertIsNone(connection.reason)
                peer.advance(16)
                self.assertEqual(connection.reason.code, "slow")
                self.assertIn("took nothing", connection.detail)
                self.assertTrue(peer.aborted)
                self.assertEqual(peer.clock.getDelayedCalls(), [])

    def test_slow_but_steady(self) -> None:
        """Reading one byte now and then is enough, whatever waits and is sent meanwhile."""
        connection, peer = made(stall_timeout=30)
        peer.full()
        connection.send(b"x" * 100_000)
        for _ in range(100):
            connection.send(b"more")
            peer.drain(1)
            peer.advance(15)
        self.assertIsNone(connection.reason)

    def test_more_is_sent_to_who_takes_nothing(self) -> None:
        """Sending more to a peer that reads nothing is not progress."""
        connection, peer = made(stall_timeout=30)
        peer.full()
        for _ in range(45):
            connection.send(b"more")
            peer.advance(1)
        self.assertEqual(connection.reason.code, "slow")

    def test_who_has_everything(self) -> None:
        """A peer with nothing waiting may be silent for any time, even after it was slow once."""
        connection, peer = made(stall_timeout=30)
        for _ in range(5):
            peer.full()
            connection.send(b"x")
            peer.advance(25)
            peer.drain()
            peer.advance(300)
        self.assertIsNone(connection.reason)

    def test_a_crowd_is_looked_at_in_parts(self) -> None:
        """Many connections are checked in batches, all of them in time; the healthy ones stay."""
        factory = factory_of(Looked, stall_timeout=30)
        peers = [connect_peer(factory) for _ in range(2 * LOOKS_PER_TURN + 10)]
        stalled, others = peers[::2], peers[1::2]
        for peer in stalled:
            peer.full()
            peer.protocol.send(b"x")
        Looked.turns.clear()
        for _ in range(15_000):
            factory.clock.advance(0.003)  # one batch each
        self.assertEqual({peer.protocol.reason.code for peer in stalled}, {"slow"})
        self.assertEqual({peer.protocol.reason for peer in others}, {None})
        self.assertEqual(max(Looked.turns.values()), LOOKS_PER_TURN)
        self.assertEqual(len(Looked.turns), 3 * 4)

    def test_a_crowd_leaves_meanwhile(self) -> None:
        """Connections that have ended are not checked. When all have ended, nothing runs."""
        factory = factory_of(Looked, stall_timeout=30)
        peers = [connect_peer(factory) for _ in range(2 * LOOKS_PER_TURN)]
        Looked.turns.clear()
        for _ in range(21):
            factory.clock.advance(0.5)
        for peer in peers[1 : LOOKS_PER_TURN + 10]:
            peer.reset()
        factory.clock.advance(PAUSE)
        self.assertEqual(list(Looked.turns.values()), [LOOKS_PER_TURN, LOOKS_PER_TURN - 10])
        for peer in (peers[0], *peers[LOOKS_PER_TURN + 10 :]):
            peer.reset()
        self.assertEqual(factory.clock.getDelayedCalls(), [])

    def three(self, clock: Clock) -> list[Any]:
        """Return three connections that have not been checked."""
        factory = ConnectionFactory.forProtocol(Looked, clock=clock, stall_timeout=30)
        Looked.turns.clear()
        return [connect_peer(factory) for _ in range(3)]

    def pass_time(self, clock: Clock, seconds: int) -> None:
        for _ in range(2 * seconds):
            clock.advance(0.5)

    def test_a_reactor_knows_who_is_behind(self) -> None:
        """Only connections with unsent data are checked, also through Twisted's wrappers."""
        for wrap in (lambda it: it, lambda it: Between("wrappedProtocol", it), in_a_client):
            clock = Knowing()
            one, two, _ = self.three(clock)
            self.pass_time(clock, 100)
            self.assertEqual(Looked.turns, {})
            two.unsent += b"a byte that its transport holds"
            clock.writers = [Between("protocol", wrap(two.protocol))]
            self.pass_time(clock, 29)
            self.assertIsNone(two.protocol.reason)
            self.pass_time(clock, 13)
            self.assertEqual((two.protocol.reason.code, one.protocol.reason), ("slow", None))
            self.assertEqual(set(Looked.turns.values()), {1})

    def test_who_caught_up_begins_anew(self) -> None:
        """A peer that has caught up has the full limit again when it falls behind."""
        clock = Knowing()
        _, two, _ = self.three(clock)
        for _ in range(5):
            two.unsent += b"x"
            clock.writers = [Between("protocol", two.protocol)]
            self.pass_time(clock, 25)
            two.unsent.clear()
            clock.writers = []
            self.pass_time(clock, 25)
            self.assertEqual(two.protocol.factory._stalls._progress, {})
        self.assertIsNone(two.protocol.reason)

    def test_a_writer_that_may_be_anybody(self) -> None:
        """If a writer is unknown, or the reactor knows no writers, all connections are checked."""
        clock = Knowing()
        clock.writers = [object()]
        for each in (clock, Unable()):
            _, two, _ = self.three(each)
            two.unsent += b"a byte that its transport holds"
            self.pass_time(each, 42)
            self.assertEqual(two.protocol.reason.code, "slow")
            self.assertEqual(max(Looked.turns.values()), 3)

    def test_a_transport_that_no_reactor_knows(self) -> None:
        """A transport outside the reactor, such as an SSH channel, reports that it is full."""
        clock = Knowing()
        _, two, _ = self.three(clock)
        factory = two.protocol.factory
        two.full()
        self.assertEqual(factory.full, {two.protocol})
        two.drain()
        self.assertEqual(factory.full, set())
        two.full()
        two.protocol.send(b"x" * 100)
        self.pass_time(clock, 42)
        self.assertEqual((two.protocol.reason.code, factory.full), ("slow", set()))
        self.assertEqual(set(Looked.turns.values()), {1})

    def test_never(self) -> None:
        connection, peer = made(stall_timeout=0)
        peer.full()
        connection.send(b"x")
        peer.advance(10_000)
        self.assertIsNone(connection.reason)


class Noticed(Recorder):
    def missed_notice(self, count: int) -> bytes:
        return b"missed %d\n" % count


class DropTests(SynchronousTestCase):
    def sent(self, rule: OverflowPolicy) -> tuple[Any, Any]:
        connection, peer = made(Noticed, overflow_policy=rule, queue_limit=10)
        peer.full()
        for number in numbers(9):
            connection.send(number)
        return connection, peer

    def test_the_oldest(self) -> None:
        """Whole messages are dropped, and the peer is told how many only once it has caught up."""
        connection, peer = self.sent(OverflowPolicy.DROP_OLDEST)
        self.assertEqual(connection.queued, 10)
        peer.drain()
        self.assertEqual(peer.take(), b"4\n5\n6\n7\n8\nmissed 4\n")
        connection.send(b"on")
        self.assertEqual(peer.take(), b"on\n")
        self.assertEqual((connection.reason, connection.messages_sent), (None, 6))

    def test_last_words(self) -> None:
        """They are not dropped, and nothing is sent behind them."""
        for rule in OverflowPolicy:
            connection, peer = made(Noticed, overflow_policy=rule, queue_limit=10)
            peer.full()
            for number in numbers(5):
                connection.send(number)
            if rule is not OverflowPolicy.CLOSE:
                connection.send(b"5")
            connection.send_last(b"goodbye")
            connection.close(CLOSED)
            self.assertEqual(connection.reason, CLOSED)
            peer.drain()
            self.assertTrue(peer.take().endswith(b"goodbye"))
            self.assertTrue(peer.finished)

    def test_the_newest(self) -> None:
        _, peer = self.sent(OverflowPolicy.DROP_NEWEST)
        peer.drain()
        self.assertEqual(peer.take(), b"0\n1\n2\n3\n4\nmissed 4\n")

    def test_again(self) -> None:
        """Each time that the peer falls behind is counted separately."""
        connection, peer = self.sent(OverflowPolicy.DROP_NEWEST)
        peer.drain()
        peer.take()
        peer.full()
        for _ in range(6):
            connection.send(b"x")
        peer.drain()
        self.assertTrue(peer.take().endswith(b"missed 1\n"))

    def test_untold(self) -> None:
        """Without a notice in the protocol, nothing is sent."""
        connection, peer = made(overflow_policy=OverflowPolicy.DROP_NEWEST, queue_limit=4)
        peer.full()
        for number in numbers(5):
            connection.send(number)
        peer.drain()
        self.assertEqual(peer.received, b"0\n1\n")

    def test_close(self) -> None:
        connection, peer = self.sent(OverflowPolicy.CLOSE)
        self.assertEqual(connection.reason.code, "slow")
        peer.drain()
        self.assertEqual(peer.received, b"0\n1\n2\n3\n4\n")
        connection, peer = self.sent(OverflowPolicy.CLOSE)
        peer.advance(7)
        self.assertFalse(peer.connected)

    def test_they_are_stalled_all_the_same(self) -> None:
        """A peer that reads nothing is closed, even if its messages are dropped."""
        connection, peer = self.sent(OverflowPolicy.DROP_OLDEST)
        connection.factory.clock.advance(0)
        peer.unsent += b"a byte that its transport holds"
        peer.advance(42)
        self.assertEqual(connection.reason.code, "slow")


class BudgetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.budget: MemoryBudget[Any] = MemoryBudget(1000)
        self.clock = Clock()
        self.factory = ConnectionFactory.forProtocol(Recorder, clock=self.clock, budget=self.budget)

    def full(self) -> Any:
        peer = connect_peer(self.factory)
        peer.full()
        return peer

    def test_the_worst_goes_first_and_alone(self) -> None:
        peers = [self.full() for _ in range(5)]
        for size, peer in enumerate(peers, 1):
            for _ in range(size):
                peer.protocol.send(b"x" * 59)
        self.assertEqual(self.budget.total, 900)
        peers[0].protocol.send(b"x" * 159)
        self.clock.advance(0)
        self.assertEqual([peer.connected for peer in peers], [True] * 4 + [False])
        self.assertEqual(peers[4].protocol.reason.code, "slow")
        self.assertEqual(self.budget.total, 760)

    def test_the_one_that_sends(self) -> None:
        """The sender may be the worst peer itself, in the middle of a broadcast."""
        peers = [self.full() for _ in range(3)]
        peers[1].protocol.send(b"x" * 899)
        for _ in range(2):
            for peer in peers:
                peer.protocol.send(b"x" * 49)
        self.clock.advance(0)
        self.assertEqual([peer.connected for peer in peers], [True, False, True])
        self.assertEqual(self.budget.total, 200)

    def test_the_account_is_right(self) -> None:
        """The count is right after every kind of end, and for peers that have caught up."""
        ends: list[Any] = [
            lambda peer: peer.reset(),
            lambda peer: peer.protocol.abort(),
            lambda peer: peer.drain(),
            lambda peer: (peer.protocol.close(), peer.advance(7)),
        ]
        for end in ends:
            peer = self.full()
            peer.protocol.send(b"x" * 99)
            self.assertEqual(self.budget.total, 100)
            end(peer)
            peer.turn()
            self.assertEqual((self.budget.total, len(self.budget)), (0, 0))

    def test_with_drops(self) -> None:
        """Dropped messages do not count."""
        factory = ConnectionFactory.forProtocol(
            Recorder,
            clock=self.clock,
            budget=self.budget,
            queue_limit=100,
            overflow_policy=OverflowPolicy.DROP_OLDEST,
        )
        peer = connect_peer(factory)
        peer.full()
        for _ in range(50):
            peer.protocol.send(b"x" * 29)
        self.assertEqual(self.budget.total, peer.protocol.queued)
        peer.drain()
        self.assertEqual(self.budget.total, 0)

    def test_two_factories(self) -> None:
        """One budget covers several factories."""
        other = ConnectionFactory.forProtocol(Recorder, clock=self.clock, budget=self.budget)
        first, second = self.full(), connect_peer(other)
        second.full()
        first.protocol.send(b"x" * 699)
        second.protocol.send(b"x" * 399)
        self.clock.advance(0)
        self.assertEqual((first.connected, second.connected), (False, True))
