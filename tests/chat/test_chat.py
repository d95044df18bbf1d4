"""Tests of the chat's text form, with :mod:`twisted_net.chat.protocol`."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.chat.codecs.text_commands import COMMANDS
from twisted_net.chat.greeting import GREETING_DELAY
from twisted_net.chat.moderation import NAMED_AT_MOST
from twisted_net.chat.protocol import (
    LINE_TIMEOUTS,
    MAX_MESSAGE,
    PRESENCE_DELAY,
    SILENT_PRESENCE_DELAY,
    ChatFactory,
)
from twisted_net.policy.close_reasons import CLOSED, DRAINING
from twisted_net.testing import Peer, connect_peer, connect_tls_peer, same_for_every_split
from twisted_net.wire.text import printable


class ChatCase(SynchronousTestCase):
    """A chat server with a fake clock. Its users are far ends of connections in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = ChatFactory(clock=self.clock)

    def visitor(self) -> Peer:
        """Connect a user, and read the welcome."""
        (peer,) = self.visitors(1)
        return peer

    def visitors(self, count: int) -> list[Peer]:
        """Connect users at the same time, and read the welcomes."""
        peers = [connect_peer(self.factory) for _ in range(count)]
        self.clock.advance(GREETING_DELAY)
        for peer in peers:
            peer.take()
        return peers

    def users(self, count: int) -> list[Peer]:
        """Connect users, and read the announcements of their joins."""
        peers = self.visitors(count)
        self.clock.pump([SILENT_PRESENCE_DELAY, PRESENCE_DELAY])
        for peer in peers:
            peer.take()
        return peers

    def assertEmpty(self) -> None:
        """Assert that no user, room or timer is left."""
        self.clock.advance(0)
        registry = self.factory.registry
        self.assertEqual((len(self.factory), len(registry), registry.rooms), (0, 0, {}))
        self.assertEqual((registry.by_origin, registry.ignorers_of), ({}, {}))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class LogTests(ChatCase):
    def test_the_end_has_the_name(self) -> None:
        """The line about the end of a connection has the user's last name."""
        for said, user in (
            (b"hello\n", "guest-1"),
            (b"/nick ann\n", "ann"),
            (b"/quit\n", "guest-3"),
        ):
            peer = self.visitor()
            peer.send(said)
            with capturedLogs() as events:
                peer.write_eof()
            (line,) = [formatEvent(each) for each in events]
            self.assertIn(f", user {user}, ", line)

    def test_a_peer_that_was_never_a_user(self) -> None:
        """A handshake that fails has no name."""
        peer = connect_tls_peer(self.factory)
        with capturedLogs() as events:
            peer.reset()
        (line,) = [formatEvent(each) for each in events]
        self.assertNotIn("user", line)


