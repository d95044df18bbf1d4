"""Tests of the JSON form, mixed with text users. Every line is validated against the schema."""

from __future__ import annotations

import inspect
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.chat.chat_peers import SCHEMA, ChatCase, Program
from twisted_net.chat.codecs import json_codec, json_requests
from twisted_net.chat.codecs.codec import format_time
from twisted_net.chat.greeting import GREETING_DELAY
from twisted_net.chat.limits import ChatLimits
from twisted_net.chat.messages import Ack, Delivered, HistoryPage, RequestError
from twisted_net.chat.protocol import SILENT_PRESENCE_DELAY
from twisted_net.policy.close_reasons import DRAINING
from twisted_net.store.log import Message, Position, StoredMessage
from twisted_net.testing import connect_peer, same_for_every_split
from twisted_net.wire.json_values import encode_json


class HelloTests(ChatCase):
    def test_a_welcome(self) -> None:
        """The welcome has the name, the session, the limits and the heartbeat."""
        program = Program(connect_peer(self.factory))
        program.send(type="hello", nick="ann", room="lobby")
        welcome, joined = program.heard()
        self.assertEqual((welcome["nick"], welcome["heartbeat"]), ("ann", 45.0))
        self.assertEqual(welcome["limits"]["message"], 8192)
        self.assertEqual(
            joined | {"epoch": ""},
            {
                "type": "joined", "room": "lobby", "epoch": "", "offset": 0, "members": ["ann"],
                "count": 1, "topic": "", "recovered": None,
            },
        )  # fmt: skip
        self.assertEqual(program.prelude, [])  # who speaks at once is not greeted as a person

    def test_a_late_hello(self) -> None:
        """A program that waits for a moment is greeted as a person first, and nobody hears it."""
        ann = self.user("ann")
        self.pass_presence(ann)
        for wait in (GREETING_DELAY, 0.3, 2.5):
            program = Program(connect_peer(self.factory))
            self.clock.pump([GREETING_DELAY, wait - GREETING_DELAY])
            program.send(type="hello", nick="prog", room="lobby")
            self.assertEqual([each["type"] for each in program.heard()], ["welcome", "joined"])
            self.assertTrue(program.prelude[0].startswith("Welcome to the chat server! You are g"))
            self.clock.advance(1)
            self.assertEqual(ann.take(), b"* prog joined #lobby.\n")
            program.peer.write_eof()
            self.clock.advance(1)
            self.assertEqual(ann.take(), b"* prog left #lobby.\n")

    def test_the_guest_that_it_was_is_not_mentioned(self) -> None:
        """Only the program's join is announced, and not that of the guest it was before."""
        ann = self.user("ann")
        self.pass_presence(ann)
        self.program("prog")
        ann.advance(1)
        self.assertEqual(ann.received, b"* prog joined #lobby.\n")

    def test_the_form_is_decided_by_the_first_line(self) -> None:
        """The first line decides the form. Later, a brace is text, and text is invalid JSON."""
        ann, bob = self.user("ann"), self.user("bob")
        self.pass_presence(ann, bob)
        ann.send(b"hello\n{}\n")
        self.assertEqual(bob.take(), b"<ann> hello\n<ann> {}\n")
        program = self.program("prog")
        program.raw(b"/quit")
        (error,) = program.heard()
        self.assertEqual(error["code"], "bad-json")

    def test_what_nobody_sees_before_the_brace(self) -> None:
        """A brace after spaces, a byte order mark or other invisible characters begins JSON too."""
        ann = self.user("ann")
        self.pass_presence(ann)
        for number, before in enumerate(
            (
                "\ufeff",
                " ",
                "\t \ufeff",
                "\u200b",
                "\x00",
                "\x1b[31m",
                "\u00a0",
                " \n\ufeff\n\u200b\n",
            )
        ):
            program = Program(connect_peer(self.factory))
            program.raw(f'{before}{{"type":"hello","nick":"p{number}","room":"lobby"}}'.encode())
            welcome, *_ = program.heard()
            self.assertEqual((welcome["type"], welcome["nick"]), ("welcome", f"p{number}"))
            program.peer.write_eof()
        self.assertEqual(ann.take(), b"")

    def test_no_password_is_said(self) -> None:
        """What looks like a program's password is refused on a text connection, and not stored."""
        bob = self.user("bob")
        for number, line in enumerate((
            b'{"type":"hello","user":"ann","password":"s3cret"}',
            b'\xef\xbb\xbf {"password" : "s3cret", "type":"hello"}',
            b"{'type': 'login', 'user': 'ann', 'password': 's3cret'}",
            b'x{"type":"login","user":"ann","password":"s3cret"}',
            b' "Password": "s3cret"',
            b'{"user":"s3cret","type" : "hello"}',
            b"PASS s3cret", b"PASS  s3cret ",
            b"\xff\xfe" + '{"type":"hello","password":"s3cret"}'.encode("utf-16-le"),
        )):  # fmt: skip
            ann = self.user(f"ann{number}")
            self.pass_presence(ann, bob)
            ann.send(line + b"\n")
            said = ann.take()
            self.assertIn(b"! Your line was not sent: it looks like a program's login.", said)
            self.assertNotIn(b"s3cret", said)
            self.assertEqual(bob.take(), b"")
            ann.write_eof()
            self.pass_presence(bob)
        self.assertNotIn(b"s3cret", connect_peer(self.factory).take())

    def test_braces_are_said(self) -> None:
        """On a text connection, a user may say everything else with braces and quotes."""
        ann, bob = self.user("ann"), self.user("bob")
        self.pass_presence(ann, bob)
        for line in (
            b"{}", b'{"type":"message"}', b'send {"type":"hello"} first', b"password: none",
            b'my "password"', b'the type: "hello"',
        ):  # fmt: skip
            ann.send(line + b"\n")
            self.assertEqual(bob.take(), b"<ann> " + line + b"\n")

    def test_in_any_pieces(self) -> None:
        """The result does not depend on how the bytes are split."""

        def run(pieces: Any) -> bytes:
            self.setUp()
            peer = connect_peer(self.factory)
            peer.send(*pieces)
            return peer.received

        same_for_every_split(
            b'{"type":"hello","nick":"\xc3\xa5"}\r\n\n{"type":"ping"}\n{"x"}\n', run
        )


