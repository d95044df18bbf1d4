"""Tests of recovery: each message arrives once and in order, or the client is told of a gap."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.chat.chat_peers import NOW, ChatCase, Program
from tests.store.store_contract import make_message
from tests.store.test_sqlite import LaterTurns
from twisted_net.chat.client.client_state import ClientState
from twisted_net.chat.client.outputs import Acked, AskAgain, Deliver, GapDetected, SendRequest
from twisted_net.chat.limits import ChatLimits
from twisted_net.chat.recovery import merge
from twisted_net.store.log import Bounds, Page, StoredMessage
from twisted_net.store.memory import MemoryStore
from twisted_net.store.sqlite import SqliteStore
from twisted_net.testing import connect_peer


def stored(*offsets: int) -> list[StoredMessage]:
    return [StoredMessage(offset, make_message(str(offset))) for offset in offsets]


class MergeTests(SynchronousTestCase):
    def merged(
        self, page: list[StoredMessage], top: int, live: list[StoredMessage]
    ) -> list[int] | None:
        found = merge(Page("e", top, page, 1), live)
        return None if found is None else [each.offset for each in found]

    def test_what_was_read_and_what_was_heard(self) -> None:
        """The page and the live messages may overlap or adjoin, and either may be empty."""
        self.assertEqual(self.merged(stored(4, 5), 5, stored(4, 5, 6)), [4, 5, 6])
        self.assertEqual(self.merged(stored(4, 5), 5, stored(6, 7)), [4, 5, 6, 7])
        self.assertEqual(self.merged([], 3, stored(4)), [4])
        self.assertEqual(self.merged([], 3, []), [])

    def test_a_gap_at_the_seam(self) -> None:
        """A gap after the page, and a missing page, cannot be recovered."""
        self.assertIsNone(self.merged(stored(4, 5), 5, stored(7)))
        self.assertIsNone(self.merged(stored(4), 4, stored(5, 7)))
        self.assertIsNone(merge(None, stored(1)))

    @settings(max_examples=200, database=None)
    @given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.sets(st.integers(1, 20)))
    def test_all_or_nothing(self, since: int, read: int, heard: int, dropped: set[int]) -> None:
        """Whichever live messages were dropped, the result has no gap, or is None."""
        top, first = since + read, max(1, since + read - 3)
        live = [
            each for each in stored(*range(first, top + heard + 1)) if each.offset not in dropped
        ]
        found = self.merged(stored(*range(since + 1, top + 1)), top, live)
        lost = any(top < offset < (live[-1].offset if live else 0) for offset in dropped)
        self.assertEqual(found is None, lost)
        if found is not None:
            self.assertEqual(found, list(range(since + 1, since + 1 + len(found))))
            self.assertLessEqual({each.offset for each in live}, set(range(top + heard + 1)))


class SinceTests(ChatCase):
    """Tests of ``since``, as a program sends it."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.user("ann")
        self.bob = self.program("bob")
        (page,) = self.bob.asks(type="history", room="lobby")
        self.epoch = page["epoch"]
        for number in range(1, 6):
            self.ann.send(b"%d\n" % number)

    def join(self, epoch: str, offset: int) -> list[dict[str, Any]]:
        """Join with ``since``, as a new program."""
        program = self.program("", "")
        since = {"epoch": epoch, "offset": offset}
        return program.asks(type="join", room="lobby", since=since)

    def test_everything_after_it(self) -> None:
        """All messages after ``since`` follow once and in order."""
        for offset in range(6):
            joined, *missed = self.join(self.epoch, offset)
            self.assertEqual((joined["recovered"], joined["offset"]), (True, 5))
            self.assertEqual([each["offset"] for each in missed], list(range(offset + 1, 6)))
            self.assertEqual(
                [each["text"] for each in missed], [str(n + 1) for n in range(offset, 5)]
            )

    def test_what_cannot_be(self) -> None:
        """No message follows for another epoch, or for a position that never existed."""
        for epoch, offset in (("x", 3), ("", 0), (self.epoch, 6), (self.epoch, 2**53 - 1)):
            (joined,) = self.join(epoch, offset)
            self.assertEqual((joined["recovered"], joined["offset"]), (False, 5))

    def test_limits(self) -> None:
        """Too many messages, too many bytes and deleted messages cannot be recovered."""
        for more, count in (
            ({"chat_limits": ChatLimits(recover=3)}, 3),
            ({"queue_limit": 400}, 3),
            ({"store": MemoryStore(lambda: NOW, lambda: "e", Bounds(count=3))}, 3),
        ):
            self.factory = self.make(**more)
            self.ann = self.user("ann")
            for number in range(1, 6):
                self.ann.send(b"%d\n" % number)
            epoch = self.program("x").asks(type="history", room="lobby")[0]["epoch"]
            (joined,) = self.join(epoch, 5 - count - 1)
            self.assertEqual(joined["recovered"], False, more)
            joined, *missed = self.join(epoch, 5 - count)
            self.assertEqual((joined["recovered"], len(missed)), (True, count), more)

    def test_joining_again(self) -> None:
        """A program may join again to recover messages; other users do not notice."""
        self.pass_presence(self.ann, self.bob)
        since = {"epoch": self.epoch, "offset": 3}
        joined, *missed = self.bob.asks(type="join", room="lobby", since=since)
        self.assertEqual((joined["recovered"], len(missed)), (True, 2))
        self.ann.send(b"6\n")
        self.assertEqual([each["offset"] for each in self.bob.heard()], [6])
        self.ann.advance(1)
        self.assertEqual(self.ann.received, b"")


