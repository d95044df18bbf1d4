"""Tests for the eager reactor. ``tests.eager.reactor_suite`` runs Twisted's own tests on it."""

from __future__ import annotations

import subprocess
import sys

from twisted.application.reactors import getReactorTypes
from twisted.internet import main
from twisted.internet.error import ConnectionDone, ConnectionFdescWentAway, ConnectionLost
from twisted.internet.interfaces import IReactorSSL, IReactorTCP, IReactorUNIX
from twisted.python import context, log
from twisted.python.failure import Failure
from twisted.python.log import ILogContext
from twisted.trial.unittest import SynchronousTestCase

from tests.eager.reactor_turns import OnStock, TurnsTestCase
from twisted_net.eager import reactor as module
from twisted_net.eager.reactor import EagerReactor
from twisted_net.eager.write_batch import LARGE


class TurnPromises:
    """What Twisted's and our reactor promise about events."""

    def setUp(self):
        super().setUp()
        self.logged = []
        log.addObserver(self.logged.append)
        self.addCleanup(log.removeObserver, self.logged.append)

    def _systems(self, text: str) -> list[str]:
        return [event["system"] for event in self.logged if event["message"] == (text,)]

    def test_prefix(self):
        """A protocol's log lines have the prefix of its transport; other lines have none."""
        (one, ours), (other, theirs) = self.connect(), self.connect()
        for protocol in (one, other):
            protocol.received = lambda self, data: log.msg("inside")
        one.transport.logstr, other.transport.logstr = "One", "Other"
        ours.send(b"x")
        self.turn_until(lambda: one.events)
        theirs.send(b"x")
        self.turn_until(lambda: other.events)
        log.msg("outside")
        self.assertEqual(self._systems("inside"), ["One", "Other"])
        self.assertEqual(self._systems("outside"), ["-"])

    def test_outer_context(self):
        """The context in which the reactor runs is visible, as is what a protocol adds to it."""
        protocol, peer = self.connect()
        protocol.transport.logstr = "Prefix"
        seen = []

        def received(self, data):
            seen.append(context.get(ILogContext))
            log.callWithContext({"b": 2}, lambda: seen.append(context.get(ILogContext)))
            seen.append(context.get("key"))

        protocol.received = received
        peer.send(b"x")
        context.call(
            {ILogContext: {"system": "outer", "a": 1}, "key": "value"},
            self.turn_until,
            lambda: seen,
        )
        inside = {"system": "Prefix", "a": 1}
        self.assertEqual(seen, [inside, {**inside, "b": 2}, "value"])

    def test_raising(self):
        """An error in dataReceived is logged with the prefix, and ends only that connection."""
        (bad, ours), (good, theirs) = self.connect(), self.connect()
        bad.transport.logstr = "Bad"
        bad.received = lambda self, data: 1 / 0
        ours.send(b"x")
        theirs.send(b"y")
        self.turn_until(lambda: len(bad.events) == 2 and good.events)
        self.assertEqual(bad.events, [("data", b"x"), ("lost", ZeroDivisionError)])
        self.assertEqual(good.events, [("data", b"y")])
        (event,) = [event for event in self.logged if event["isError"]]
        self.assertEqual(event["system"], "Bad")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_raising_twice(self):
        """An error in connectionLost is logged with the prefix too."""
        protocol, peer = self.connect()
        protocol.transport.logstr = "Bad"

        def connectionLost(reason):
            protocol.events.append("lost")
            raise KeyError

        protocol.connectionLost = connectionLost
        peer.close()
        self.turn_until(lambda: protocol.events)
        (event,) = [event for event in self.logged if event["isError"]]
        self.assertEqual(event["system"], "Bad")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_interrupted(self):
        """KeyboardInterrupt in connectionLost is not caught, so that the process ends."""
        protocol, peer = self.connect()

        def connectionLost(reason):
            raise KeyboardInterrupt

        protocol.connectionLost = connectionLost
        peer.close()
        self.assertRaises(KeyboardInterrupt, self.turn_until, lambda: False)

    def test_turns_inside(self):
        """A protocol may run turns of the reactor inside an event, and keeps its prefix."""
        (one, ours), (other, theirs) = self.connect(), self.connect()
        one.transport.logstr, other.transport.logstr = "One", "Other"

        def received(protocol, data):
            theirs.send(b"y")
            self.turn_until(lambda: other.events)
            log.msg("after")

        one.received = received
        other.received = lambda self, data: log.msg("nested")
        ours.send(b"x")
        self.turn_until(lambda: one.events and self._systems("after"))
        self.assertEqual(self._systems("nested") + self._systems("after"), ["Other", "One"])

    def test_ended_by_another(self):
        """An event whose connection an earlier event of the turn has closed is not delivered."""
        (one, ours), (other, theirs) = self.connect(), self.connect()

        def ends(victim):
            failure = Failure(main.CONNECTION_LOST)
            return lambda self, data: victim.transport.connectionLost(failure)

        one.received, other.received = ends(other), ends(one)
        ours.send(b"x")
        theirs.send(b"x")
        self.turn_until(lambda: one.events and other.events)
        kinds = sorted(event[0] for event in one.events + other.events)
        self.assertEqual(kinds, ["data", "lost"])

    def test_lost_descriptor(self):
        """A connection whose socket was closed by other code ends with that reason."""
        protocol, peer = self.connect()
        descriptor = protocol.transport.fileno()
        peer.send(b"x")
        events = self.reactor._poller.poll(1, 10)
        protocol.transport.socket.close()

        class Late:
            def poll(self, *arguments):
                return [event for event in events if event[0] == descriptor]

            def __getattr__(self, name):
                return lambda *arguments: None

        self.patch(self.reactor, "_poller", Late())
        self.reactor.doIteration(0)
        self.assertEqual(protocol.events, [("lost", ConnectionFdescWentAway)])

    def test_writers(self):
        """A transport with unsent data is among the writers, and is disconnected with the
        others."""
        transport = self.connect()[0].transport
        transport.pauseProducing()
        transport.write(b"x")
        self.assertIn(transport, self.reactor.getWriters())
        self.turn(3)
        self.assertNotIn(transport, self.reactor.getWriters())
        transport.write(b"x")
        self.assertIn(transport, self.reactor.removeAll())
        transport.loseConnection()

    def test_end_of_stream(self):
        """The end of the stream is a clean end."""
        protocol, peer = self.connect()
        peer.close()
        self.turn_until(lambda: protocol.events)
        self.assertEqual(protocol.events, [("lost", ConnectionDone)])