class PresenceTests(ChatCase):
    def test_the_welcome(self) -> None:
        """The welcome names the guest and the room; each guest has the next number."""
        for number in (1, 2):
            text = f"Welcome to the chat server! You are guest-{number} in #lobby. "
            expected = text.encode() + b"/help lists commands.\n"
            peer = connect_peer(self.factory)
            peer.advance(GREETING_DELAY - 0.01)
            self.assertEqual(peer.received, b"")
            peer.advance(0.02)
            self.assertEqual(peer.received, expected)

    def test_an_arrival_is_told_after_a_moment(self) -> None:
        """A join is announced to the other users after a delay."""
        (ann,) = self.users(1)
        bob = self.visitor()
        bob.advance(SILENT_PRESENCE_DELAY - 0.1)
        self.assertEqual(ann.received, b"")
        bob.advance(PRESENCE_DELAY + 0.1)
        self.assertEqual((ann.take(), bob.received), (b"* guest-2 joined #lobby.\n", b""))
        eve = self.visitor()
        eve.send(b"/ping\n")
        self.assertEqual(ann.received, b"")
        eve.advance(PRESENCE_DELAY)
        self.assertEqual(ann.received, b"* guest-3 joined #lobby.\n")

    def test_an_arrival_is_told_before_the_first_words(self) -> None:
        """A join is announced before the user's first message, and only once."""
        (ann,) = self.users(1)
        bob = self.visitor()
        bob.send(b"hello\n")
        self.assertEqual(ann.take(), b"* guest-2 joined #lobby.\n<guest-2> hello\n")
        bob.advance(1)
        self.assertEqual((ann.received, bob.received), (b"", b""))

    def test_a_departure_is_told_after_a_moment(self) -> None:
        """A leave is announced after a delay, no matter how the connection ended."""
        for end in (Peer.write_eof, Peer.reset, lambda peer: peer.send(b"/quit\n")):
            ann, bob = self.users(2)
            ann.take()
            name = bob.protocol.name
            end(bob)
            self.assertEqual(ann.take(), b"")
            ann.advance(PRESENCE_DELAY)
            self.assertEqual(ann.received, f"* {name} left #lobby.\n".encode())

    def test_connecting_and_closing_leaves_nothing(self) -> None:
        """A user who leaves at once is neither announced nor logged above the debug level."""
        (ann,) = self.users(1)
        with capturedLogs() as events:
            for end in (Peer.write_eof, Peer.reset):
                end(self.visitor())
            ann.advance(1)
        self.assertEqual([e for e in events if e["log_level"] > LogLevel.debug], [])
        self.assertEqual((ann.received, len(self.factory)), (b"", 1))

    def test_checks_are_phantoms(self) -> None:
        """Checks that hold the port for a while are not announced, and use no guest's name up."""
        (ann,) = self.users(1)
        for sent in (b"", b"\xff\xfb\x18", b"\r\n", b"  \n", b"\0"):
            for seconds in (0.0, 0.1, 0.3, 1.0, 2.5):
                checks = [connect_peer(self.factory) for _ in range(3)]
                for check in checks:
                    check.send(sent)
                    check.advance(GREETING_DELAY)
                checks[0].advance(seconds)
                for check in checks:
                    check.reset()
        self.clock.pump([1.0] * 5)
        self.assertEqual(ann.take(), b"")
        bob, eve = connect_peer(self.factory), connect_peer(self.factory)
        bob.send(b"hello\n")
        eve.send(b"/nick eve\nhello\n")
        self.assertEqual(re.findall(b"<.*", ann.take()), [b"<guest-2> hello", b"<eve> hello"])
        bob.write_eof()  # he was seen, so nobody else gets his name
        (next_one,) = self.visitors(1)
        self.assertEqual(next_one.protocol.name, "guest-4")

    def test_nothing_is_sent_before_the_greeting(self) -> None:
        """Neither notices nor the room reach a peer that may turn out to speak HTTP."""
        ann = self.users(1)[0]
        peer = connect_peer(self.factory)
        self.factory.send_to_all("tea is ready")
        ann.send(b"hello\n")
        self.assertEqual((peer.received, ann.take()), (b"", b"* tea is ready\n"))
        peer.send(b"GET / HT")
        peer.advance(1)  # it has begun to speak, so it is not greeted as one that is silent
        self.assertEqual(peer.received, b"")
        peer.send(b"TP/1.1\r\n")
        self.assertTrue(peer.received.startswith(b"HTTP/1.1 400 "))

    def test_one_that_comes_just_before_others_are_told(self) -> None:
        """Each user has the full delay: one who leaves within it is not announced."""
        (ann,) = self.users(1)
        self.visitor()
        ann.advance(SILENT_PRESENCE_DELAY - GREETING_DELAY - 0.05)
        check = self.visitor()
        self.clock.pump([0.1, PRESENCE_DELAY])
        self.assertEqual(ann.take(), b"* guest-2 joined #lobby.\n")
        check.write_eof()
        late = self.visitor()  # it gets the number of the check, of which nobody knows
        ann.advance(2 * SILENT_PRESENCE_DELAY)
        self.assertEqual((ann.received, late.connected), (b"* guest-3 joined #lobby.\n", True))

    def test_many_at_once_are_one_line(self) -> None:
        """Many joins or leaves at once are announced as one number."""
        (ann,) = self.users(1)
        crowd = self.visitors(100)
        ann.advance(4)
        self.assertEqual(ann.take(), b"* 100 people joined #lobby.\n")
        for each in crowd:
            each.write_eof()
        ann.advance(1)
        self.assertEqual(ann.take(), b"* 100 people left #lobby.\n")

    def test_a_few_are_told_by_name(self) -> None:
        """A few joins or leaves are announced by name, more as a number."""
        (ann,) = self.users(1)
        few = self.visitors(NAMED_AT_MOST)
        ann.advance(4)
        come = [f"* guest-{number} joined #lobby." for number in range(2, NAMED_AT_MOST + 2)]
        self.assertEqual(ann.take().decode().splitlines(), come)
        self.visitors(NAMED_AT_MOST + 1)
        self.clock.advance(SILENT_PRESENCE_DELAY - PRESENCE_DELAY)
        for peer in few:
            peer.write_eof()
        ann.advance(1)
        told = [line.replace("joined", "left") for line in come]
        told.append(f"* {NAMED_AT_MOST + 1} people joined #lobby.")
        self.assertEqual(ann.take().decode().splitlines(), told)

    def test_the_last_one_leaves_nothing(self) -> None:
        """Nothing is left when all users have left, even if one has just joined."""
        users = [*self.users(2), self.visitor()]
        for peer in users:
            peer.write_eof()
        self.assertEmpty()

    def test_over_tls_somebody_is_there_after_the_handshake(self) -> None:
        """A TLS client joins after the handshake. One that never finishes it never joins."""
        (ann,) = self.users(1)
        bob, eve = connect_tls_peer(self.factory), connect_tls_peer(self.factory)
        bob.handshake()
        eve.reset()
        self.clock.pump([GREETING_DELAY, 4])
        self.assertEqual(ann.received, b"* guest-2 joined #lobby.\n")

    def test_a_name_that_is_taken_over(self) -> None:
        """A user's leave is announced before another user takes the name."""
        ann, bob, eve = self.users(3)
        bob.send(b"/nick bob\n")
        ann.take()
        bob.write_eof()
        eve.send(b"/nick bob\n")
        ann.advance(1)
        lines = ann.received.splitlines()
        self.assertEqual(lines, [b"* bob left #lobby.", b"* guest-3 is now bob."])


