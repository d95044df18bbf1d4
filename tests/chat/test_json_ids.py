"""Tests of the ids of requests: whatever answers a request carries its id."""

from __future__ import annotations

import json
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse as Passwords
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from tests.chat.chat_peers import ChatCase, Program
from twisted_net.chat import ChatLimits, StoreError
from twisted_net.store.memory import MemoryStore
from twisted_net.testing import connect_peer


class LateStore(MemoryStore):
    """A store whose operations fire or fail when the test says so.

    :ivar waiting: the Deferreds of the operations that have not fired, with their results.
    :ivar late: the names of the operations that wait.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock.seconds, lambda: "e" * 32)
        self.waiting: list[tuple[Deferred[Any], Deferred[Any]]] = []
        self.late: set[str] = set()

    def subscribe(self, *args: Any) -> Any:
        return self._later("subscribe", super().subscribe(*args))

    def before(self, *args: Any) -> Any:
        return self._later("before", super().before(*args))

    def append(self, *args: Any) -> Any:
        if "append" in self.late:
            return fail(StoreError("the disk is full"))
        return super().append(*args)

    def _later(self, name: str, done: Any) -> Any:
        if name not in self.late:
            return done
        waiting: Deferred[Any] = Deferred()
        self.waiting.append((waiting, done))
        return waiting

    def go_on(self) -> None:
        """Fire all that waits."""
        while self.waiting:
            waiting, done = self.waiting.pop(0)
            done.chainDeferred(waiting)

    def fail(self) -> None:
        """Fail all that waits."""
        while self.waiting:
            self.waiting.pop(0)[0].errback(StoreError("the disk is gone"))


class IdCase(ChatCase):
    def assertIds(self, program: Program, id: str, *types: str, **request: Any) -> None:
        """Check the types of the answers to a request, and that each has the request's id."""
        answers = program.asks(**request, id=id)
        self.assertEqual([each["type"] for each in answers], list(types), answers)
        self.assertEqual([each.get("id") for each in answers], [id] * len(types), answers)