class StockTurnTests(TurnPromises, OnStock, TurnsTestCase):
    """The reference."""


class EagerTurnTests(TurnPromises, TurnsTestCase):
    """The cheaper turn."""

    def test_slices(self):
        """New events are handled after a bounded time, however many transports have data to
        send."""
        self.patch(module, "TRANSPORTS_PER_FLUSH", 1)
        (one, ours), (other, theirs), (third, arriving) = (self.connect() for _ in range(3))
        one.transport.write(b"x")
        other.transport.write(b"x")
        arriving.send(b"x")
        self.reactor.doIteration(1)
        self.assertEqual(ours.recv(10), b"x")
        self.assertEqual(third.events, [("data", b"x")])
        self.assertRaises(BlockingIOError, theirs.recv, 10)
        self.reactor.doIteration(0)
        self.assertEqual(theirs.recv(10), b"x")

    def test_no_wait_between_slices(self):
        """While transports have data to send, no turn waits for an event."""
        self.patch(module, "TRANSPORTS_PER_FLUSH", 1)
        pairs = [self.connect() for _ in range(2)]
        for protocol, _ in pairs:
            protocol.transport.write(b"x")
        started = self.reactor.seconds()
        self.reactor.doIteration(5)
        self.assertLess(self.reactor.seconds() - started, 5)

    def test_is_awaited(self):
        """A turn is awaited by an event, a call that is due, one from a thread, or a write."""
        protocol, peer = self.connect()
        self.turn()
        self.assertFalse(self.reactor.is_awaited())
        later = self.reactor.callLater(60, int)
        self.assertFalse(self.reactor.is_awaited())
        later.cancel()
        self.reactor.callLater(0, int)
        self.assertTrue(self.reactor.is_awaited())
        self.turn()
        self.assertFalse(self.reactor.is_awaited())
        self.reactor.callFromThread(int)
        self.assertTrue(self.reactor.is_awaited())
        self.turn()
        for size in (1, LARGE):
            self.assertFalse(self.reactor.is_awaited())
            protocol.transport.write(b"x" * size)
            self.assertTrue(self.reactor.is_awaited())
            self.turn()
        peer.send(b"x")
        self.assertTrue(self.reactor.is_awaited())
        self.assertEqual(protocol.events, [])  # nothing is handled, and nothing is forgotten
        self.turn()
        self.assertEqual(protocol.events, [("data", b"x")])

    def test_call_soon(self):
        """Calls come after the events that have arrived, once each, and the next ones a turn later.

        No turn waits for them, and an error in one does not concern the others.
        """
        protocol, peer = self.connect()
        self.turn()
        called = []

        def call():
            called.append(list(protocol.events))
            self.reactor.call_soon(lambda: called.append("later"))

        self.reactor.call_soon(lambda: 1 // 0)
        self.reactor.call_soon(call)
        self.assertTrue(self.reactor.is_awaited())
        peer.send(b"x")
        self.reactor.doIteration(0)
        self.assertEqual(called, [[("data", b"x")]])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        started = self.reactor.seconds()
        self.reactor.doIteration(5)
        self.assertLess(self.reactor.seconds() - started, 5)
        self.assertEqual(called[1:], ["later"])
        self.assertFalse(self.reactor.is_awaited())

    def test_large(self):
        """Large writes are sent after their event, small ones after the turn."""
        sizes = {LARGE: LARGE, LARGE - 1: None}
        for size, expected in sizes.items():
            protocol, peer = self.connect()
            protocol.received = lambda self, data, size=size: self.transport.write(b"x" * size)
            peer.send(b"go")
            self.reactor.doIteration(1)
            if expected is None:
                self.assertRaises(BlockingIOError, peer.recv, 1 << 20)
            else:
                self.assertEqual(len(peer.recv(1 << 20)), expected)
            self.turn()

    def test_large_writers(self):
        """A transport with much to send is among the writers too."""
        protocol, _ = self.connect()
        protocol.transport.write(b"x" * LARGE)
        self.assertIn(protocol.transport, self.reactor.getWriters())

    def test_lost_after_failed_send(self):
        """After a send has failed with a reset, the next read does not report a clean end."""
        protocol, peer = self.connect()
        protocol.transport.socket = _Refusing(protocol.transport.socket, 104)
        protocol.transport.write(b"x")
        self.reactor.batch.flush()
        peer.close()
        self.turn_until(lambda: protocol.events)
        self.assertEqual(protocol.events, [("lost", ConnectionLost)])

    def test_lost_without_reading(self):
        """A send error ends the connection even if the next send would succeed."""
        protocol, _ = self.connect()
        protocol.transport.pauseProducing()
        actual = protocol.transport.socket
        protocol.transport.socket = _Refusing(actual, 113)
        protocol.transport.write(b"x")
        self.reactor.batch.flush()
        self.assertEqual(protocol.events, [])
        protocol.transport.socket = actual
        self.turn_until(lambda: protocol.events)
        self.assertEqual(protocol.events, [("lost", ConnectionLost)])


class _Refusing:
    """A socket whose send fails."""

    def __init__(self, actual, errno):
        self._actual = actual
        self._errno = errno

    def send(self, data):
        raise OSError(self._errno, "refused by the test")

    def __getattr__(self, name):
        return getattr(self._actual, name)


def _python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )


