"""Every call of a chat client ends: with its result, or with an error that says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from tests.chat.client_peers import JOINED, MESSAGE, WELCOME, ChatClientCase, ScriptedCase
from twisted_net.chat.client.client import CALL_TIMEOUT, HELLO_TIMEOUT, ChatClient
from twisted_net.chat.client.client_state import MOST_GAPS
from twisted_net.chat.limits import ChatLimits
from twisted_net.chat.messages import ChatError
from twisted_net.policy.backoff import Backoff
from twisted_net.policy.limits import Limits

GOODBYE = {"type": "goodbye", "code": "kicked", "text": "You are kicked.", "retry": False}
DRAINING = {"type": "goodbye", "code": "draining", "text": "The server restarts.", "retry": True}


def refusal(code: str, **more: Any) -> dict[str, Any]:
    return {"type": "error", "code": code, "text": f"No: {code}."} | more


class RoomTests(ChatClientCase):
    def assertFails(self, call: Deferred[Any], code: str) -> None:
        self.assertEqual(self.failureResultOf(call, ChatError).value.code, code)

    def test_a_room_may_be_spelled_in_any_way(self) -> None:
        """The server's name of a room is found for every spelling that the server accepts."""
        for spelling, other, name in (
            ("#lobby", "lobby", "lobby"),
            ("Lobby", "#LOBBY", "lobby"),
            ("Straße", "#STRASSE", "strasse"),
            ("#\uff34ea", "tea", "tea"),
        ):
            client = self.client("bot", spelling)
            for room in (spelling, other):
                acked = client.send(room, "x")
                entered = client.joined(room)
                self.turn()
                self.assertIsInstance(self.successResultOf(acked), int)
                self.successResultOf(entered)
            self.assertIn(name, self.factory.registry.rooms)
            client.leave(other)
            self.turn()
            self.assertNotIn(name, self.factory.registry.rooms)
            client.stopService()
            self.turn()

    def test_two_spellings_are_one_room(self) -> None:
        """A room that is given twice is joined once, and its messages come once."""
        client = self.client("bot", "#lobby", "Lobby")
        self.user("ann").send(b"hi\n")
        self.turn()
        self.assertEqual(self.heard(client), ["hi"])

    def test_a_join_that_is_refused(self) -> None:
        """What waits for a room that the server refuses fails with the server's reason."""
        for name in ("no room", "", "#", "x" * 300, "ann\u202ebob", "a" * 10_000):
            client = self.client("bot", "lobby", name)
            call = client.send(name, "x")
            entered = client.joined(name)
            lobby = client.send("lobby", "x")
            self.turn()
            for each in (call, entered, client.send(name, "y"), client.joined(name)):
                code = self.failureResultOf(each, ChatError).value.code
                self.assertIn(code, ("bad-name", "too-long"))
            self.successResultOf(lobby)
            client.stopService()
            self.turn()

    def test_a_room_that_cannot_be_sent_as_utf_8(self) -> None:
        """A room's name with half a surrogate pair is an error at once."""
        client = self.client()
        self.assertRaises(ValueError, client.join, "a\ud800")
        self.assertFails(client.send("lobby", "a\ud800"), "bad-field")
        self.assertFails(client.send_private("ann\ud800", "x"), "bad-field")

    def test_a_refusal_that_passes(self) -> None:
        """A join that is refused for now is repeated, until the server lets the client in."""
        self.factory = self.make(chat_limits=ChatLimits(rooms=1))
        client = self.client("bot", "lobby", "cellar")
        self.turn()
        self.assertFails(client.send("cellar", "x"), "too-many-rooms")
        client.leave("lobby")
        self.turn(2)
        acked = client.send("cellar", "x")
        self.turn()
        self.successResultOf(acked)

    def test_a_text_that_is_too_long(self) -> None:
        """A message is measured as it is sent, in UTF-8. The longest possible one is sent."""
        self.factory = self.make(limits=Limits(max_message=500))
        client = self.client()
        empty = {"type": "message", "room": "lobby", "text": "", "id": f"{client._ids}-1"}
        room = 500 - len(json.dumps(empty, separators=(",", ":")))
        for text, is_sent in (
            ("a" * room, True),
            ("a" * (room + 1), False),
            ("ü" * (room // 2), True),
            ("ü" * (room // 2 + 1), False),
            ("\U0001f600" * (room // 4), True),
            ("\U0001f600" * (room // 4 + 1), False),
            ('"' * (room // 2 + 1), False),
        ):
            acked = client.send("lobby", text)
            self.turn()
            if is_sent:
                self.assertIsInstance(self.successResultOf(acked), int)
            else:
                self.assertFails(acked, "too-long")
        self.assertFails(client.send_private("ann", "ü" * 500), "too-long")
        self.assertFails(client.request(type="nick", nick="ü" * 500), "too-long")

    def test_a_text_that_is_too_long_for_the_next_server(self) -> None:
        """A message that waited for the welcome is measured, too."""
        self.factory = self.make(limits=Limits(max_message=500))
        self.up = False
        client = self.client()
        acked = client.send("lobby", "a" * 500)
        self.up = True
        self.turn(2)
        self.assertFails(acked, "too-long")

    def test_much_that_waits(self) -> None:
        """Any number of messages may wait for a connection."""
        self.up = False
        client = self.client()
        acked = [client.send("lobby", "x" * 5000) for _ in range(1000)]
        self.up = True
        self.turn(2)
        self.assertEqual([self.successResultOf(each) for each in acked], [*range(1, 1001)])
        self.assertEqual(len(self.where.pairs), 1)

    def test_a_private_message_is_delivered_once(self) -> None:
        """A private message whose ack was lost is sent again, and delivered once."""
        client, ann = self.client(), self.user("ann")
        self.where.pairs[-1].client.transport.pauseProducing()  # the acks do not arrive
        told = client.send_private("ann", "psst")
        other = client.send_private("ann", "psst")
        self.turn()
        self.assertNoResult(told)
        self.cut()
        self.turn(5)
        self.assertEqual((self.successResultOf(told), self.successResultOf(other)), (0, 0))
        self.assertEqual(ann.received.count(b"psst"), 2)

    def test_what_others_of_the_session_sent_is_not_repeated(self) -> None:
        """Ids of private messages belong to a session: two programs may use the same."""
        ann = self.user("ann")
        for nick in ("one", "two"):
            program = self.program(nick)
            for _ in range(2):
                self.assertEqual(
                    program.asks(type="private", to="ann", text=nick, id="1"),
                    [{"type": "ack", "id": "1"}],
                )
        self.assertEqual(ann.received.count(b"tells you"), 2)

    def test_a_program_that_sends_from_its_callback(self) -> None:
        """What is sent on joining comes after what has waited for it."""
        self.up = False

        def greet(message: dict[str, Any]) -> None:
            if message["type"] == "joined":
                later.append(client.send("lobby", "later"))

        later: list[Deferred[int]] = []
        client = self.client(on_message=greet)
        first = client.send("lobby", "first")
        self.up = True
        self.turn(2)
        self.assertEqual([self.successResultOf(each) for each in (first, *later)], [1, 2])


class HelloTests(ScriptedCase):
    def test_a_hello_that_is_refused_for_good(self) -> None:
        """Everything fails with the server's reason, and the client does not come back."""
        client = self.client()
        calls = [client.welcome(), client.joined("lobby"), client.send("lobby", "x")]
        self.now.say(refusal("login-failed", field="password"))
        for call in (*calls, client.welcome(), client.send_private("ann", "x")):
            self.assertEqual(self.assertFails(call, "login-failed"), "No: login-failed.")
        self.pass_time(600)
        self.assertEqual(len(self.server.attempts), 1)
        self.assertFalse(self.now.peer.connected)
        self.assertFails(Deferred.fromCoroutine(anext(aiter(client))), "login-failed")

    def test_after_a_refusal_it_can_be_started_again(self) -> None:
        """``startService()`` tries again after a refusal."""
        client = self.client()
        self.now.say(refusal("bad-name"))
        client.startService()
        self.pass_time(1)
        self.now.say(WELCOME)
        self.successResultOf(client.welcome())

    def test_a_hello_that_is_refused_for_now(self) -> None:
        """The client comes back after growing pauses; its calls say why they waited in vain."""
        client = self.client()
        welcome = client.welcome()
        while self.clock.seconds() < CALL_TIMEOUT:
            self.now.say(refusal("banned"))
            self.pass_time(1)
        said = self.assertFails(welcome, "timeout")
        self.assertIn("within 60 seconds; the client is not connected: banned: No: banned.", said)
        self.assertEqual(self.pauses(), [2, 4, 8, 16, 16])

    def test_all_names_taken(self) -> None:
        """A server that refuses every name is left after a while, and asked again."""
        client = self.client()
        welcome = client.welcome()
        for _ in range(100):
            self.now.say(refusal("taken", field="nick"))
        self.assertFalse(self.now.peer.connected)
        self.assertEqual(len(self.now.read("hello")), 21)
        self.pass_time(CALL_TIMEOUT)
        self.assertFails(welcome, "timeout")

    def test_a_similar_name_that_is_banned(self) -> None:
        """A banned name is skipped, unless it is the one that the client wants."""
        client = self.client()
        self.now.say(refusal("taken"), refusal("banned"), refusal("taken"))
        nicks = [each["nick"] for each in self.now.read("hello")]
        self.assertEqual(nicks, ["bot", "bot-2", "bot-3", "bot-4"])
        self.now.say(WELCOME | {"nick": "bot-4"})
        self.assertEqual((client.state.nick, client.state.online), ("bot-4", True))

    def test_a_session_that_is_refused(self) -> None:
        """A server that does not accept the old session is greeted without it."""
        client = self.online()
        self.now.peer.reset()
        self.pass_time(5)
        self.now.say(refusal("bad-field", field="session"))
        self.assertEqual(["session" in each for each in self.now.read("hello")], [True, False])
        self.now.say(WELCOME)
        self.successResultOf(client.welcome())

    def test_a_silent_server(self) -> None:
        """A server that never says welcome is left, and the pauses grow; every call ends."""
        client = self.client()
        calls = [client.welcome(), client.joined("lobby"), client.send("lobby", "x"),
                 client.send_private("ann", "x")]  # fmt: skip
        self.pass_time(CALL_TIMEOUT)
        for call in calls:
            said = self.assertFails(call, "timeout")
            self.assertIn("the server has sent no welcome within 15 seconds", said)
        self.pass_time(200)
        pauses = [each - HELLO_TIMEOUT for each in self.pauses()]
        self.assertEqual([each >= longest for each, longest in
                          zip(pauses, (2, 4, 8, 16, 16), strict=False)], [True] * 5)  # fmt: skip

    def test_a_server_that_is_no_chat(self) -> None:
        """A server of another protocol is left, too, and its words are in the error."""
        for words in (b"220 mail.example.org ESMTP\r\n", b"! The server is full.\n", b"\xff\xfe\n"):
            client = self.client()
            welcome = client.welcome()
            while self.clock.seconds() < 1000 and not welcome.called:
                self.now.peer.send(words)
                self.pass_time(1)
            self.assertIn("the server says '", self.assertFails(welcome, "timeout"))
            client.stopService()
            self.clock = self.server.clock = type(self.clock)()

    def test_nobody_listens(self) -> None:
        """The error of a call says why there is no connection."""
        self.server.up = False
        client = self.client()
        welcome = client.welcome()
        self.pass_time(CALL_TIMEOUT)
        self.assertIn("nobody listens", self.assertFails(welcome, "timeout"))

    def test_connections_without_a_welcome_do_not_end_the_pauses(self) -> None:
        """The pauses start again at the welcome, and not when a connection is made."""
        client = self.client()
        for _ in range(5):
            self.now.peer.reset()
            self.wait_for_attempt()
        self.assertEqual(self.pauses(), [2, 4, 8, 16, 16])
        self.now.say(WELCOME)
        self.successResultOf(client.welcome())
        self.now.peer.reset()
        self.wait_for_attempt()
        self.assertEqual(self.pauses()[-1], 2)

    def test_a_welcome_before_nonsense_does_not_end_the_pauses(self) -> None:
        """A server that is misunderstood after its welcome is not asked without a pause."""
        self.client()
        for _ in range(4):
            self.now.say(WELCOME, [])
            self.wait_for_attempt()
        self.assertEqual(self.pauses(), [2, 4, 8, 16])


class GoodbyeTests(ScriptedCase):
    def test_a_goodbye_for_good(self) -> None:
        """After ``retry: false`` the client does not come back; its calls say why."""
        client = self.online()
        waiting = [client.send("lobby", "x"), client.request(type="rooms")]
        self.now.say(GOODBYE)
        self.pass_time(100)
        self.assertEqual(len(self.server.attempts), 1)
        for call in (*waiting, client.send("lobby", "y"), client.welcome()):
            self.assertEqual(self.assertFails(call, "kicked"), "You are kicked.")
        self.assertFalse(self.now.peer.connected)

    def test_a_goodbye_for_good_before_the_welcome(self) -> None:
        """It counts before the welcome, too."""
        client = self.client()
        welcome = client.welcome()
        self.now.say(GOODBYE)
        self.assertFails(welcome, "kicked")
        self.pass_time(100)
        self.assertEqual(len(self.server.attempts), 1)

    def test_a_goodbye_for_now(self) -> None:
        """After ``retry: true`` the client comes back, and sends what was not acked."""
        client = self.online()
        acked, asked = client.send("lobby", "x"), client.request(type="rooms")
        self.now.say(DRAINING)
        self.assertFails(asked, "disconnected")
        late = client.send("lobby", "y")
        self.assertFails(client.request(type="rooms"), "not-connected")
        self.pass_time(2)
        self.now.say(WELCOME, JOINED)
        sent = self.now.read("message")
        self.assertEqual([each["text"] for each in sent], ["x", "y"])
        for offset, each in enumerate(sent, 1):
            self.now.say({"type": "ack", "room": "lobby", "offset": offset, "id": each["id"]})
        self.assertEqual((self.successResultOf(acked), self.successResultOf(late)), (1, 2))

    def test_a_goodbye_without_an_end(self) -> None:
        """The client closes the connection itself, if the server says goodbye and stays."""
        self.online()
        self.now.say(DRAINING)
        self.assertTrue(self.now.peer.finished)

    def test_the_iteration_ends_with_the_reason(self) -> None:
        """The iteration yields what has come, and then raises why nothing follows."""
        client = self.online()
        self.now.say(MESSAGE | {"offset": 1}, GOODBYE)
        messages = aiter(client)
        for kind in ("welcome", "joined", "message", "goodbye"):
            message = self.successResultOf(Deferred.fromCoroutine(anext(messages)))
            self.assertEqual(message["type"], kind)
        self.assertFails(Deferred.fromCoroutine(anext(messages)), "kicked")

    def test_quitting(self) -> None:
        """A program that quits gets the goodbye as its answer."""
        client = self.online()
        quitted = client.request(type="quit")
        self.now.say(GOODBYE | {"code": "quit"})
        self.assertEqual(self.successResultOf(quitted)["code"], "quit")


STATES: dict[str, Callable[[Any], None]] = {
    "before the start": lambda test: None,
    "while nobody listens": lambda test: test.start(up=False),
    "before the welcome": lambda test: test.start(),
    "online": lambda test: test.start(WELCOME, JOINED),
    "online, and not in a room": lambda test: test.start(WELCOME),
    "after the server's last words": lambda test: test.start(WELCOME, JOINED, DRAINING),
    "refused": lambda test: test.start(refusal("bad-name")),
    "dismissed": lambda test: test.start(WELCOME, GOODBYE),
    "after nonsense": lambda test: test.start(WELCOME, JOINED, []),
    "stopped": lambda test: test.start(WELCOME, JOINED).stopService(),
    "stopped before the start": lambda test: test.subject.stopService(),
    "stopped while nobody listens": lambda test: test.start(up=False).stopService(),
    "stopped twice": lambda test: [test.start(WELCOME).stopService() for _ in "12"],
    "stopped and started": lambda test: [test.start(WELCOME).stopService(), test.start()],
}

CALLS: dict[str, Callable[[ChatClient], Deferred[Any]]] = {
    "welcome": lambda client: client.welcome(),
    "joined": lambda client: client.joined("#Lobby"),
    "joined elsewhere": lambda client: client.joined("elsewhere"),
    "send": lambda client: client.send("lobby", "x"),
    "send elsewhere": lambda client: client.send("elsewhere", "x"),
    "send_private": lambda client: client.send_private("ann", "x"),
    "request": lambda client: client.request(type="who", room="lobby"),
    "request unknown": lambda client: client.request(type="dice"),
    "join": lambda client: _after(client.join("cellar"), client.joined("cellar")),
    "leave": lambda client: _after(client.leave("lobby"), client.send("lobby", "x")),
    "stopService": lambda client: client.stopService(),
}


def _after(_: None, call: Deferred[Any]) -> Deferred[Any]:
    return call


class StateTests(ScriptedCase):
    subject: ChatClient

    def start(self, *said: Any, up: bool = True) -> ChatClient:
        self.server.up = up
        self.subject.startService()
        self.pass_time(1)
        if up:
            self.now.say(*said)
        return self.subject

    def test_every_call_ends_in_every_state(self) -> None:
        """Each call ends within its bound, and nothing of it is left behind."""
        for state, begin in STATES.items():
            for name, call in CALLS.items():
                with self.subTest(state=state, call=name):
                    super().setUp()
                    self.subject = self.client(start=False)
                    begin(self)
                    results: list[Any] = []
                    call(self.subject).addBoth(results.append)
                    self.pass_time(CALL_TIMEOUT)
                    (result,) = results
                    if isinstance(result, Failure):
                        self.assertIs(result.type, ChatError)
                        self.assertRegex(str(result.value), r"^[A-Z].+")
                    stopped = self.subject.stopService()
                    self.pass_time(30)
                    self.successResultOf(stopped)
                    self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_iteration_ends_in_every_state(self) -> None:
        """Iterations end when the client stops, however many there are."""
        for state, begin in STATES.items():
            with self.subTest(state=state):
                super().setUp()
                self.subject = self.client(start=False)
                begin(self)
                ends: list[Any] = []
                for _ in range(2):
                    Deferred.fromCoroutine(_exhaust(self.subject)).addBoth(ends.append)
                self.subject.stopService()
                self.pass_time(30)
                self.assertEqual(len(ends), 2)
                for end in ends:
                    self.assertTrue(end is None or end.type is ChatError)

    def test_wrong_types(self) -> None:
        """A name or a text that is not a string is an error that names it."""
        client = self.client(start=False)
        for call, name in (
            (lambda: client.join(5), "room"),
            (lambda: client.leave(None), "room"),
            (lambda: client.joined(b"lobby"), "room"),
            (lambda: client.send("lobby", 5), "text"),
            (lambda: client.send(5, "x"), "room"),
            (lambda: client.send_private(None, "x"), "to"),
            (lambda: client.request(room="lobby"), "type"),
            (lambda: client.request(type="who", id=5), "id"),
            (lambda: self.client(5), "room"),
            (lambda: self.client(password=b"x"), "password"),
        ):
            error = self.assertRaises(TypeError, call)
            self.assertIn(f"{name}: must be a string, not ", str(error))
        self.assertRaises(TypeError, lambda: client.request(type="x", value=object()))
        for timeout in (0, -1, float("inf"), float("nan"), "60"):
            error = self.assertRaises(ValueError, self.client, call_timeout=timeout)
            self.assertIn("call_timeout: ", str(error))


async def _exhaust(client: ChatClient) -> None:
    async for _ in client:
        pass


class EndedCallTests(ScriptedCase):
    """A call that has ended has no effect later."""

    def test_what_failed_is_not_sent_after_a_start(self) -> None:
        """Messages that failed with ``stopped`` are not sent after the next start."""
        client = self.online()
        calls = [client.send("lobby", "x"), client.send_private("ann", "x")]
        client.stopService()
        for call in calls:
            self.assertFails(call, "stopped")
        self.pass_time(30)
        client.startService()
        self.now.say(WELCOME, JOINED)
        self.assertEqual({each["type"] for each in self.now.read()}, {"hello", "join"})

    def test_what_expired_is_not_sent_later(self) -> None:
        """Messages that were not acked in time are not sent after the next connection."""
        self.server.up = False
        client = self.client()
        calls = [client.send("lobby", "x"), client.send_private("ann", "x")]
        self.pass_time(CALL_TIMEOUT)
        for call in calls:
            self.assertFails(call, "timeout")
        self.server.up = True
        self.pass_time(16)
        self.now.say(WELCOME, JOINED)
        self.assertEqual({each["type"] for each in self.now.read()}, {"hello", "join"})

    def test_what_was_cancelled_is_not_sent_later(self) -> None:
        """A Deferred that is cancelled takes its message back, if it was not sent yet."""
        client = self.client()
        calls = [client.send("lobby", "x"), client.send_private("ann", "x"), client.welcome()]
        calls[0].addTimeout(5, self.clock)
        calls[1].cancel()
        calls[2].cancel()
        self.pass_time(5)
        self.failureResultOf(calls[1], CancelledError)
        self.failureResultOf(calls[2], CancelledError)
        self.failureResultOf(calls[0])
        self.now.say(WELCOME, JOINED)
        self.assertEqual({each["type"] for each in self.now.read()}, {"hello", "join"})

    def test_each_call_has_its_own_time(self) -> None:
        """Calls expire one by one, each after the same time."""
        client = self.client(call_timeout=10)
        calls = []
        for _ in range(3):
            calls.append(client.send("lobby", "x"))
            self.pass_time(2)
        for call in calls:
            self.assertNoResult(call)
            self.pass_time(4 if call is calls[0] else 2)
            self.assertFails(call, "timeout")

    def test_an_ack_that_comes_too_late(self) -> None:
        """An ack for a call that has ended is no problem."""
        client = self.online(call_timeout=10)
        call = client.send("lobby", "x")
        (sent,) = self.now.read("message")
        self.pass_time(10)
        self.assertFails(call, "timeout")
        self.now.say({"type": "ack", "room": "lobby", "offset": 1, "id": sent["id"]})
        self.now.say(MESSAGE | {"offset": 2})
        self.assertEqual(client._delivery.waiting[-1]["offset"], 2)


class GapTests(ScriptedCase):
    def test_a_gap_that_is_repeated(self) -> None:
        """A server that repeats a gap is asked after growing pauses, and then not any more."""
        lost: list[str] = []
        client = self.online(on_lost=lost.append)
        times: list[float] = []
        for _ in range(1000):
            self.now.say(MESSAGE | {"offset": 9})
            for join in self.now.read("join"):
                times.append(self.clock.seconds())
                self.assertEqual(join["since"], {"epoch": "e", "offset": 0})
                self.now.say(JOINED | {"recovered": True, "offset": 9})
            self.pass_time(0.1)
        self.assertEqual(len(times), MOST_GAPS)
        pauses = [round(b - a) for a, b in pairwise(times)]
        self.assertEqual(pauses, [2, 4, 8, 16])
        self.assertEqual(lost, ["lobby"])
        self.assertEqual([each["offset"] for each in client._delivery.waiting if
                          each["type"] == "message"], [9])  # fmt: skip

    def test_a_gap_that_moves(self) -> None:
        """It makes no difference whether the gap is always the same."""
        self.online(on_lost=lambda room: None)
        joins = 0
        for offset in range(2, 2000, 2):
            self.now.say(MESSAGE | {"offset": offset})
            for _ in self.now.read("join"):
                joins += 1
                self.now.say(JOINED | {"recovered": True, "offset": offset})
        self.assertEqual(joins, 1)
        self.pass_time(60)
        self.assertLessEqual(len(self.now.read("join")), MOST_GAPS)

    def test_a_gap_that_is_filled(self) -> None:
        """A gap that the server fills does not count for the next one."""
        self.online()
        for offset in range(3, 60, 3):
            self.now.say(MESSAGE | {"offset": offset})
            self.assertEqual(len(self.now.read("join")), 1)
            self.now.say(JOINED | {"recovered": True, "offset": offset})
            self.now.say(*(MESSAGE | {"offset": offset - back} for back in (2, 1, 0)))

    def test_a_recovery_that_cannot_be_one(self) -> None:
        """Another epoch or an earlier position is a loss, whatever the server calls it."""
        for joined in (JOINED | {"epoch": "f", "offset": 7}, JOINED | {"offset": 2}):
            lost: list[str] = []
            client = self.online(on_lost=lost.append)
            self.now.say(*(MESSAGE | {"offset": offset} for offset in (1, 2, 3)))
            self.now.peer.reset()
            self.pass_time(2)
            self.now.say(WELCOME, joined | {"recovered": True})
            self.assertEqual(lost, ["lobby"])
            client.stopService()

    def test_its_own_messages_are_not_delivered(self) -> None:
        """A message of its own that comes back in a recovery is not one of others."""
        client = self.online()
        acked = client.send("lobby", "mine")
        (sent,) = self.now.read("message")
        self.now.say(MESSAGE | {"offset": 3})
        self.now.say({"type": "ack", "room": "lobby", "offset": 2, "id": sent["id"]})
        self.assertEqual(self.successResultOf(acked), 2)
        self.now.say(JOINED | {"recovered": True, "offset": 3})
        own = MESSAGE | {"from": "bot", "id": sent["id"]}
        self.now.say(MESSAGE | {"offset": 1}, own | {"offset": 2}, MESSAGE | {"offset": 3})
        heard = [each["offset"] for each in client._delivery.waiting if each["type"] == "message"]
        self.assertEqual(heard, [1, 3])

    def test_put_out_of_a_room(self) -> None:
        """A client that is not in a room any more joins it again, after a pause."""
        client = self.online()
        first = client.send("lobby", "x")
        (sent,) = self.now.read("message")
        self.now.say(refusal("not-in-room", id=sent["id"]))
        self.assertFails(first, "not-in-room")
        self.assertEqual(self.now.read("join"), [])
        later = client.send("lobby", "y")
        self.pass_time(2)
        self.now.say(JOINED | {"recovered": True})
        self.assertEqual([each["text"] for each in self.now.read("message")], ["y"])
        self.assertNoResult(later)
        client.stopService()
        self.assertFails(later, "stopped")

    def test_a_room_that_the_store_cannot_open(self) -> None:
        """An error without an id, about a room, is that of the oldest join."""
        client = self.client()
        self.now.say(WELCOME)
        call = client.send("lobby", "x")
        self.now.say(refusal("store", field="room"))
        self.assertFails(call, "store")
        self.now.read()
        self.pass_time(2)
        self.assertEqual(len(self.now.read("join")), 1)
        self.now.say(JOINED)
        self.successResultOf(client.joined("lobby"))


class RequestTests(ScriptedCase):
    def test_replies_are_found_by_their_id(self) -> None:
        """Each request fires with the reply that has its id, in any order."""
        client = self.online()
        who = {"type": "who", "members": ["bot"], "count": 1}
        calls = [client.request(type="who", room=room) for room in ("a", "b")]
        calls.append(client.request(type="dice", id="mine"))
        ids = [each["id"] for each in self.now.read()]
        self.assertEqual(ids[2], "mine")
        for place in (2, 1, 0):
            self.now.say(who | {"room": "c", "id": ids[place], "count": place})
        self.assertEqual([self.successResultOf(each)["count"] for each in calls], [0, 1, 2])
        self.assertEqual(len([each for each in client._delivery.waiting
                              if each["type"] == "who"]), 3)  # fmt: skip

    def test_replies_without_an_id(self) -> None:
        """Replies of a server that does not repeat ids are found by their type and room."""
        client = self.online()
        who = {"type": "who", "members": ["bot"], "count": 1}
        cellar, lobby = (client.request(type="who", room=room) for room in ("#Cellar", "lobby"))
        ping = client.request(type="ping")
        self.now.say(who | {"room": "lobby"}, {"type": "pong"})
        self.assertNoResult(cellar)
        self.assertEqual(self.successResultOf(lobby)["room"], "lobby")
        self.assertEqual(self.successResultOf(ping), {"type": "pong"})
        self.now.say(who | {"room": "cellar"})
        self.assertEqual(self.successResultOf(cellar)["room"], "cellar")
        self.successResultOf(client.request(type="pong"))

    def test_requests_that_fail(self) -> None:
        """A request fails if it is refused, if the connection ends, and if no reply comes."""
        client = self.online()
        refused, cut = client.request(type="dice"), client.request(type="rooms")
        (first, _) = self.now.read()
        self.now.say(refusal("unknown-type", id=first["id"]))
        self.assertFails(refused, "unknown-type")
        self.now.peer.reset()
        self.assertFails(cut, "disconnected")
        self.assertFails(client.request(type="rooms"), "not-connected")
        self.pass_time(2)
        self.now.say(WELCOME)
        late = client.request(type="rooms", id="x")
        self.assertRaises(ValueError, lambda: client.request(type="rooms", id="x"))
        self.pass_time(CALL_TIMEOUT)
        self.assertFails(late, "timeout")

    def test_a_server_that_has_another_name_for_a_room(self) -> None:
        """A room is known by the name that the server gives it in its answer to the join."""
        client = self.client("#İzmir")
        waiting = client.send("#İzmir", "x")
        self.now.say(WELCOME)
        (join,) = self.now.read("join")
        self.now.say(JOINED | {"room": "izmir", "id": join["id"]})
        later = client.send("İzmir", "y")
        self.assertEqual([each["room"] for each in self.now.read("message")], ["izmir", "izmir"])
        self.successResultOf(client.joined("#İzmir"))
        client.leave("#İzmir")
        self.assertFails(waiting, "left")
        self.assertFails(later, "left")


class NameTests(ChatClientCase):
    """A client whose name is taken asks for its own again."""

    def test_the_name_of_a_ghost(self) -> None:
        """The client has its name as soon as the room sees the ghost leave."""
        ghost = self.program("bot")
        client = self.client()
        self.assertEqual(client.state.nick, "bot-2")
        self.turn(1)
        ghost.peer.reset()
        self.turn(1)
        self.assertEqual(client.state.nick, "bot")

    def test_the_name_of_a_ghost_in_another_room(self) -> None:
        """A ghost that shares no room is found by asking from time to time."""
        ghost = self.program("Bot", room="cellar")
        client = self.client()
        self.assertEqual(client.state.nick, "bot-2")
        self.turn(30)
        ghost.peer.reset()
        self.turn(60)
        self.assertEqual(client.state.nick, "bot")
        self.assertEqual(len(self.where.pairs), 1)

    def test_the_user_of_the_name_renames(self) -> None:
        """A user who takes another name frees the client's."""
        ann = self.user("bot")
        client = self.client()
        self.turn(1)
        ann.send(b"/nick ann\n")
        self.turn(1)
        self.assertEqual(client.state.nick, "bot")

    def test_the_name_is_wanted_after_a_cut(self) -> None:
        """After a reconnection the client asks for its own name first."""
        ghost = self.program("bot", room="cellar")
        client = self.client()
        ghost.peer.reset()
        self.cut()
        self.turn(3)
        self.assertEqual(client.state.nick, "bot")

    def test_a_name_that_the_program_chose(self) -> None:
        """A client whose program renames it keeps that name, also after a cut."""
        self.user("bot")
        client = self.client()
        named = client.request(type="nick", nick="zoe")
        self.turn()
        self.assertEqual(self.successResultOf(named)["nick"], "zoe")
        self.cut()
        self.turn(300)
        self.assertEqual(client.state.nick, "zoe")

    def test_a_name_that_an_account_took(self) -> None:
        """A client that the server renames takes its name back once the account has gone."""
        client = self.client(jitter=lambda: 1.0)
        account = self.user()
        self.factory.act(account.protocol.session.login_succeeded("b0t", 0.0))
        self.turn()
        self.assertTrue(client.state.nick.startswith("guest-"), client.state.nick)
        self.turn(300)
        self.assertTrue(client.state.nick.startswith("guest-"), client.state.nick)
        account.reset()
        self.turn(3)
        self.assertEqual(client.state.nick, "bot")

    def test_somebody_who_stays(self) -> None:
        """Somebody who keeps the name is asked about it seldom."""
        self.user("bot")
        client = self.client(backoff=Backoff(first=1, longest=2))
        self.turn(60)
        before = client.state._last_id
        self.turn(600)
        self.assertTrue(5 <= client.state._last_id - before <= 150)


class LostTests(ScriptedCase):
    def test_callbacks_that_fail(self) -> None:
        """A callback that raises is logged, and the client goes on."""

        def broken(what: object) -> None:
            raise RuntimeError("broken")

        client = self.online(on_message=broken, on_lost=broken)
        self.now.peer.reset()
        self.pass_time(2)
        self.now.say(WELCOME, JOINED | {"recovered": False})
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 5)
        self.successResultOf(client.joined("lobby"))

    def test_a_callback_that_stops_the_client(self) -> None:
        """A program may stop its client from any callback."""
        for kind in ("welcome", "joined", "message", "goodbye"):
            self._stop_at(kind)

    def _stop_at(self, kind: str) -> None:
        stopped: list[Deferred[None]] = []

        def stop(message: dict[str, Any]) -> None:
            if message["type"] == kind:
                stopped.append(client.stopService())

        client = self.client(on_message=stop)
        self.now.say(WELCOME, JOINED, MESSAGE | {"offset": 1}, GOODBYE)
        self.pass_time(30)
        self.successResultOf(stopped[0])