class SessionTests(ChatCase):
    """Tests of a session that goes on while its earlier connection is still there."""

    def test_it_is_announced_by_its_name(self) -> None:
        """The others are told which name has left, if the session does not join again."""
        ann, bob = self.user("ann"), self.program("bob")
        session = "a" * 32
        eve = self.program("eve", session=session)
        self.pass_presence(ann, bob, eve)
        for nick, name in (("eve", "eve"), ("", "eve"), ("zoe", "eve")):
            with self.subTest(nick=nick):
                eve = self.program(nick, "", session=session)
                self.clock.advance(1)
                left = {"type": "presence", "room": "lobby", "nick": name, "event": "leave"}
                self.assertEqual(bob.heard(), [left])
                self.assertEqual(ann.take(), f"* {name} left #lobby.\n".encode())
                eve.send(type="nick", nick="eve")
                eve.send(type="join", room="lobby")
                self.clock.advance(1)
                bob.heard(), ann.take()


class Robot:
    """A client with a :class:`ClientState`, over connections in memory.

    :ivar seen: the offsets and texts of the messages since the last join without recovery.
    """

    def __init__(self, test: PromiseTests, name: str) -> None:
        self.test, self.name = test, name
        self.state = ClientState(nick=name)
        self.program: Program | None = None
        self.sent: list[str] = []
        self.acked: dict[str, int] = {}
        self.seen: list[tuple[int, str]] = []
        self.lost = 0
        self.do(self.state.join("r"))

    def connect(self) -> None:
        if self.program is None:
            self.program = Program(connect_peer(self.test.factory))
            self.do(self.state.connected())

    def cut(self) -> None:
        if self.program is not None:
            program, self.program = self.program, None
            program.peer.reset()
            self.do(self.state.disconnected())

    def say(self) -> None:
        id = f"{self.name}-{len(self.sent)}"
        self.sent.append(id)
        message = {"type": "message", "room": "r", "text": id, "id": id}
        self.do(self.state.send(message))

    def read(self) -> bool:
        """Read the messages that have arrived. Return whether there were any."""
        if self.program is None:
            return False
        messages = self.program.heard()
        for message in messages:
            if message["type"] == "joined" and message["recovered"] is not True:
                self.seen = []
                self.start = message["offset"]
            self.do(self.state.received(message))
        return bool(messages)

    def do(self, outputs: list[Any]) -> None:
        for output in outputs:
            match output:
                case SendRequest(message):
                    if self.program is not None:
                        self.program.raw(json.dumps(message).encode())
                case Deliver({"type": "message"} as message):
                    self.seen.append((message["offset"], message["text"]))
                case Acked(id, offset):
                    self.test.assertNotIn(id, self.acked)
                    self.acked[id] = offset
                    self.seen.append((offset, id))
                case GapDetected(_):
                    self.lost += 1
                case AskAgain(room):
                    self.do(self.state.ask_again(room))