class AnswerTests(IdCase):
    """Each kind of answer."""

    def setUp(self) -> None:
        super().setUp()
        accounts = Passwords(ann=b"pw", boss=b"pw")
        self.factory = self.make(checkers=[accounts], operators=["boss"], plain_logins=True)

    def test_every_request(self) -> None:
        """Every request that has an answer has one with its id; others do not get the id."""
        ann, bob = self.program("bob"), self.program("eve")
        self.pass_presence(ann, bob)
        for number, (types, request) in enumerate((
            (["who"], {"type": "who", "room": "lobby"}),
            (["rooms"], {"type": "rooms"}),
            (["joined"], {"type": "join", "room": "den"}),
            (["joined"], {"type": "join", "room": "den"}),
            (["topic"], {"type": "topic", "room": "lobby"}),
            (["topic"], {"type": "topic", "room": "lobby", "topic": "wine"}),
            (["history"], {"type": "history", "room": "lobby"}),
            (["ack"], {"type": "message", "room": "lobby", "text": "hi"}),
            (["ack"], {"type": "private", "to": "eve", "text": "hi"}),
            (["left"], {"type": "leave", "room": "den"}),
            (["nick"], {"type": "nick", "nick": "rob"}),
            (["nick"], {"type": "nick", "nick": "rob"}),
            (["pong"], {"type": "ping"}),
            ([], {"type": "pong"}),
            (["nick"], {"type": "login", "user": "ann", "password": "pw"}),
            (["error"], {"type": "login", "user": "ann", "password": "pw"}),
            (["goodbye"], {"type": "quit"}),
        )):  # fmt: skip
            self.assertIds(ann, f"r{number}", *types, **request)
        self.clock.advance(1)
        heard = bob.heard()
        self.assertEqual([each for each in heard if "id" in each], [])
        self.assertIn(("topic", "rob"), [(each["type"], "rob") for each in heard])

    def test_operators(self) -> None:
        """The same holds for the requests of operators."""
        boss = self.program("x", user="boss", password="pw")
        self.program("troll")
        self.program("imp")
        self.pass_presence(boss)
        self.assertIds(boss, "m1", "notice", type="mute", nick="troll")
        self.assertIds(boss, "m2", "notice", type="mute", nick="troll", minutes=0)
        self.assertIds(boss, "b1", "bans", type="bans")
        boss.heard()
        answers = boss.asks(type="kick", nick="imp", id="k")
        self.assertEqual([each for each in answers if "id" in each], [{"type": "ack", "id": "k"}])
        answers = boss.asks(type="ban", nick="troll", id="b2")
        told = [each["text"] for each in answers if each.get("id") == "b2"]
        self.assertEqual(told, ["troll is kept out for 60 minutes."])
        self.assertIds(boss, "b3", "notice", type="unban", nick="troll")
        self.assertIds(boss, "b4", "error", type="kick", nick="nobody")

    def test_hello(self) -> None:
        """The welcome has the id of the hello, and so has the join that the hello asks for."""
        program = Program(connect_peer(self.factory))
        self.assertIds(program, "h0", "error", type="hello", nick="x y")
        self.assertIds(program, "h1", "welcome", "joined", type="hello", nick="ann", room="lobby")
        self.assertIds(program, "h2", "error", type="hello", nick="ann")

    def test_a_password(self) -> None:
        """A hello with a password is answered with its id once the password is checked."""
        program = Program(connect_peer(self.factory))
        wrong = {"type": "hello", "user": "ann", "password": "no"}
        self.assertIds(program, "h1", "error", **wrong)
        self.assertIds(program, "h2", type="hello", user="ann", password="pw")
        self.clock.advance(60)
        answers = [each for each in program.heard() if each["type"] == "welcome"]
        self.assertEqual([each["id"] for each in answers], ["h2"])

    def test_before_hello(self) -> None:
        """A request before the hello is refused with its id."""
        program = Program(connect_peer(self.factory))
        self.assertIds(program, "j", "error", type="join", room="den")
        self.assertIds(program, "p", "pong", type="ping")

    def test_a_ban(self) -> None:
        """Who is banned is told so with the id of the first request, whatever it is."""
        boss = self.program("x", user="boss", password="pw")
        for number, nick in enumerate(("eve", "troll")):
            address = IPv4Address("TCP", f"192.0.2.{number}", 1)
            boss.asks(type="ban", nick=address.host)
            for line in (f'{{"type":"hello","nick":"{nick}","id":"h"}}', '{"id":"h","x"}'):
                program = Program(connect_peer(self.factory, peer=address))
                program.raw(line.encode())
                seen = [(each["type"], each["id"]) for each in program.heard()]
                self.assertEqual(seen, [("error", "h"), ("goodbye", "h")])

    def test_a_private_message_to_oneself(self) -> None:
        """Only the ack has the id, and not the message, which others could have sent."""
        ann = self.program("bob")
        told, ack = ann.asks(type="private", to="bob", text="hi", id="p")
        self.assertEqual((told["type"], told.get("id")), ("private", None))
        self.assertEqual(ack, {"type": "ack", "id": "p"})

    def test_a_topic_in_its_place(self) -> None:
        """The answer to a new topic comes in the order of the room, and others get no id."""
        ann, bob = self.program("bob"), self.program("eve")
        self.pass_presence(ann, bob)
        for peer in (ann, bob):
            peer.heard()
        lines = (
            {"type": "message", "room": "lobby", "text": "one", "id": "a"},
            {"type": "topic", "room": "lobby", "topic": "wine", "id": "b"},
            {"type": "message", "room": "lobby", "text": "two", "id": "c"},
        )
        ann.peer.protocol.dataReceived(
            b"".join(json.dumps(each).encode() + b"\n" for each in lines)
        )
        seen = [(each["type"], each.get("id")) for each in ann.heard()]
        self.assertEqual(seen, [("ack", "a"), ("topic", "b"), ("ack", "c")])
        seen = [(each["type"], each.get("id")) for each in bob.heard()]
        self.assertEqual(seen, [("message", None), ("topic", None), ("message", None)])