class LineTests(ChatCase):
    def test_a_line_goes_to_all_the_others(self) -> None:
        """A line goes to all other users, but not back to its sender."""
        ann, bob, eve = self.users(3)
        ann.send(b"hello\r\n")
        heard = (ann.received, bob.received, eve.received)
        self.assertEqual(heard, (b"", b"<guest-1> hello\n", b"<guest-1> hello\n"))

    def test_lines_in_any_pieces(self) -> None:
        """The result does not depend on how the bytes are split."""

        def run(pieces: Any) -> tuple[bytes, bytes]:
            self.setUp()
            ann, bob = self.users(2)
            ann.send(*pieces)
            return ann.received, bob.received

        data = b"h\xc3\xa9llo\r\n/me waves\n\xff\n/nick ann\n\n//x\n/ping\nrest"
        ann, bob = same_for_every_split(data, run)
        self.assertEqual(
            bob.decode().splitlines(),
            ["<guest-1> héllo", "* guest-1 waves", "* guest-1 is now ann.", "<ann> /x"],
        )
        self.assertEqual(len(ann.splitlines()), 3)

    def test_everybody_at_once(self) -> None:
        """All users receive all lines of the others in the same order."""
        peers = self.users(20)
        for peer in peers:
            peer.protocol.dataReceived(b"one\ntwo\n")
        self.clock.advance(0)
        everything = [
            f"<guest-{n}> {word}".encode() for n in range(1, 21) for word in ("one", "two")
        ]
        for number, peer in enumerate(peers, 1):
            own = f"<guest-{number}>".encode()
            expected = [line for line in everything if not line.startswith(own)]
            self.assertEqual(peer.received.splitlines(), expected)

    def test_empty_lines(self) -> None:
        """Empty lines are ignored."""
        ann, bob = self.users(2)
        ann.send(b"\n\r\n \n\t\n\x1b[31m\n\x00\n")
        self.assertEqual((ann.received, bob.received), (b"", b""))

    def test_a_line_that_is_too_long(self) -> None:
        """A line that is too long causes one error at once. The next line is a message again."""
        ann, bob = self.users(2)
        ann.send(b"x" * (MAX_MESSAGE + 2))
        complaint = f"! A line has at most {MAX_MESSAGE} bytes; yours was not sent.\n".encode()
        self.assertEqual(ann.received, complaint)
        for _ in range(200):
            ann.send(b"x" * 50_000)
        self.assertLess(len(ann.protocol._framing._buffer), MAX_MESSAGE + 2)
        ann.send(b"x\nstill here\n")
        self.assertEqual(ann.received, complaint)
        self.assertEqual(bob.received, b"<guest-1> still here\n")

    def test_the_longest_line(self) -> None:
        """A line may be as long as the limit."""
        ann, bob = self.users(2)
        ann.send(b"x" * MAX_MESSAGE + b"\r\n")
        self.assertEqual(
            (ann.received, len(bob.received)), (b"", len(b"<guest-1> \n") + MAX_MESSAGE)
        )

    def test_a_line_that_is_not_utf_8(self) -> None:
        """A line that is not UTF-8 causes one error, is not sent, and keeps the connection open."""
        ann, bob = self.users(2)
        for line in (b"a\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xe2\x82"):
            ann.send(line + b"\n")
            answer = ann.take()
            self.assertTrue(answer.startswith(b"! Your line was not sent: not UTF-8"))
            self.assertEqual(answer.count(b"\n"), 1)
        ann.send("é\n".encode())
        self.assertEqual(bob.received, "<guest-1> é\n".encode())

    def test_nothing_reaches_another_terminal(self) -> None:
        """No control characters reach another terminal, whichever command carries them."""
        evil = "\x1b[31m\x1b]0;t\x07\x9b1m\x07\x08\r\x7f\u202e\u2066\u2028\ufeff".encode()
        ann, bob = self.users(2)
        ann.send(b"hi " + evil + b"there\n")
        ann.send(b"/me " + evil + b"there\n")
        ann.send(b"/msg guest-2 " + evil + b"there\n")
        ann.send(b"/nick a" + evil + b"nn\n")
        ann.send(b"/" + evil + b"foo\n", b"/msg " + evil + b"eve x\n")
        for text in (ann.received.decode(), bob.received.decode()):
            for line in text.splitlines():
                self.assertEqual(printable(line), line)
            self.assertEqual(text.count("\n"), len(text.splitlines()))
        self.assertIn(b"<guest-1> hi there\n", bob.received)
        self.assertIn(b"* guest-1 is now ann.\n", bob.received)

    def test_every_byte_that_there_is(self) -> None:
        """Every byte in a line is handled, and only printable lines result."""
        ann, bob = self.users(2)
        for start in (b"", b"/", b"/nick ", b"/msg guest-2 ", b"\xff\xfb"):
            for byte in range(256):
                ann.send(start + bytes([byte]) + b"\n")
        self.assertTrue(ann.connected)
        text = re.sub(rb"\xff\xfe.", b"", ann.received, flags=re.DOTALL)  # refused telnet options
        for line in text.decode().splitlines() + bob.received.decode().splitlines():
            self.assertEqual(printable(line), line)

    def test_the_last_words_of_one_who_leaves(self) -> None:
        """A user's last message is delivered before the leave is announced."""
        ann, bob = self.users(2)
        ann.send(b"bye\n/quit\nnever said\n")
        bob.advance(1)
        self.assertEqual(bob.received, b"<guest-1> bye\n* guest-1 left #lobby.\n")
        self.assertEqual(ann.received, b"* Goodbye.\n", "its own words do not come back")

    def test_a_line_without_its_end(self) -> None:
        """A line without a line ending is not sent."""
        ann, bob = self.users(2)
        ann.send(b"half")
        ann.write_eof()
        bob.advance(1)
        self.assertEqual(bob.received, b"* guest-1 left #lobby.\n")