class MessageTests(ChatCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.user("ann"), self.program("bob")
        self.eve = self.program("eve")
        self.pass_presence(self.ann, self.bob, self.eve)

    def test_both_forms_meet(self) -> None:
        """Both forms have the same order; the sender receives an ack for its message."""
        self.ann.send(b"hello\n/me waves\n")
        self.bob.send(type="message", room="lobby", text="hi, ann", id="c1")
        self.assertEqual(self.ann.take(), b"<bob> hi, ann\n")
        one, two, ack = self.bob.heard()
        self.assertEqual((one["offset"], one["from"], one["text"]), (1, "ann", "hello"))
        self.assertEqual((two["action"], two["text"]), (True, "waves"))
        self.assertEqual(ack, {"type": "ack", "id": "c1", "room": "lobby", "offset": 3})
        self.assertEqual([each["offset"] for each in self.eve.heard()], [1, 2, 3])

    def test_an_ack_stands_in_its_place(self) -> None:
        """An ack comes in the order of the offsets, even within one turn of the reactor."""
        self.ann.protocol.dataReceived(b"one\n")
        message = {"type": "message", "room": "lobby", "text": "two", "id": "x"}
        self.bob.peer.protocol.dataReceived(json.dumps(message).encode() + b"\n")
        self.ann.protocol.dataReceived(b"three\n")
        kinds = [(each["type"], each["offset"]) for each in self.bob.heard()]
        self.assertEqual(kinds, [("message", 1), ("ack", 2), ("message", 3)])

    def test_a_repeated_id(self) -> None:
        """A message with a repeated id is acked with the same offset, and not sent again."""
        for _ in range(3):
            (ack,) = self.bob.asks(type="message", room="lobby", text="hi", id="c1")
            self.assertEqual(ack["offset"], 1)
        self.assertEqual(self.ann.take(), b"<bob> hi\n")
        self.assertEqual(len(self.eve.heard()), 1)
        (ack,) = self.eve.asks(type="message", room="lobby", text="hi", id="c1")
        self.assertEqual(ack["offset"], 2)

    def test_a_message_without_an_id(self) -> None:
        """A message without an id is acked, too, so its sender learns its offset."""
        (ack,) = self.bob.asks(type="message", room="lobby", text="hi")
        self.assertEqual(ack, {"type": "ack", "room": "lobby", "offset": 1})

    def test_private_messages(self) -> None:
        """A private message reaches one user, in that user's form."""
        (ack,) = self.bob.asks(type="private", to="ANN", text="psst", id="p1")
        self.assertEqual(ack, {"type": "ack", "id": "p1"})
        self.assertEqual(self.ann.take(), b"* bob tells you: psst\n")
        self.ann.send(b"/msg bob what?\n")
        (told,) = self.bob.heard()
        self.assertEqual((told["from"], told["text"]), ("ann", "what?"))
        (error,) = self.bob.asks(type="private", to="nobody", text="x", id="p2")
        self.assertEqual((error["code"], error["id"]), ("no-such-nick", "p2"))

    def test_presence(self) -> None:
        """Joins, leaves and new names are announced; many at once are counted."""
        self.ann.send(b"/nick zoe\n")
        expected = {
            "type": "presence",
            "room": "lobby",
            "nick": "ann",
            "event": "nick",
            "to": "zoe",
        }
        self.assertEqual(self.bob.heard(), [expected])
        self.ann.write_eof()
        crowd = [connect_peer(self.factory) for _ in range(10)]
        self.clock.advance(GREETING_DELAY)
        self.clock.advance(SILENT_PRESENCE_DELAY)
        left, joined = self.bob.heard()
        self.assertEqual((left["nick"], left["event"]), ("zoe", "leave"))
        self.assertEqual((joined["event"], joined["count"]), ("join", 10))
        self.assertEqual(len(crowd), 10)

    def test_the_other_requests(self) -> None:
        """Each other request has its answer."""
        bob = self.bob
        (who,) = bob.asks(type="who", room="lobby")
        self.assertEqual((who["members"], who["count"]), (["ann", "bob", "eve"], 3))
        (joined,) = bob.asks(type="join", room="#Cellar")
        self.assertEqual(joined["room"], "cellar")
        (topic,) = bob.asks(type="topic", room="cellar", topic="wine")
        self.assertEqual((topic["topic"], topic["from"]), ("wine", "bob"))
        (rooms,) = bob.asks(type="rooms")
        self.assertEqual(rooms["rooms"][1], {"room": "cellar", "count": 1, "topic": "wine"})
        self.assertEqual(
            bob.asks(type="leave", room="cellar"), [{"type": "left", "room": "cellar"}]
        )
        self.assertEqual(bob.asks(type="nick", nick="rob"), [{"type": "nick", "nick": "rob"}])
        self.assertEqual(bob.asks(type="ping"), [{"type": "pong"}])
        self.assertEqual(bob.asks(type="pong"), [])
        (goodbye,) = bob.asks(type="quit")
        self.assertEqual((goodbye["code"], goodbye["retry"]), ("quit", False))
        self.assertTrue(bob.peer.finished)

    def test_history(self) -> None:
        """History comes in pages, the newest first."""
        for number in range(7):
            self.ann.send(b"%d\n" % number)
        self.bob.heard()
        before, pages = None, []
        for _ in range(3):
            more = {} if before is None else {"before": before}
            (page,) = self.bob.asks(type="history", room="lobby", limit=3, **more)
            pages.append(([each["text"] for each in page["messages"]], page["more"]))
            before = page["messages"][0]["offset"]
        self.assertEqual(pages, [(["4", "5", "6"], True), (["1", "2", "3"], True), (["0"], False)])

    def test_the_last_words(self) -> None:
        """The goodbye says why, and whether to reconnect."""
        self.bob.peer.protocol.close(DRAINING)
        (goodbye,) = self.bob.heard()
        self.assertEqual((goodbye["code"], goodbye["retry"]), ("draining", True))

    def test_its_own_last_words(self) -> None:
        """A message right before the goodbye is acked."""
        self.bob.peer.protocol.dataReceived(
            b'{"type":"message","room":"lobby","text":"last","id":"c1"}\n'
        )
        self.bob.peer.protocol.close(DRAINING)
        ack, goodbye = self.bob.heard()
        self.assertEqual((ack["type"], ack["id"], goodbye["type"]), ("ack", "c1", "goodbye"))

    def test_a_notice_to_everybody(self) -> None:
        """A notice from the embedding program reaches all users."""
        self.factory.send_to_all("* tea is ready")
        self.assertEqual(self.ann.take(), b"* tea is ready\n")
        self.assertEqual(self.bob.heard(), [{"type": "notice", "text": "tea is ready"}])


class HeartbeatTests(ChatCase):
    def test_a_silent_program_is_asked_and_then_closed(self) -> None:
        """A silent program is pinged, then closed; no program has its own timer."""
        dead, alive = self.program("dead"), self.program("alive")
        timers = len(self.clock.getDelayedCalls())
        for _ in range(6):
            alive.peer.advance(31)
            for message in alive.heard():
                if message["type"] == "ping":
                    alive.send(type="pong")
        self.assertEqual((dead.peer.protocol.reason.code, alive.peer.connected), ("idle", True))
        said = [each["type"] for each in dead.heard() if each["type"] != "presence"]
        self.assertEqual(said, ["ping", "goodbye"])
        self.assertLessEqual(timers, 2)

    def test_people_are_not_asked(self) -> None:
        """Text users are not pinged, because they would see it."""
        ann = self.user()
        ann.advance(1000)
        self.assertTrue(ann.connected)


class BadInputTests(ChatCase):
    def setUp(self) -> None:
        super().setUp()
        self.bob = self.program("bob")

    def test_every_mistake_is_an_error(self) -> None:
        """Every invalid message causes an error that names the field; the connection stays open."""
        say = {"type": "message", "room": "lobby", "text": "x"}
        for message, code, field in (
            ({}, "missing", "type"),
            ({"type": 7}, "bad-field", "type"),
            ({"type": "dance"}, "unknown-type", "type"),
            ({"type": "message", "room": "lobby"}, "missing", "text"),
            (say | {"text": 7}, "bad-field", "text"),
            (say | {"text": ["x"]}, "bad-field", "text"),
            (say | {"text": ""}, "bad-field", "text"),
            (say | {"text": "\x1b[31m\u202e"}, "bad-field", "text"),
            (say | {"room": None}, "missing", "room"),
            (say | {"room": "x y"}, "bad-name", "room"),
            (say | {"room": "elsewhere"}, "not-in-room", "room"),
            (say | {"id": 7}, "bad-field", "id"),
            (say | {"id": "x" * 65}, "bad-field", "id"),
            (say | {"id": ""}, "bad-field", "id"),
            (say | {"id": False}, "bad-field", "id"),
            (say | {"id": "a\nb"}, "bad-field", "id"),
            (say | {"action": 1}, "bad-field", "action"),
            ({"type": "nick", "nick": "x" * 99}, "bad-name", "nick"),
            ({"type": "nick", "nick": "\u202eann"}, "bad-name", "nick"),
            ({"type": "nick", "nick": {"a": {}}}, "bad-field", "nick"),
            ({"type": "join", "room": "a", "since": 7}, "bad-field", "since"),
            ({"type": "join", "room": "a", "since": {}}, "missing", "since.epoch"),
            ({"type": "join", "room": "a", "since": {"epoch": "e"}}, "missing", "since.offset"),
            ({"type": "join", "room": "a", "since": {"epoch": "e", "offset": -1}},
             "bad-field", "since.offset"),
            ({"type": "join", "room": "a", "since": {"epoch": "e", "offset": True}},
             "bad-field", "since.offset"),
            ({"type": "join", "room": "a", "since": {"epoch": "e", "offset": 1e400}},
             "bad-field", "since.offset"),
            ({"type": "history", "room": "lobby", "before": 2**60}, "bad-field", "before"),
            ({"type": "history", "room": "lobby", "limit": 1.5}, "bad-field", "limit"),
            ({"type": "kick", "nick": "bob"}, "not-allowed", None),
        ):  # fmt: skip
            line = json.dumps(message).replace("Infinity", "1e400").encode()
            self.bob.raw(line)
            (error,) = self.bob.heard()
            self.assertEqual((error["code"], error.get("field")), (code, field), message)

    def test_plain_words(self) -> None:
        """The text of an error names the field, and says what it must be."""
        say = b'{"type":"message","room":"lobby",'
        largest = "9007199254740991"
        for line, text in (
            (say + b'"text":42}', "text must be a string."),
            (say + b'"text":null}', "text is missing."),
            (say + b'"text":" "}', "text must have a visible character."),
            (say + b'"text":"x","action":1}', "action must be true or false."),
            (say + b'"text":"x","id":7}', "id must be a string of 1 to 64 printable characters."),
            (b"{}", "type is missing."),
            (b'{"type":[]}', "type must be a string."),
            (b'{"type":"\\u202edance"}', "There is no type dance."),
            (b'{"type":"join","room":"a","since":7}',
             "since must be an object with epoch and offset."),
            (b'{"type":"join","room":"a","since":{"epoch":7,"offset":7}}',
             "since.epoch must be a string."),
            (b'{"type":"join","room":"a","since":{"epoch":"e"}}', "since.offset is missing."),
            (b'{"type":"history","room":"a","before":"7"}',
             f"before must be a whole number from 0 to {largest}."),
            (b'{"type":"mute","nick":"a","minutes":-1}',
             f"minutes must be a whole number from 0 to {largest}."),
            (b"[]", "A message must be a JSON object."),
            (b"hello", "The line is not valid JSON: it goes wrong at character 1."),
            (b'{"type":"ping"', "The line is not valid JSON: it goes wrong at character 15."),
            (b'{"a":NaN}', "The line is not valid JSON: NaN is not JSON."),
            (b'{"a":"\xff"}', "The line is not valid JSON: not UTF-8."),
            (b'{"a":' + b"9" * 5000 + b"}",
             "The line is not valid JSON: a number has too many digits."),
            (b"[" * 9, "The line is not valid JSON: it nests deeper than 8."),
            (b'{"a":1,"a":2}', "The object has the field a twice."),
        ):  # fmt: skip
            self.bob.raw(line)
            (error,) = self.bob.heard()
            self.assertEqual(error["text"], text)

    def test_every_line_that_is_no_message(self) -> None:
        """Every line that is no message causes one error."""
        for line in (
            b"{", b"[]", b"7", b'"x"', b"null", b"{}{}", b"\x00", b'{"type":"ping"', b"\xff\xfe",
            b'{"type":"\xff"}', b'{"type":"ping","type":"quit"}', b'{"a":NaN}', b"{'a':1}",
            b'{"a":' + b"[" * 9 + b"]" * 9 + b"}", b"[" * 8000, b'{"a":' * 1000,
            b'{"offset":' + b"9" * 5000 + b"}", b"x" * 9000, b"hello",
        ):  # fmt: skip
            self.bob.raw(line)
            (error,) = self.bob.heard()
            self.assertIn(error["code"], ("bad-json", "too-long"), line[:40])
        self.assertEqual(self.bob.asks(type="ping"), [{"type": "pong"}])

    def test_braces_in_a_text_are_no_depth(self) -> None:
        """Braces in a text do not count as depth, because a program may send source code."""
        (ack,) = self.bob.asks(type="message", room="lobby", text='{[{["\\"' * 100)
        self.assertEqual(ack["type"], "ack")

    def test_nothing_is_forged(self) -> None:
        """No field that others see can contain line feeds, colours or bidirectional controls."""
        ann = self.user("ann")
        self.pass_presence(ann, self.bob)
        evil = "x\n<root> hi\r\n* root left\x1b[31m\u202e\u2028\x00y"
        self.bob.send(type="message", room="lobby", text=evil)
        self.bob.send(type="private", to="ann", text=evil)
        self.bob.send(type="topic", room="lobby", topic=evil)
        self.bob.send(type="nick", nick="a\nb")
        lines = ann.take().decode().splitlines()
        self.assertEqual([line[:8] for line in lines], ["<bob> x ", "* bob te", "* bob ch"], lines)
        for line in lines:
            self.assertTrue(line.isprintable(), line)

    def test_nobody_of_a_strange_name(self) -> None:
        """An error about an invalid name contains only printable characters."""
        for name, shown in (("\ud800", ""), ("bo\nb", "bob"), ("a\u202eb", "ab")):
            (error,) = self.bob.asks(type="private", to=name, text="hi")
            self.assertEqual(error["code"], "no-such-nick")
            self.assertEqual(error["text"], f"There is nobody called {shown} here.")

    @settings(max_examples=150, database=None)
    @given(st.data())
    def test_anything(self, data: Any) -> None:
        """Messages with any fields, and noise, are answered and do not affect others."""
        kinds = sorted(name[7:] for name in SCHEMA["$defs"] if name.startswith("client-"))
        values = st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(max_size=20)
            | st.sampled_from(["lobby", "bob", "ann", "x" * 70]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["epoch", "offset", "a"]), inner, max_size=3)
            ),
            max_leaves=6,
        )
        names = ("nick", "room", "text", "to", "since", "id", "limit", "before", "topic", "minutes",
                 "user", "password", "session", "action")  # fmt: skip
        self.setUp()
        ann = self.user("ann")
        self.pass_presence(ann, self.bob)
        for _ in range(5):
            if data.draw(st.integers(0, 3)):
                kind = data.draw(st.sampled_from([kind for kind in kinds if kind != "quit"]))
                message = data.draw(st.dictionaries(st.sampled_from(names), values, max_size=5))
                line = json.dumps({"type": kind, **message}).encode()
            else:
                line = data.draw(st.binary(max_size=50)).replace(b"\n", b"")
            self.bob.raw(line)
            self.bob.heard()
        self.assertIsNone(self.bob.peer.protocol.reason)
        for line in ann.take().decode().splitlines():
            self.assertTrue(line[:1] in "<*", line)
        ann.send(b"/ping\n")
        self.assertIn(b"* pong\n", ann.take())

    @settings(max_examples=300, database=None)
    @given(st.binary(max_size=60))
    def test_any_bytes(self, line: bytes) -> None:
        """Any bytes are a request or raise RequestError."""
        try:
            json_requests.parse_request(json_requests.decode(line))
        except RequestError as refused:
            self.assertTrue(refused.code)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
