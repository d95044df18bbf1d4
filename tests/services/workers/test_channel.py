"""Tests for the channel and the handoff between the supervisor and a worker."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.upgrade.moving import copied
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.close_reasons import DENIED, FULL, TOO_FAST, TOO_MANY
from twisted_net.policy.ranges import parse_range
from twisted_net.services.workers.channel import (
    ChannelError,
    ControlChannel,
    adopt_channel,
    export_channel,
    open_channel,
)
from twisted_net.services.workers.dispatcher import Dispatcher
from twisted_net.services.workers.handle import WorkerHandle
from twisted_net.services.workers.handoff import (
    ADMITTED,
    LEFT_TO_WORKER,
    Decision,
    HandedConnection,
    HandoffReader,
    hand_over,
    hand_successor,
    make_pair,
)
from twisted_net.testing import connect_peer
from twisted_net.wire.framing import JsonLines


class ChannelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.told: list[Any] = []
        self.lost: list[bool] = []
        self.answer: Any = None
        channel = ControlChannel(
            lambda name, values: self.told.append((name, values)),
            lambda name, values: self.answer(name, values),
            lambda: self.lost.append(True),
        )
        self.channel = channel
        self.clock = Clock()
        factory = ConnectionFactory.forProtocol(lambda: channel, clock=self.clock)
        self.peer = connect_peer(factory)

    def send(self, message: Any) -> None:
        self.peer.send(JsonLines().encode(message))

    def said(self) -> list[Any]:
        return JsonLines().feed(self.peer.take())

    def test_telling(self) -> None:
        """Both sides may tell."""
        self.channel.tell("stop", why="x")
        self.assertEqual(self.said(), [{"tell": "stop", "why": "x"}])
        self.send({"tell": "ready", "n": 1})
        self.assertEqual(self.told, [("ready", {"n": 1})])

    def test_asking(self) -> None:
        """Answers find their questions by number, in any order."""
        one, two = self.channel.ask("a", x=1), self.channel.ask("b")
        self.assertEqual(self.said(), [{"ask": "a", "id": 1, "x": 1}, {"ask": "b", "id": 2}])
        self.send({"id": 2, "answer": [2]})
        self.send({"id": 1, "error": "No.", "status": 404})
        self.send({"id": 7, "answer": "to nothing"})
        self.assertEqual(self.successResultOf(two), [2])
        self.assertEqual(self.failureResultOf(one, ChannelError).value.status, 404)

    def test_giving_up(self) -> None:
        """Who waits no longer gets no answer."""
        asked = self.channel.ask("a")
        asked.cancel()
        self.failureResultOf(asked)
        self.send({"id": 1, "answer": 1})

    def test_being_asked(self) -> None:
        """The answer is sent when it is known."""
        later: Deferred[int] = Deferred()
        self.answer = lambda name, values: later
        self.send({"ask": "a", "id": 5, "x": 2})
        self.assertEqual(self.said(), [])
        later.callback(3)
        self.assertEqual(self.said(), [{"id": 5, "answer": 3}])

    def test_refusing(self) -> None:
        """An error is an answer; one that nobody foresaw is logged, and not told."""
        self.answer = lambda name, values: fail(ChannelError(404, "Nothing."))
        self.send({"ask": "a", "id": 5})
        self.assertEqual(self.said(), [{"id": 5, "error": "Nothing.", "status": 404}])
        self.answer = lambda name, values: 1 // 0
        self.send({"ask": "a", "id": 6})
        (said,) = self.said()
        self.assertEqual((said["id"], said["status"]), (6, 500))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_the_end(self) -> None:
        """Who waits hears that the other is gone; who asks later, at once."""
        asked = self.channel.ask("a")
        self.channel.abort()
        self.clock.advance(0)
        self.failureResultOf(asked, ChannelError)
        self.failureResultOf(self.channel.ask("b"), ChannelError)
        self.assertEqual(self.lost, [True])


class MovingTests(TestCase):
    """A channel, after its process has become new code."""

    async def test_it_goes_on(self) -> None:
        """In the middle of a line, in both directions; old answers are none to new questions."""
        from twisted.internet import reactor, task

        ours, its = socket.socketpair()
        self.addCleanup(its.close)
        told: list[Any] = []

        def channel() -> ControlChannel:
            return ControlChannel(
                lambda name, values: told.append(name), lambda name, values: None, lambda: None
            )

        old = channel()
        open_channel(reactor, ours, old)
        asked = old.ask("a")
        its.sendall(b'{"tell": "one"}\n{"tell": "tw')
        while not told:
            await task.deferLater(reactor, 0)  # type: ignore[arg-type]
        state = copied(export_channel(old, os.dup))
        new = channel()
        adopt_channel(reactor, state, new)
        old.give_up()
        again = new.ask("b")
        its.sendall(b'o"}\n{"id": 1, "answer": "old"}\n{"id": 2, "answer": "new"}\n')
        self.assertEqual(await again, "new")
        self.assertEqual(told, ["one", "two"])
        lines = b""
        its.setblocking(False)
        while lines.count(b"\n") < 2:
            with contextlib.suppress(BlockingIOError):
                lines += its.recv(1000)
            await task.deferLater(reactor, 0)  # type: ignore[arg-type]
        self.assertEqual([each["ask"] for each in map(json.loads, lines.splitlines())], ["a", "b"])
        self.assertNoResult(asked)
        new.abort()
        await task.deferLater(reactor, 0)  # type: ignore[arg-type]

    def test_a_channel_that_ends(self) -> None:
        """It cannot be kept, and says so."""
        lost = ControlChannel(lambda *_: None, lambda *_: None, lambda: None)
        connect_peer(ConnectionFactory.forProtocol(lambda: lost, clock=Clock()))
        self.assertRaises(ValueError, export_channel, lost, os.dup)


class HandoffTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ours, self.its = make_pair()
        self.addCleanup(self.ours.close)
        self.addCleanup(self.its.close)
        self.taken: list[Any] = []
        self.readers: list[Any] = []
        self.reader = HandoffReader(self, self.its, self.take)

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def take(self, handed: HandedConnection) -> None:
        copy = socket.socket(fileno=os.dup(handed.descriptor))
        self.addCleanup(copy.close)
        self.taken.append((handed, copy))

    def pair(self) -> tuple[socket.socket, socket.socket]:
        one, other = socket.socketpair()
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        return one, other

    def read_all(self) -> None:
        """Read what has been passed on. One call may leave some: a slice has a time limit."""
        while select.select([self.its], [], [], 0)[0]:
            self.reader.doRead()

    def test_what_arrives(self) -> None:
        """The same connection, with its listener and every decision."""
        self.reader.start()
        decisions = [ADMITTED, LEFT_TO_WORKER]
        decisions += [Decision(refusal=each) for each in (FULL, TOO_MANY, TOO_FAST, DENIED)]
        for number, decision in enumerate(decisions):
            one, other = self.pair()
            host = f"10.0.0.{number}" if number else None
            self.assertTrue(hand_over(self.ours, one, number, decision, host))
            one.close()
            other.sendall(b"%d" % number)
        self.read_all()
        self.assertEqual(len(self.taken), len(decisions))
        for number, (handed, copy) in enumerate(self.taken):
            self.assertEqual((handed.listener, handed.family), (number, socket.AF_UNIX))
            self.assertEqual(handed.decision, decisions[number])
            self.assertEqual(handed.host, f"10.0.0.{number}" if number else None)
            self.assertEqual(copy.recv(9), b"%d" % number)

    def test_no_room(self) -> None:
        """A worker that takes nothing has no room at some time, and nothing is lost."""
        one, _ = self.pair()
        count = 0
        while hand_over(self.ours, one, 0, ADMITTED):
            count += 1
        self.reader.start()
        self.reader.take_all()
        self.assertEqual(len(self.taken), count)
        self.assertEqual(self.readers, [])
        self.assertTrue(hand_over(self.ours, one, 0, ADMITTED))

    def test_a_successor(self) -> None:
        """The socket to a new process comes the same way, in its turn, with the process's id."""
        came: list[Any] = []

        def succeeded(descriptor: int, pid: int) -> None:
            came.append((socket.socket(fileno=os.dup(descriptor)), pid))

        self.reader = HandoffReader(self, self.its, self.take, succeeded)
        one, other = self.pair()
        end, its_end = self.pair()
        hand_over(self.ours, one, 0, ADMITTED)
        self.assertTrue(hand_successor(self.ours, end, 4711))
        end.close()
        self.reader.start()
        self.read_all()
        self.assertEqual((len(self.taken), came[0][1]), (1, 4711))
        with came[0][0] as copy:
            its_end.sendall(b"hello")
            self.assertEqual(copy.recv(9), b"hello")
        self.its.close()
        self.assertRaises(OSError, hand_successor, self.ours, other, 1)

    def test_a_pause(self) -> None:
        """What waits stays in the socket, whoever reads it next."""
        for _ in range(2):
            hand_over(self.ours, self.pair()[0], 0, ADMITTED)

        def take_and_pause(handed: HandedConnection) -> None:
            self.take(handed)
            self.reader.pause()

        self.reader = HandoffReader(self, self.its, take_and_pause)
        self.reader.start()
        self.reader.doRead()
        self.assertEqual((len(self.taken), self.readers), (1, []))
        copy = socket.socket(fileno=os.dup(self.its.fileno()))
        self.addCleanup(copy.close)
        self.reader.close()
        other = HandoffReader(self, copy, self.take)
        other.start()
        other.doRead()
        self.assertEqual((len(self.taken), self.readers), (2, [other]))

    def test_a_worker_that_is_gone(self) -> None:
        """Handing over raises."""
        self.its.close()
        self.assertRaises(OSError, hand_over, self.ours, self.pair()[0], 0, ADMITTED)

    def test_a_supervisor_that_is_gone(self) -> None:
        """The reader stops; what was passed on before is taken."""
        self.reader.start()
        hand_over(self.ours, self.pair()[0], 0, ADMITTED)
        self.ours.close()
        self.reader.take_all()
        self.assertEqual((len(self.taken), self.readers), (1, []))

    def test_what_cannot_be_served(self) -> None:
        """An error concerns one connection, whose descriptor is closed."""
        self.reader = HandoffReader(self, self.its, lambda *_: 1 // 0)
        self.reader.start()
        one, other = self.pair()
        hand_over(self.ours, one, 0, ADMITTED)
        one.close()
        self.reader.doRead()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(other.recv(1), b"")
        self.assertEqual(self.readers, [self.reader])


class FakeTaker:
    """A worker that takes connections, or has no room."""

    def __init__(self) -> None:
        self.may_take = True
        self.has_room = True
        self.places: Counter[str | None] = Counter()
        self.predecessor: FakeTaker | None = None
        self.successor: FakeTaker | None = None
        self.stayed: Counter[str | None] = Counter()
        self.taken: list[Decision] = []

    def take(
        self, connection: socket.socket, listener: int, decision: Decision, host: str | None
    ) -> bool:
        if self.has_room:
            self.taken.append(decision)
        return self.has_room


class FakeConnection:
    family = socket.AF_INET
    is_closed = False

    def close(self) -> None:
        self.is_closed = True


class DispatcherTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.workers: Any = [FakeTaker(), FakeTaker()]
        self.holds: list[bool] = []
        self.dispatcher = self.make(max_per_address=2)

    def make(self, **rules: Any) -> Dispatcher:
        return Dispatcher(
            self.clock,
            lambda: self.workers,
            Admission(AdmissionRules(**rules)),
            [parse_range("", "10.9.0.0/16")],
            self.holds.append,
        )

    def connect(self, host: str = "10.0.0.1") -> Any:
        connection: Any = FakeConnection()
        self.dispatcher.accepted(0, connection, (host, 1))
        return connection

    def decisions(self) -> list[list[Decision]]:
        return [worker.taken for worker in self.workers]

    def test_in_turn(self) -> None:
        """Each worker gets the next one; the supervisor keeps no descriptor."""
        connections = [self.connect(f"10.0.0.{each}") for each in range(4)]
        self.assertEqual(self.decisions(), [[ADMITTED] * 2] * 2)
        self.assertTrue(all(each.is_closed for each in connections))

    def test_limits_are_not_multiplied(self) -> None:
        """An address has its limit at all workers together, and places are free again."""
        for _ in range(3):
            self.connect()
        refused = Decision(refusal=TOO_MANY)
        self.assertEqual(self.decisions(), [[ADMITTED, refused], [ADMITTED]])
        worker: WorkerHandle = self.workers[0]
        self.dispatcher.left(worker, ["10.0.0.1", "10.0.0.1", "10.0.0.7"])
        self.assertEqual(self.dispatcher.admission.open, 1)
        self.connect()
        self.assertEqual(self.workers[1].taken[-1], ADMITTED)

    def test_a_worker_dies(self) -> None:
        """The places of its connections are free."""
        self.connect()
        self.connect("10.0.0.2")
        self.dispatcher.worker_gone(self.workers[0])
        self.assertEqual(self.dispatcher.admission.open, 1)
        self.assertEqual(self.workers[1].places, {"10.0.0.2": 1})

    def test_a_successor(self) -> None:
        """It has the places of the connections that have moved, whoever tells first."""
        for moves_first in (True, False):
            self.workers = [FakeTaker()]
            self.dispatcher = self.make()
            for _ in range(4):
                self.connect("10.0.0.1")
                self.connect("10.0.0.2")
            old, new = self.workers[0], FakeTaker()
            old.successor, new.predecessor = new, old
            self.dispatcher.left(old, ["10.0.0.1"])
            self.dispatcher.left(new, ["10.0.0.2", "10.0.0.1"])  # it has told before it was known
            if moves_first:
                old.stayed = Counter(["10.0.0.2"])
                self.dispatcher.stayed(old)
            self.dispatcher.succeeded(new)
            if not moves_first:
                old.stayed = Counter(["10.0.0.2"])
                self.dispatcher.stayed(old)
            count = self.dispatcher.admission.open
            self.dispatcher.left(old, ["10.0.0.2"])
            self.assertEqual(self.dispatcher.admission.open, count - 1)
            self.assertEqual(old.places, {})
            self.dispatcher.worker_gone(old)
            self.dispatcher.worker_gone(new)
            self.assertEqual(self.dispatcher.admission.open, 0)

    def test_what_stayed_has_left_at_once(self) -> None:
        """A connection that has moved keeps its place, though others of its address leave.

        They leave the old worker, which may end before the new one has said that it serves.
        """
        self.workers = [FakeTaker()]
        self.dispatcher = self.make()
        for _ in range(3):
            self.connect()
        old, new = self.workers[0], FakeTaker()
        old.successor, new.predecessor = new, old
        old.stayed = Counter(["10.0.0.1"] * 2)
        self.dispatcher.stayed(old)
        self.dispatcher.left(old, ["10.0.0.1"] * 2)
        self.dispatcher.succeeded(new)
        self.dispatcher.worker_gone(old)
        self.assertEqual((self.dispatcher.admission.open, new.places), (1, {"10.0.0.1": 1}))
        self.dispatcher.left(new, ["10.0.0.1"])
        self.assertEqual(self.dispatcher.admission.open, 0)

    def test_new_code(self) -> None:
        """What waits, and the places of what is open, are known after a change of the program."""
        self.connect("10.0.0.1")
        self.workers[0].has_room = self.workers[1].has_room = False
        one, other = socket.socketpair()
        with other:
            other.settimeout(0)
            self.dispatcher.accepted(3, one, (None, 1))
            state = json.loads(json.dumps(self.dispatcher.export_state(os.dup)))
            one.close()
            self.clock = Clock()
            self.dispatcher = self.make()
            self.dispatcher.restore_state(state, self.workers)
            self.assertEqual(self.dispatcher.admission.open, 2)
            self.workers[1].has_room = True
            self.clock.advance(0.005)
            self.assertEqual(self.workers[1].taken, [ADMITTED])
            self.assertEqual(other.recv(1), b"", "nobody else has it")

    def test_proxies(self) -> None:
        """The worker decides about what comes through one: only it learns the client's address."""
        for _ in range(5):
            self.connect("10.9.1.1")
        self.assertEqual(self.decisions(), [[LEFT_TO_WORKER] * 3, [LEFT_TO_WORKER] * 2])
        self.assertEqual(self.dispatcher.admission.open, 0)

    def test_no_room(self) -> None:
        """Who has none is passed over. If nobody has, nothing more is accepted for a moment."""
        self.workers[0].has_room = False
        self.connect("10.0.0.1")
        self.connect("10.0.0.2")
        self.assertEqual(self.decisions(), [[], [ADMITTED] * 2])
        self.workers[1].has_room = False
        waiting = [self.connect("10.0.0.3"), self.connect("10.0.0.4")]
        self.assertEqual(self.holds, [True])
        self.clock.pump([0.005] * 3)
        self.assertFalse(any(each.is_closed for each in waiting))
        self.workers[0].has_room = True
        self.clock.advance(0.005)
        self.assertTrue(all(each.is_closed for each in waiting))
        self.assertEqual(self.workers[0].taken, [ADMITTED] * 2)
        self.assertEqual((self.holds[-1], self.clock.getDelayedCalls()), (False, []))

    def test_the_end(self) -> None:
        """What nobody has taken is closed, and its place is free."""
        self.workers.clear()
        waiting = self.connect()
        self.dispatcher.close()
        self.assertTrue(waiting.is_closed)
        self.assertEqual(self.dispatcher.admission.open, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_zones(self) -> None:
        """An address of a link is counted without the name of the interface."""
        self.connect("fe80::1%eth0")
        self.assertEqual(self.workers[0].places, {"fe80::1": 1})