class TypingTests(ChatCase):
    """Tests of users who type key by key, as with the telnet of Windows."""

    def test_steady_typing(self) -> None:
        """Who types has the time limit from key to key, and not for the whole line."""
        ann, bob = self.users(2)
        text = b"a line that takes 250 seconds"
        for key in text:
            ann.send(bytes([key]))
            ann.advance(9)
        ann.send(b"\r")
        ann.send(b"\0")
        self.assertEqual(bob.take(), b"<guest-1> " + text + b"\n")
        ann.send(b"next")
        ann.advance(25)
        ann.send(b" line")
        ann.advance(25)
        self.assertTrue(ann.connected)
        ann.advance(10)
        self.assertEqual(ann.protocol.reason.code, "unfinished")

    def test_the_telnet_of_windows(self) -> None:
        """Its negotiation, its keys and its endings are understood, one byte at a time."""
        ann, bob = self.users(2)
        typed = b"\xff\xfb\x1fhex\x08llo\r\ngr\xc3\xbc\xc3\x9f\x7f\xc3\x9fe\r\0/me wavee\x08s\r\n"
        for key in typed + b"/foo\x15/nick ann\r\n":
            ann.send(bytes([key]))
        self.assertEqual(
            bob.take().decode().splitlines(),
            ["<guest-1> hello", "<guest-1> grüße", "* guest-1 waves", "* guest-1 is now ann."],
        )

    def test_a_slow_loris(self) -> None:
        """However steadily somebody sends, a line has a time limit, even one that is skipped."""
        for text in (b"x", b"x" * MAX_MESSAGE):
            (eve,) = self.visitors(1)
            most = LINE_TIMEOUTS * self.factory.limits.message_timeout
            eve.send(text)
            for _ in range(int(most / 10)):
                self.assertTrue(eve.connected)
                eve.send(b"x")
                eve.advance(10)
            eve.advance(40)
            self.assertEqual(eve.protocol.reason.code, "unfinished")

    def test_a_new_line_has_new_time(self) -> None:
        """The time limit for a line begins again with each line, even within one read."""
        (ann,) = self.users(1)
        for _ in range(100):
            ann.send(b"lo")
            ann.advance(20)
            ann.send(b"ng")
            ann.advance(20)
            ann.send(b" line\nand ")
        self.assertTrue(ann.connected)

    def test_a_program_has_one_limit(self) -> None:
        """A program sends whole messages, so its time limit is for a whole one."""
        eve = connect_peer(self.factory)
        eve.send(b'{"type":"hello"}\n')
        for key in b'{"type":"ping","x":"':
            eve.send(bytes([key]))
            eve.advance(2)
        self.assertEqual(eve.protocol.reason.code, "unfinished")

    def test_the_first_line(self) -> None:
        """The first line is edited before it decides what the peer is."""
        (ann,) = self.users(1)
        for typed, answer in (
            (b"{\x08hello", b""),
            (b"GET / HTTP/1.1\x15hello", b""),
            (b'x\x7f{"type":"hello"}', b'{"type":"welcome"'),
            (b'{"type":"hello","nick":"a\x7fb"}', b'{"type":"error"'),  # JSON may contain DEL
            (b"x\x08/quit", b"Goodbye.\n"),
            (b"\x08", b""),
        ):
            peer = connect_peer(self.factory)
            peer.send(typed + b"\n")
            self.assertIn(answer, peer.take(), typed)
            self.assertEqual(b"<guest" in ann.take(), typed.endswith(b"hello"), typed)
            peer.reset()