class StoreTests(IdCase):
    """Answers that wait for the store."""

    def setUp(self) -> None:
        super().setUp()
        self.store = LateStore(self.clock)
        self.factory = self.make(store=self.store, chat_limits=ChatLimits(waiting=1))

    def test_late_answers(self) -> None:
        """An answer that waits for the store has the id of its request and no other."""
        ann = self.program("ann")
        self.store.late = {"before", "subscribe"}
        for number in range(2):
            ann.send(type="history", room="lobby", id=f"h{number}")
            ann.send(type="join", room=f"den{number}", id=f"j{number}")
        self.assertEqual(ann.heard(), [])
        self.store.go_on()
        seen = [(each["type"], each["id"]) for each in ann.heard()]
        wanted = [("history", "h0"), ("joined", "j0"), ("history", "h1"), ("joined", "j1")]
        self.assertEqual(seen, wanted)

    def test_failures(self) -> None:
        """The error of a store that fails has the id of the request."""
        ann = self.program("ann")
        self.store.late = {"before", "subscribe", "append"}
        ann.send(type="history", room="lobby", id="h")
        ann.send(type="join", room="den", id="j")
        self.store.fail()
        seen = [(each["code"], each["id"]) for each in ann.heard()]
        self.assertEqual(seen, [("store", "h"), ("store", "j")])
        self.assertIds(ann, "m", "error", type="message", room="lobby", text="x")

    def test_a_topic_while_joining(self) -> None:
        """A program that still waits for its join gets the answer to its topic after it."""
        ann = self.program("ann")
        self.store.late = {"subscribe"}
        ann.send(type="join", room="den", id="j")
        ann.send(type="topic", room="den", topic="wine", id="t")
        self.store.go_on()
        self.clock.advance(0)
        seen = [(each["type"], each.get("id")) for each in ann.heard()]
        self.assertEqual(seen, [("joined", "j"), ("topic", "t")])


class MalformedTests(IdCase):
    """Lines that are no requests."""

    def setUp(self) -> None:
        super().setUp()
        self.bob = self.program("bob")

    def answer(self, line: bytes) -> dict[str, Any]:
        self.bob.raw(line)
        (answer,) = self.bob.heard()
        return answer

    def test_a_readable_id(self) -> None:
        """The error of a malformed request has its id if the id can be read."""
        for line in (
            b'{"id":"a","type":"dance"}',
            b'{"id":"a"}',
            b'{"id":"a","type":7}',
            b'{"id":"a","type":"ping"',
            b'{"id":"a","type":ping}',
            b'{ "x" : [1, {"id":"no"}] , "id" : "a" , }',
            b'{"type":"ping","id":"a","type":"quit"}',
            b'{"id":"a","id":"a","type":"ping"}',
            b'{"id":"a","x":NaN}',
            b'{"x":NaN,"id":"a"}',
            b'{"id":"a","x":' + b"[" * 9 + b"]" * 9 + b"}",
            b'{"x":' + b"[" * 9 + b"]" * 9 + b',"id":"a"}',
            b'{"id":"a","x":' + b"9" * 5000 + b"}",
            b'{"id":"a","x":"\xff"}',
            b'{"x":"\xff","id":"a"}',
            b'{"id":"a"} {"id":"b"}',
            b'{"id":"a","text":"' + b"x" * 9000 + b'"}',
            b'\xc2\xa0{"\\u0069d":"\\u0061","type":"dance"',
        ):
            answer = self.answer(line)
            self.assertEqual((answer["type"], answer.get("id")), ("error", "a"), line[:40])

    def test_an_unreadable_id(self) -> None:
        """The error has no id if none can be read with certainty, or none can be sent back."""
        for line in (
            b'{"id":"a","id":"b","type":"ping"}',
            b'{"id":7,"type":"ping"}',
            b'{"id":["a"],"type":"ping"}',
            b'{"id":true,"type":"ping"}',
            b'{"id":"","type":"ping"}',
            b'{"id":"' + b"x" * 65 + b'","type":"ping"}',
            b'{"id":"a\\nb","type":"ping"}',
            b'{"id":"\\ud800","type":"ping"}',
            b'{"id":"\xff","type":"ping"}',
            b'{"id":"a',
            b'{"x":"id":"a"}',
            b'{"x":{"id":"a"},',
            b'[{"id":"a"}]',
            b'"id"',
            b"[" * 8000,
            b'{"text":"' + b"x" * 9000 + b'","id":"a"}',
        ):
            answer = self.answer(line)
            self.assertEqual((answer["type"], answer.get("id")), ("error", None), line[:40])

    def test_ids_of_every_script(self) -> None:
        """An id of up to 64 printable characters comes back as it was sent."""
        for id in (
            "x" * 64,
            "ü" * 64,
            "e\u0301",
            "\u00e9",
            "日本",
            "👩\u200d👧",
            "7",
            "null",
            "a b",
            "⁠",
        ):
            self.assertIds(self.bob, id, "pong", type="ping")
            self.assertIds(self.bob, id, "ack", type="message", room="lobby", text="hi")

    def test_null(self) -> None:
        """An id of null is none, as for every optional field."""
        self.bob.raw(b'{"type":"ping","id":null}')
        self.assertEqual(self.bob.heard(), [{"type": "pong"}])

    def test_a_first_line_that_is_too_long(self) -> None:
        """A line that begins with a brace begins JSON even if it is too long."""
        program = Program(connect_peer(self.factory))
        program.raw(b'{"id":"a","type":"hello","nick":"' + b"x" * 9000 + b'"}')
        (error,) = program.heard()
        self.assertEqual((error["code"], error["id"]), ("too-long", "a"))
        self.assertIds(program, "h", "welcome", type="hello", nick="ann")