times = st.floats(0, 4e9)


class WrittenTests(SynchronousTestCase):
    """What is written in one piece is what a JSON library writes, byte for byte."""

    codec = json_codec.JsonCodec("server", 45.0, {})

    def test_a_time(self) -> None:
        """RFC 3339, with as many milliseconds as have passed."""
        for time, written in (
            (0.0, "1970-01-01T00:00:00.000Z"),
            (0.9996, "1970-01-01T00:00:00.999Z"),
            (1_700_000_000.123, "2023-11-14T22:13:20.123Z"),
            (1_700_000_000.9999999, "2023-11-14T22:13:21.000Z"),  # it was rounded to microseconds
        ):
            self.assertEqual(format_time(time), written)

    @given(times)
    def test_any_time(self, time: float) -> None:
        """It is what ``datetime`` makes of it."""
        expected = datetime.fromtimestamp(round(time, 6), UTC)
        written = datetime.fromisoformat(format_time(time))
        self.assertLessEqual(abs(expected - written), timedelta(milliseconds=1))

    @given(texts, texts, texts, times, st.booleans(), st.integers(0), texts)
    def test_a_message(
        self, room: str, sender: str, text: str, time: float, action: bool, offset: int, id: str
    ) -> None:
        """A message, alone and in a page of the history."""
        stored = StoredMessage(offset, Message(sender, text, time, action))
        fields: dict[str, Any] = {"type": "message", "room": room, "offset": offset}
        fields |= {"from": sender, "text": text, "time": format_time(time)}
        fields |= {"action": True} if action else {}
        with_id = {"id": id} if id else {}
        written = self.codec.encode_message(room, stored, id)
        self.assertEqual(written, encode_json(fields | with_id) + b"\n")
        page = {"type": "history", "room": room, "epoch": sender, "messages": [fields, fields]}
        written = self.codec.encode(HistoryPage(room, sender, [stored, stored], action), id)
        self.assertEqual(written, encode_json(page | {"more": action} | with_id) + b"\n")

    @given(texts, texts, st.integers(0))
    def test_an_ack(self, id: str, room: str, offset: int) -> None:
        """Of a message to a room, which has a position, and of one to somebody."""
        ack = {"type": "ack", **({"id": id} if id else {})}
        place = {"room": room, "offset": offset} if room else {}
        for event, other in ((Ack(id, room, offset), ""), (Ack("", room, offset), id)):
            written = self.codec.encode(event, other)
            self.assertEqual(written, encode_json(ack | place) + b"\n")
        self.assertEqual(self.codec.encode(Delivered("bob", room, id)), encode_json(ack) + b"\n")