class PluginTests(SynchronousTestCase):
    """``twistd --reactor eager``."""

    def test_found(self):
        """The reactor is found once, by its name, with a description."""
        (found,) = [each for each in getReactorTypes() if each.shortName == "eager"]
        self.assertNotIn("\n", found.description)

    def test_installed(self):
        """When it is chosen by name, it becomes the reactor."""
        done = _python(
            "from twisted.application.reactors import installReactor\n"
            "print(type(installReactor('eager')).__name__)"
        )
        self.assertEqual(done.stdout, "EagerReactor\n", done.stderr)

    def test_nothing_imported(self):
        """The plugin file imports nothing of this package."""
        done = _python(
            "import sys\n"
            "import twisted.plugins.twisted_net_plugins\n"
            "print([name for name in sys.modules if name.startswith('twisted_net')])"
        )
        self.assertEqual(done.stdout, "[]\n", done.stderr)

    def test_no_epoll(self):
        """Without epoll, one line says so."""
        done = _python(
            "import select\n"
            "del select.epoll\n"
            "from twisted.application.reactors import installReactor\n"
            "installReactor('eager')"
        )
        self.assertEqual(
            done.stderr,
            "--reactor eager: the eager reactor needs epoll(7), which this system does not have\n",
        )
        self.assertEqual(done.returncode, 1)

    def test_interfaces(self):
        """It provides the same interfaces as Twisted's."""
        for interface in (IReactorTCP, IReactorUNIX, IReactorSSL):
            self.assertTrue(interface.implementedBy(EagerReactor))