class CommandTests(ChatCase):
    def test_each(self) -> None:
        """Each command has the right effect on its user and on another one."""
        for line, own, others in (
            ("/ping", "* pong", ""),
            ("/me waves", "", "* guest-1 waves"),
            ("/who", "* 2 in #lobby: guest-1, guest-2", ""),
            ("/nick ann", "* You are ann now.", "* guest-1 is now ann."),
            ("/nick guest-2", "! The name guest-2 is taken.", ""),
            ("/msg guest-2 hi", "* You told guest-2: hi", "* ann tells you: hi"),
            ("/msg eve hi", "! There is nobody called eve here.", ""),
            ("/foo", "! There is no command /foo. /help lists commands.", ""),
            ("//foo", "", "<ann> /foo"),
        ):
            if line == "/ping":
                ann, bob = self.users(2)
            ann.send(line.encode() + b"\n")
            heard = (ann.take().decode().rstrip("\n"), bob.take().decode().rstrip("\n"))
            self.assertEqual(heard, (own, others), line)

    def test_help(self) -> None:
        """Only the user who asks receives the help."""
        ann, bob = self.users(2)
        ann.send(b"/help\n")
        self.assertEqual(bob.received, b"")
        lines = ann.received.splitlines()
        count = sum(not command.operator for command in COMMANDS.values())
        self.assertEqual((len(lines), {line[:3] for line in lines}), (count, {b"* /"}))

    def test_quit(self) -> None:
        """``/quit`` sends a goodbye, closes the connection and frees the name."""
        ann, bob = self.users(2)
        ann.send(b"/nick ann\n/quit\n")
        self.assertTrue(ann.received.endswith(b"* Goodbye.\n"))
        self.assertTrue(ann.finished)
        ann.write_eof()
        self.assertEqual((ann.connected, ann.protocol.reason.code), (False, "quit"))
        bob.send(b"/nick ann\n")
        self.assertIn(b"* You are ann now.\n", bob.received)

    def test_a_newcomer_takes_a_name(self) -> None:
        """If a user changes the name right after joining, only the new name is announced."""
        (ann,) = self.users(1)
        bob = self.visitor()
        bob.send(b"/nick bob\n")
        ann.advance(1)
        self.assertEqual(ann.received, b"* bob joined #lobby.\n")

    def test_who_takes_many_names_and_goes(self) -> None:
        """Nothing is left of any name that a user had."""
        (ann,) = self.users(1)
        for number in range(50):
            ann.send(b"/nick n%d\n" % number)
        ann.write_eof()
        self.assertEmpty()


