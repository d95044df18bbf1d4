"""Tests of the checks of an application: it refuses joins, messages and names."""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse as Passwords
from twisted.internet.defer import Deferred, fail

from tests.chat.chat_peers import NOW, ChatCase, Program
from twisted_net.chat import ChatError, ChatFactory, ChatUser
from twisted_net.chat.messages import Request, RequestError
from twisted_net.chat.protocol import ChatProtocol
from twisted_net.testing import connect_peer


class Strict(ChatFactory):
    """A chat with rules.

    :ivar asked: what it was asked, in order.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.asked: list[tuple[str, ...]] = []

    def check_join(self, user: ChatUser, room: str) -> None:
        self.asked.append(("join", user.name, user.account, room))
        if room == "staff" and not user.account:
            raise ChatError("staff-only", "Only the staff may join #staff.", "room")

    def check_text(self, user: ChatUser, room: str, text: str) -> None:
        self.asked.append(("text", user.name, room, text))
        if "darn" in text:
            raise ChatError("rude", "Be polite.\n* root: hi", "text")

    def check_nick(self, user: ChatUser, nick: str) -> None:
        self.asked.append(("nick", user.name, nick))
        if nick.lower().startswith("bot"):
            raise ChatError("no-bots", "Bots are not welcome.", "nick")


class Later(ChatFactory):
    """A chat that has to ask somebody else.

    :ivar answers: the answers that it waits for.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.answers: list[Deferred[None]] = []

    def _later(self) -> Deferred[None]:
        self.answers.append(Deferred())
        return self.answers[-1]

    async def check_text(self, user: ChatUser, room: str, text: str) -> None:
        await self._later()

    def check_join(self, user: ChatUser, room: str) -> Deferred[None]:
        return self._later()

    def answer(self, error: Exception | None = None) -> None:
        """Give the first answer that is awaited."""
        answer = self.answers.pop(0)
        answer.callback(None) if error is None else answer.errback(error)


class CheckCase(ChatCase):
    kind: type[ChatFactory] = Strict

    def make(self, **settings: Any) -> Any:
        return self.kind(
            clock=self.clock,
            now=lambda: NOW + self.clock.seconds(),
            token=lambda: f"{next(self.numbers):032x}",
            **settings,
        )