class WholeNumbersTests(ChatCase):
    """In JSON Schema, 1.0 is an integer."""

    def test_numbers_without_a_fraction(self) -> None:
        """Every field that takes an integer takes 1.0 and 1e0, too, and stores an int."""
        bob = self.program("bob")
        for text in ("one", "two", "three"):
            bob.send(type="message", room="lobby", text=text)
        for before, limit in ((3.0, 1.0), (3, 1)):
            (page,) = bob.asks(type="history", room="lobby", before=before, limit=limit)
            self.assertEqual([each["offset"] for each in page["messages"]], [2])
        bob.raw(b'{"type":"history","room":"lobby","before":3e0,"limit":10E-1}')
        self.assertEqual(bob.heard(), [page])
        bob.send(type="leave", room="lobby")
        ann = self.program("ann")
        (joined,) = ann.asks(type="join", room="den")
        since = {"epoch": joined["epoch"], "offset": 0.0}
        ann.send(type="leave", room="den")
        for request, line in (
            (json_requests.Join("den", Position(joined["epoch"], 0)),
             {"type": "join", "room": "den", "since": since}),
            (json_requests.Mute("x", 5), {"type": "mute", "nick": "x", "minutes": 5.0}),
            (json_requests.Ban("x", 5, ""), {"type": "ban", "nick": "x", "minutes": 5.0}),
        ):  # fmt: skip
            parsed = json_requests.parse_request(json_requests.decode(json.dumps(line).encode()))
            self.assertEqual(parsed, request)
            self.assertNotIn(".0", repr(parsed))

    def test_other_numbers(self) -> None:
        """A fraction, a truth value and a number that is too large are refused."""
        bob = self.program("bob")
        for text in (b"1.5", b"true", b"-1.0", b"1e400", b"1e300", b"9007199254740993.0"):
            bob.raw(b'{"type":"history","room":"lobby","before":' + text + b"}")
            (error,) = bob.heard()
            self.assertEqual((error["code"], error["field"]), ("bad-field", "before"), text)