class SlowTests(ChatCase):
    """Users who do not read."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = ChatFactory(clock=self.clock, queue_limit=200)

    def test_is_closed_and_disturbs_nobody(self) -> None:
        """A slow user is closed. The others receive every line, and that the user left."""
        ann, slow, bob = self.users(3)
        slow.full()
        for number in range(50):
            ann.send(b"line %d\n" % number)
        self.assertEqual(slow.protocol.reason.code, "slow")
        bob.advance(1)
        lines = bob.received.splitlines()
        self.assertEqual(lines[:50], [b"<guest-1> line %d" % number for number in range(50)])
        self.assertEqual(lines[50:], [b"* guest-2 left #lobby."])
        self.assertNotIn(slow.protocol.user, self.factory.registry.rooms["lobby"].users)
        bob.advance(30)
        self.assertEqual((slow.connected, slow.aborted), (False, True))

    def test_is_still_heard(self) -> None:
        """A slow user can send messages until the queue is full."""
        slow, bob = self.users(2)
        slow.full()
        bob.send(b"hello\n")
        slow.send(b"I can speak\n")
        self.assertEqual(bob.received, b"<guest-1> I can speak\n")

    def test_all_are_slow(self) -> None:
        """If all users are slow, all are closed in one flush, and the room is empty."""
        users = self.users(20)
        for peer in users:
            peer.full()
        for _ in range(2):
            for peer in users:
                peer.protocol.dataReceived(b"x" * 150 + b"\n")
            self.clock.advance(0)
        self.assertEqual({peer.protocol.reason.code for peer in users}, {"slow"})
        users[0].advance(30)
        self.assertEmpty()

    def test_its_own_answers_fill_its_queue(self) -> None:
        """A user's own answers may fill the queue, in the middle of any command."""
        for line in (
            b"/help\n",
            b"/who\n",
            b"/nick a\n/nick b\n",
            b"/msg guest-1 hello\n",
            b"/z\n",
        ):
            self.setUp()
            ann, bob = self.users(2)
            ann.full()
            ann.send(line * 40)
            self.assertEqual(ann.protocol.reason.code, "slow", line)
            bob.advance(1)
            self.assertTrue(bob.received.endswith(b" left #lobby.\n"))
            ann.advance(30)
            bob.write_eof()
            self.assertEmpty()

    def test_closing_one_whose_queue_is_full(self) -> None:
        """A user whose queue is full is closed once, although the goodbye does not fit."""
        for close in (ChatFactory.close, ChatFactory.abort):
            self.setUp()
            ann, bob = self.users(2)
            ann.full()
            ann.protocol.send_encoded(b"x" * 200)
            bob.send(b"not flushed yet\n")
            close(self.factory, DRAINING)
            self.assertIsNotNone(ann.protocol.reason)
            ann.advance(30)
            self.assertFalse(ann.connected)
            self.assertEmpty()

    def test_private_lines_fill_it(self) -> None:
        """Private messages may fill a user's queue. Their sender is not affected."""
        ann, slow = self.users(2)
        slow.full()
        for _ in range(20):
            ann.send(b"/msg guest-2 hello hello\n")
        self.assertEqual(slow.protocol.reason.code, "slow")
        self.assertEqual(ann.received.count(b"! There is nobody called guest-2 here.\n"), 13)
        self.assertTrue(ann.connected)