class RefusalTests(CheckCase):
    def setUp(self) -> None:
        super().setUp()
        self.factory = self.make(checkers=[Passwords(ann=b"pw")], plain_logins=True)
        self.ann, self.bob = self.user("ann"), self.program("bob")
        self.pass_presence(self.ann, self.bob)
        self.factory.asked.clear()  # type: ignore[attr-defined]

    @property
    def asked(self) -> Any:
        found, self.factory.asked = self.factory.asked, []  # type: ignore[attr-defined]
        return found

    def refused(self, code: str, field: str, **request: Any) -> None:
        """Check that a program's request is refused, with its id, and the connection stays open."""
        (error,) = self.bob.asks(**request, id="x")
        self.assertEqual((error["code"], error["field"], error["id"]), (code, field, "x"))
        self.assertEqual(self.bob.asks(type="ping"), [{"type": "pong"}])

    def typed(self, line: str) -> bytes:
        self.ann.take()
        self.ann.send(line.encode() + b"\n")
        return self.ann.take()

    def test_join(self) -> None:
        """A join may be refused in both forms; the room is named as the chat names it."""
        self.assertEqual(self.typed("/join #STAFF"), b"! Only the staff may join #staff.\n")
        self.refused("staff-only", "room", type="join", room="Staff")
        self.assertNotIn("staff", self.factory.registry.rooms)
        self.assertEqual(self.asked, [("join", "ann", "", "staff"), ("join", "bob", "", "staff")])
        self.assertIn(b"You are in #den now", self.typed("/join den"))

    def test_text(self) -> None:
        """So may messages, actions, private messages and topics; the room is the current one."""
        for line in ("darn", "/me says darn", "/msg bob darn", "/topic darn"):
            self.assertEqual(self.typed(line), b"! Be polite. * root: hi\n")
        self.assertEqual([each[2] for each in self.asked], ["lobby", "lobby", "", "lobby"])
        self.refused("rude", "text", type="message", room="lobby", text="darn")
        self.refused("rude", "text", type="private", to="ann", text="darn")
        self.refused("rude", "text", type="topic", room="lobby", topic="darn")
        self.assertEqual(self.ann.take(), b"")
        self.typed("hello")
        self.assertEqual([each["text"] for each in self.bob.heard()], ["hello"])

    def test_nick(self) -> None:
        """So may names, of a hello as well."""
        self.assertEqual(self.typed("/nick Botty"), b"! Bots are not welcome.\n")
        self.refused("no-bots", "nick", type="nick", nick="bot")
        program = Program(connect_peer(self.factory))
        (error,) = program.asks(type="hello", nick="bot", room="lobby", id="h")
        self.assertEqual((error["code"], error["id"]), ("no-bots", "h"))
        welcome, joined = program.asks(type="hello", nick="eve", room="lobby", id="h")
        self.assertEqual((welcome["nick"], joined["id"]), ("eve", "h"))

    def test_what_is_not_asked(self) -> None:
        """Nothing is asked about requests that the chat refuses, or that change nothing."""
        for line in ("/join x y", "/join lobby", "/nick ann", "/nick x y", "/topic", "/topic -",
                     "/who", "/help", "/msg", "/login x y"):  # fmt: skip
            self.typed(line)
        self.bob.asks(type="message", room="attic", text="darn")
        self.bob.asks(type="join", room="lobby")
        self.bob.asks(type="hello", nick="bot")
        program = Program(connect_peer(self.factory))
        program.asks(type="join", room="staff")
        program.asks(type="message", room="lobby", text="darn")
        program.asks(type="hello", nick="eve", room="x y")
        self.assertEqual([each for each in self.asked if each[0] != "nick"], [])

    def test_a_room_after_a_login(self) -> None:
        """The room of a hello is asked about once the password was checked."""
        program = Program(connect_peer(self.factory))
        hello = {"type": "hello", "user": "ann", "password": "pw", "room": "staff", "id": "h"}
        program.send(**hello)
        self.clock.advance(60)
        answers = [each for each in program.heard() if each.get("id") == "h"]
        self.assertEqual([each["type"] for each in answers], ["welcome", "joined"])
        self.assertEqual(self.asked[-1], ("join", "ann", "ann", "staff"))
        guest = Program(connect_peer(self.factory))
        welcome, error = guest.asks(type="hello", nick="eve", room="staff", id="h")
        self.assertEqual((welcome["type"], error["code"]), ("welcome", "staff-only"))
        self.assertEqual(error["id"], "h")
        (again,) = guest.asks(type="hello", nick="eve", room="den", id="h")
        self.assertEqual(again["code"], "again")
        self.assertNotIn("den", self.factory.registry.rooms)

    def test_none_is_asked_without_need(self) -> None:
        """A chat without checks asks none."""
        self.assertIsNone(ChatFactory()._checks)
        self.assertIsNotNone(self.factory._checks)