class SchemaTests(ChatCase):
    def test_every_request_is_described(self) -> None:
        """The schema describes exactly the requests that there are."""
        described = {name[7:] for name in SCHEMA["$defs"] if name.startswith("client-")}
        self.assertEqual(described - {"own"}, set(json_requests.REQUESTS))

    def test_unknown_fields(self) -> None:
        """Unknown fields are allowed in both directions, as the schema says, and do not matter."""
        self.assertNotIn("additionalProperties", json.dumps(SCHEMA))
        bob = self.program("bob")
        (ack,) = bob.asks(type="message", room="lobby", text="hi", mood={"a": [1]})
        self.assertEqual(ack["type"], "ack")
        since = {"epoch": "x", "offset": 0, "mood": None}
        (joined,) = bob.asks(type="join", room="lobby", since=since)
        self.assertEqual(joined["recovered"], False)

    def test_every_event_is_described(self) -> None:
        """The schema describes exactly the types of messages that the server sends."""
        sent = {name[7:] for name in SCHEMA["$defs"] if name.startswith("server-")}
        source = inspect.getsource(json_codec)
        self.assertEqual(set(re.findall(r'"type": ?"([a-z]+)"', source)) | {"ping", "own"}, sent)
        for side in ("client", "server"):
            names = {name[7:] for name in SCHEMA["$defs"] if name.startswith(f"{side}-")}
            own = SCHEMA["$defs"][f"{side}-own"]["properties"]["type"]
            self.assertEqual(own["not"]["enum"], sorted(names - {"own"}))
        listed = {each["$ref"][8:] for side in ("client", "server")
                  for each in SCHEMA["$defs"][side]["oneOf"]}  # fmt: skip
        self.assertEqual(listed, set(SCHEMA["$defs"]) - {"client", "server"})