class EndTests(ChatCase):
    def test_the_reason_is_told(self) -> None:
        """The reason for closing is sent as a notice, after the messages before it."""
        ann, bob = self.users(2)
        ann.protocol.dataReceived(b"last\n")
        bob.protocol.close(DRAINING)
        self.assertEqual(bob.received, b"<guest-1> last\n* The server is restarting.\n")

    def test_its_own_words(self) -> None:
        """A user's own last message does not come back when the connection is closed."""
        ann, bob = self.users(2)
        ann.protocol.dataReceived(b"last\n")
        ann.protocol.close(DRAINING)
        self.assertEqual(ann.received, b"* The server is restarting.\n")
        bob.turn()
        self.assertEqual(bob.received, b"<guest-1> last\n")

    def test_words_after_the_goodbye_are_not_said(self) -> None:
        """After the goodbye, a user neither sends nor receives messages."""
        ann, bob = self.users(2)
        ann.protocol.close(DRAINING)
        ann.take()
        ann.send(b"one more thing\n")
        bob.send(b"hello?\n")
        self.assertEqual((ann.received, bob.received), (b"", b""))

    def test_closing_everybody(self) -> None:
        """Closing all connections leaves an empty room."""
        users = self.users(10)
        self.factory.close(DRAINING)
        for peer in users:
            self.assertEqual(peer.received, b"* The server is restarting.\n")
            peer.write_eof()
        self.assertEmpty()

    def test_closing_twice(self) -> None:
        """Only the first reason for closing is sent."""
        (ann,) = self.users(1)
        ann.protocol.close(DRAINING)
        ann.protocol.close(CLOSED)
        self.assertEqual(ann.received, b"* The server is restarting.\n")

    def test_closing_during_the_handshake(self) -> None:
        """A client that is closed during the TLS handshake never joins."""
        (ann,) = self.users(1)
        bob = connect_tls_peer(self.factory)
        bob.protocol.close(DRAINING)
        bob.protocol.handshakeCompleted()
        bob.advance(1)
        self.assertEqual((ann.received, bob.received), (b"", b""))
        self.assertEqual(len(self.factory.registry.rooms["lobby"].users), 1)

    def test_two_chats_know_nothing_of_each_other(self) -> None:
        """Two chat servers in a process are independent; both count guests from 1."""
        other = ChatFactory(clock=self.clock)
        ann, bob = connect_peer(self.factory), connect_peer(other)
        self.clock.advance(GREETING_DELAY)
        self.assertIn(b"guest-1 ", ann.received)
        self.assertIn(b"guest-1 ", bob.received)
        bob.take()
        ann.send(b"hello\n")
        self.assertEqual(bob.received, b"")