class LaterTests(CheckCase):
    kind = Later

    def setUp(self) -> None:
        super().setUp()
        self.bob = Program(connect_peer(self.factory))
        self.bob.asks(type="hello", nick="bob")

    def wait(self) -> Later:
        assert isinstance(self.factory, Later)
        return self.factory

    def test_later(self) -> None:
        """A check may wait. The order of a user's requests stays the same."""
        self.bob.send(type="join", room="den", id="j")
        self.bob.send(type="message", room="den", text="hi", id="m")
        self.assertEqual(self.bob.heard(), [])
        self.wait().answer()
        self.assertEqual([each["id"] for each in self.bob.heard()], ["j"])
        self.wait().answer(ChatError("rude", "Be polite."))
        (error,) = self.bob.heard()
        self.assertEqual((error["code"], error["id"]), ("rude", "m"))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_later_than_the_user(self) -> None:
        """Nothing happens if the user has left meanwhile, or has been muted."""
        self.bob.send(type="join", room="den")
        self.bob.peer.protocol.abort()
        self.wait().answer()
        self.assertEqual(self.factory.registry.rooms, {})
        eve = Program(connect_peer(self.factory))
        eve.asks(type="hello", nick="eve")
        eve.send(type="join", room="den")
        self.wait().answer()
        eve.heard()
        eve.send(type="message", room="den", text="hi", id="m")
        user = self.factory.registry.find("eve")
        assert user is not None
        self.factory.registry.mute(user, self.factory.now() + 60, self.factory.now())
        self.wait().answer()
        self.assertEqual([each["code"] for each in eve.heard()], ["muted"])

    def test_a_bug(self) -> None:
        """A check that fails is logged and refuses: nobody gets in by a bug."""
        self.bob.send(type="join", room="den", id="j")
        self.wait().answer(ZeroDivisionError())
        (error,) = self.bob.heard()
        self.assertEqual((error["code"], error["id"]), ("failed", "j"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.factory.registry.rooms, {})


class Truthful(ChatFactory):
    def check_join(self, user: ChatUser, room: str) -> Any:
        return room != "staff"


class AnswerTests(CheckCase):
    kind = Truthful

    def test_true_and_false(self) -> None:
        """A check that answers with true or false is told what to do instead, and refuses."""
        bob = self.program("bob", "")
        (error,) = bob.asks(type="join", room="den")
        self.assertEqual(error["code"], "failed")
        (failure,) = self.flushLoggedErrors(TypeError)
        self.assertEqual(
            failure.getErrorMessage(),
            "check_join() returned True; it must return None. "
            "Raise ChatError(code, text) to refuse.",
        )


class Receiving(ChatFactory):
    """Refuses in :meth:`receive`, in the way that ``error`` and ``late`` say."""

    error: Exception = ChatError("closed-today", "The chat is closed today.")
    late = False

    def receive(self, connection: ChatProtocol, request: Request, id: str) -> Any:
        if self.late:
            return fail(self.error)
        raise self.error


class Coroutines(ChatFactory):
    async def receive(self, connection: ChatProtocol, request: Request, id: str) -> None:
        raise ChatError("closed-today", "The chat is closed today.")


class ReceiveTests(CheckCase):
    """A factory that overrides ``receive``."""

    kind = Receiving

    def test_every_way(self) -> None:
        """ChatError and RequestError answer the user, whether at once or later."""
        for kind, late, error in (
            (Receiving, False, ChatError("closed-today", "The chat is closed today.")),
            (Receiving, True, ChatError("closed-today", "The chat is closed today.")),
            (Receiving, False, RequestError("closed-today", "The chat is closed today.")),
            (Coroutines, False, None),
        ):
            self.kind = kind
            self.factory = self.make()
            if isinstance(self.factory, Receiving):
                self.factory.error, self.factory.late = error or Exception(), late
            program = Program(connect_peer(self.factory))
            (answer,) = program.asks(type="ping", id="p")
            self.assertEqual((answer["code"], answer["id"]), ("closed-today", "p"))
            ann = connect_peer(self.factory)
            ann.take()
            ann.send(b"hello\n")
            self.assertTrue(ann.take().endswith(b"\n! The chat is closed today.\n"))
            self.assertTrue(ann.connected)

    def test_a_bug(self) -> None:
        """Another failure is logged and closes the connection, as that of every hook."""
        self.factory.error, self.factory.late = ZeroDivisionError(), True  # type: ignore[attr-defined]
        ann = connect_peer(self.factory)
        ann.send(b"hello\n")
        self.assertEqual(ann.protocol.reason.code, "failed")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