class RoomsTests(ChatCase):
    def test_somebody_in_several_rooms(self) -> None:
        """A text user in several rooms sees which room each message is from."""
        ann, bob = self.user("ann"), self.user("bob")
        self.pass_presence(ann, bob)
        ann.send(b"/join cellar\n")
        self.assertEqual(ann.take(), b"* You are in #cellar now, with 0 others.\n")
        bob.send(b"hello\n/join cellar\ncold here\n")
        lines = [b"#lobby <bob> hello", b"* bob joined #cellar.", b"#cellar <bob> cold here"]
        self.assertEqual(ann.take().splitlines(), lines)
        ann.send(b"indeed\n/leave lobby\n")
        self.assertIn(b"#cellar <ann> indeed\n", bob.take())
        ann.take()
        bob.send(b"/join lobby\nbye\n/join cellar\nhi\n")
        self.assertEqual(ann.take(), b"<bob> hi\n")

    def test_somebody_who_ignores(self) -> None:
        """A user receives no messages of an ignored user; other users do."""
        ann, bob, eve = (self.user(name) for name in ("ann", "bob", "eve"))
        self.pass_presence(ann, bob, eve)
        ann.send(b"/ignore bob\n")
        ann.take()
        bob.send(b"hello\n/msg ann hello\n")
        eve.send(b"hi\n")
        self.assertEqual((ann.take(), eve.take()), (b"<eve> hi\n", b"<bob> hello\n"))

    def test_what_was_said_before(self) -> None:
        """A text user sees the last few messages on joining, and more on request."""
        ann = self.user("ann")
        for number in range(9):
            ann.send(b"line %d\n" % number)
        bob = connect_peer(self.factory)
        bob.advance(GREETING_DELAY)
        lines = bob.take().decode().splitlines()
        expected = ["* Earlier in #lobby, times are UTC:", "* 2023-11-14"]
        expected += [f"* 22:13 <ann> line {number}" for number in range(4, 9)]
        self.assertEqual(lines[1:], expected)
        bob.send(b"/history 2\n")
        self.assertEqual(bob.take().decode().splitlines()[-1], "* 22:13 <ann> line 8")
        bob.send(b"/join cellar\n/history\n")
        self.assertTrue(bob.take().endswith(b"* There is nothing earlier in #cellar.\n"))

    def test_no_history(self) -> None:
        """The history on joining can be switched off."""
        self.factory = self.make(chat_limits=ChatLimits(history=0))
        self.user("ann").send(b"hello\n")
        bob = connect_peer(self.factory)
        bob.advance(GREETING_DELAY)
        self.assertEqual(bob.take().count(b"\n"), 1)