class PrivateTests(IdCase):
    """Private messages with ids."""

    def test_a_repeated_id(self) -> None:
        """A private message with a repeated id is acked again, and not delivered again."""
        ann, bob = self.program("ann"), self.program("bob")
        self.pass_presence(ann, bob)
        for _ in range(3):
            self.assertIds(bob, "p1", "ack", type="private", to="ann", text="hi")
        self.assertIds(bob, "p2", "ack", type="private", to="ann", text="ho")
        self.assertEqual([each["text"] for each in ann.heard()], ["hi", "ho"])
        self.assertIds(ann, "p1", "ack", type="private", to="bob", text="hi")
        self.assertEqual([each["text"] for each in bob.heard()], ["hi"])

    def test_without_an_id(self) -> None:
        """Without an id, each is delivered."""
        ann, bob = self.program("ann"), self.program("bob")
        for _ in range(2):
            bob.send(type="private", to="ann", text="hi")
        told = [each for each in ann.heard() if each["type"] == "private"]
        self.assertEqual(len(told), 2)

    def test_after_a_cut(self) -> None:
        """A session that comes back may repeat what it does not know to be delivered."""
        ann = self.program("ann")
        bob = Program(connect_peer(self.factory))
        (welcome,) = bob.asks(type="hello", nick="bob")
        bob.send(type="private", to="ann", text="hi", id="p1")
        bob.peer.write_eof()
        again = Program(connect_peer(self.factory))
        again.asks(type="hello", nick="bob", session=welcome["session"])
        ann_left = ann.heard()
        self.assertIds(again, "p1", "ack", type="private", to="ann", text="hi")
        self.assertEqual([each for each in ann.heard() if each["type"] == "private"], [])
        self.assertEqual([each["text"] for each in ann_left if each["type"] == "private"], ["hi"])
        ann.peer.write_eof()
        self.assertIds(again, "p1", "ack", type="private", to="ann", text="hi")

    def test_a_refused_message_may_be_repeated(self) -> None:
        """An id is remembered only once the message was delivered."""
        bob = self.program("bob")
        self.assertIds(bob, "p1", "error", type="private", to="ann", text="hi")
        ann = self.program("ann")
        self.assertIds(bob, "p1", "ack", type="private", to="ann", text="hi")
        self.assertEqual(
            [each["text"] for each in ann.heard() if each["type"] == "private"], ["hi"]
        )

    def test_the_memory_is_bounded(self) -> None:
        """The server remembers a bounded number of ids, the last of each sender."""
        ids = self.factory.registry.delivered
        for number in range(3000):
            ids.add("a", f"{number}")
            ids.add(f"origin-{number}", "x")
            ids.add("a", "kept")
        self.assertIn(("a", "kept"), ids)
        self.assertIn(("a", "2999"), ids)
        self.assertNotIn(("a", "2"), ids)
        self.assertIn(("origin-2999", "x"), ids)
        self.assertNotIn(("origin-2", "x"), ids)
        self.assertLessEqual(len(ids), 1100)