class PromiseTests(ChatCase):
    """Compare clients that lose connections, and a server that is killed, with a model."""

    recover = 1000

    def setUp(self) -> None:
        self.path = self.mktemp()
        super().setUp()
        self.addCleanup(self.store._log.close)

    def make(self, **settings: Any) -> Any:
        self.worker = LaterTurns()
        self.store = SqliteStore(
            *(self.path, self.clock, lambda: self.worker, lambda: NOW, lambda: "epoch")
        )
        limits = ChatLimits(recover=self.recover)
        factory = super().make(store=self.store, chat_limits=limits)
        factory.start_store()
        return factory

    def kill(self) -> None:
        """Kill the server. Messages that were not committed are lost."""
        for robot in self.robots:
            robot.cut()
        self.worker.jobs.clear()
        self.store._log.close()
        self.factory = self.make()

    def settle(self) -> None:
        """Run until nothing happens any more."""
        busy = True
        while busy:
            self.clock.advance(0)
            busy = bool(self.worker.jobs)
            self.worker.work()
            self.clock.advance(0)
            for robot in self.robots:
                busy |= robot.read()

    # Examples are not shrunk, because that takes minutes.
    @settings(max_examples=60, database=None, phases=[Phase.generate])
    @given(
        st.lists(
            st.tuples(st.sampled_from("sssssccrrrtwwk"), st.integers(0, 2)),
            min_size=5,
            max_size=80,
        ),
        st.sampled_from([3, 1000]),
    )
    def test_exactly_once_and_in_order(self, steps: list[tuple[str, int]], recover: int) -> None:
        """Each message arrives once and in order, or the client is told of a gap."""
        self.play(steps, recover)

    def test_an_old_ack_after_a_new_one(self) -> None:
        """In one append, messages that were stored before are acked after the others."""
        bob = self.play([(step, 1) for step in "rwsstcttwrtws"], recover=1)[1]
        self.assertEqual(list(bob.acked.items()), [("bob-0", 1), ("bob-2", 3), ("bob-1", 2)])
        self.assertEqual(bob.lost, 1)

    def play(self, steps: list[tuple[str, int]], recover: int) -> list[Robot]:
        """Run the steps, let everything settle, and compare the result with the model."""
        self.recover = recover
        self.setUp()
        self.robots = [Robot(self, name) for name in ("ann", "bob", "eve")]
        for step, who in steps:
            robot = self.robots[who]
            match step:
                case "s":
                    robot.say()
                case "c":
                    robot.cut()
                case "r":
                    robot.connect()
                    robot.read()
                case "t":
                    self.clock.advance(0)
                case "w":
                    self.worker.work()
                    robot.read()
                case "k":
                    self.kill()
        for robot in self.robots:
            robot.connect()
        self.settle()
        self.check()
        self.store._log.close()
        return self.robots

    def check(self) -> None:
        page = self.store._log.before("r", None, 10_000, NOW)
        log = {each.offset: each.message.text for each in page.stored}
        said = [id for robot in self.robots for id in robot.sent]
        self.assertEqual(sorted(log.values()), sorted(said))  # each is stored once
        for robot in self.robots:
            self.assertEqual(set(robot.acked), set(robot.sent))
            # Offsets follow the order of sending, although acks may arrive in another order.
            stored = [robot.acked[id] for id in robot.sent]
            self.assertEqual(stored, sorted(stored), robot.name)
            for id, offset in robot.acked.items():
                self.assertEqual(log[offset], id)
            offsets = [offset for offset, _ in robot.seen if offset > robot.start]
            self.assertEqual(offsets, list(range(robot.start + 1, page.top + 1)), robot.name)
            for offset, text in robot.seen:
                self.assertEqual(log[offset], text)
            if self.recover == 1000:
                self.assertEqual(robot.lost, 0)
