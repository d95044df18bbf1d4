"""The chat on the wire: :mod:`twisted_net.chat.protocol`."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.chat.moderation import NAMED_AT_MOST
from twisted_net.chat.protocol import MAX_MESSAGE, PRESENCE_DELAY, ChatFactory
from twisted_net.policy.close_reasons import CLOSED, DRAINING
from twisted_net.testing import Peer, connect_peer, connect_tls_peer, same_for_every_split
from twisted_net.wire.text import printable


class ChatCase(SynchronousTestCase):
    """A chat with a clock; its people are far ends of connections in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = ChatFactory(clock=self.clock)

    def newcomer(self) -> Peer:
        """Somebody who has just connected and read the welcome."""
        peer = connect_peer(self.factory)
        peer.take()
        return peer

    def users(self, count: int) -> list[Peer]:
        """So many people, whose arrivals are old news."""
        peers = [self.newcomer() for _ in range(count)]
        self.clock.advance(PRESENCE_DELAY)
        for peer in peers:
            peer.take()
        return peers

    def assertEmpty(self) -> None:
        """Nobody is there, and nothing is left of anybody."""
        self.clock.advance(0)
        registry = self.factory.registry
        self.assertEqual((len(self.factory), len(registry), registry.rooms), (0, 0, {}))
        self.assertEqual(
            (registry._sessions, registry.by_origin, registry.ignorers_of), ({}, {}, {})
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])


class PresenceTests(ChatCase):
    def test_the_welcome(self) -> None:
        """Word for word; the next guest has the next number."""
        for number in (1, 2):
            text = f"Welcome to the chat server! You are guest-{number} in #lobby. "
            expected = text.encode() + b"/help lists commands.\n"
            self.assertEqual(connect_peer(self.factory).received, expected)

    def test_an_arrival_is_told_after_a_moment(self) -> None:
        """To the others."""
        (ann,) = self.users(1)
        bob = self.newcomer()
        bob.advance(PRESENCE_DELAY - 0.01)
        self.assertEqual(ann.received, b"")
        bob.advance(0.02)
        self.assertEqual((ann.received, bob.received), (b"* guest-2 joined #lobby.\n", b""))

    def test_an_arrival_is_told_before_the_first_words(self) -> None:
        """And not again after the moment."""
        (ann,) = self.users(1)
        bob = self.newcomer()
        bob.send(b"hello\n")
        self.assertEqual(ann.take(), b"* guest-2 joined #lobby.\n<guest-2> hello\n")
        bob.advance(1)
        self.assertEqual((ann.received, bob.received), (b"", b""))

    def test_a_departure_is_told_after_a_moment(self) -> None:
        """However it came about."""
        for end in (Peer.write_eof, Peer.reset, lambda peer: peer.send(b"/quit\n")):
            ann, bob = self.users(2)
            name = bob.protocol.name
            end(bob)
            self.assertEqual(ann.take(), b"")
            ann.advance(PRESENCE_DELAY)
            self.assertEqual(ann.received, f"* {name} left #lobby.\n".encode())

    def test_connecting_and_closing_leaves_nothing(self) -> None:
        """But a line for debugging."""
        (ann,) = self.users(1)
        with capturedLogs() as events:
            for end in (Peer.write_eof, Peer.reset):
                end(self.newcomer())
            ann.advance(1)
        self.assertEqual([e for e in events if e["log_level"] > LogLevel.debug], [])
        self.assertEqual((ann.received, len(self.factory)), (b"", 1))

    def test_one_that_comes_just_before_others_are_told(self) -> None:
        """Has its moment all the same: if it goes within it, it was never there."""
        (ann,) = self.users(1)
        self.newcomer()
        ann.advance(PRESENCE_DELAY - 0.05)
        check = self.newcomer()
        ann.advance(0.1)
        self.assertEqual(ann.take(), b"* guest-2 joined #lobby.\n")
        check.write_eof()
        late = self.newcomer()
        ann.advance(2 * PRESENCE_DELAY)
        self.assertEqual((ann.received, late.connected), (b"* guest-4 joined #lobby.\n", True))

    def test_many_at_once_are_one_line(self) -> None:
        """In both directions."""
        (ann,) = self.users(1)
        crowd = [self.newcomer() for _ in range(100)]
        ann.advance(1)
        self.assertEqual(ann.take(), b"* 100 people joined #lobby.\n")
        for each in crowd:
            each.write_eof()
        ann.advance(1)
        self.assertEqual(ann.take(), b"* 100 people left #lobby.\n")

    def test_a_few_are_told_by_name(self) -> None:
        """One more is counted; those who come and those who go each for themselves."""
        (ann,) = self.users(1)
        few = [self.newcomer() for _ in range(NAMED_AT_MOST)]
        ann.advance(1)
        come = [f"* guest-{number} joined #lobby." for number in range(2, NAMED_AT_MOST + 2)]
        self.assertEqual(ann.take().decode().splitlines(), come)
        for _ in range(NAMED_AT_MOST + 1):
            self.newcomer()
        for peer in few:
            peer.write_eof()
        ann.advance(1)
        told = [line.replace("joined", "left") for line in come]
        told.append(f"* {NAMED_AT_MOST + 1} people joined #lobby.")
        self.assertEqual(ann.take().decode().splitlines(), told)

    def test_the_last_one_leaves_nothing(self) -> None:
        """No timer, no name, no member; also where somebody has only just come."""
        users = [*self.users(2), self.newcomer()]
        for peer in users:
            peer.write_eof()
        self.assertEmpty()

    def test_over_tls_somebody_is_there_after_the_handshake(self) -> None:
        """A client that never finishes it was never there."""
        (ann,) = self.users(1)
        bob, eve = connect_tls_peer(self.factory), connect_tls_peer(self.factory)
        bob.handshake()
        eve.reset()
        ann.advance(1)
        self.assertEqual(ann.received, b"* guest-2 joined #lobby.\n")

    def test_a_name_that_is_taken_over(self) -> None:
        """Its former bearer has left before somebody else has it."""
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
        """And not back."""
        ann, bob, eve = self.users(3)
        ann.send(b"hello\r\n")
        heard = (ann.received, bob.received, eve.received)
        self.assertEqual(heard, (b"", b"<guest-1> hello\n", b"<guest-1> hello\n"))

    def test_lines_in_any_pieces(self) -> None:
        """Make no difference."""

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
        """All hear the same in the same order, but for their own lines."""
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
        """Nobody is bothered."""
        ann, bob = self.users(2)
        ann.send(b"\n\r\n \n\t\n\x1b[31m\n\x00\n")
        self.assertEqual((ann.received, bob.received), (b"", b""))

    def test_a_line_that_is_too_long(self) -> None:
        """Is one error, as soon as it is too long; what follows it is heard."""
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
        """The limit itself is allowed."""
        ann, bob = self.users(2)
        ann.send(b"x" * MAX_MESSAGE + b"\r\n")
        self.assertEqual(
            (ann.received, len(bob.received)), (b"", len(b"<guest-1> \n") + MAX_MESSAGE)
        )

    def test_a_line_that_is_not_utf_8(self) -> None:
        """Is one error, is not sent, and ends nothing; surrogates and overlong forms too."""
        ann, bob = self.users(2)
        for line in (b"a\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xe2\x82"):
            ann.send(line + b"\n")
            answer = ann.take()
            self.assertTrue(answer.startswith(b"! Your line was not sent: not UTF-8"))
            self.assertEqual(answer.count(b"\n"), 1)
        ann.send("é\n".encode())
        self.assertEqual(bob.received, "<guest-1> é\n".encode())

    def test_nothing_reaches_another_terminal(self) -> None:
        """Neither in words, nor in names, private lines or the complaint about a command."""
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
        """As a line each: nothing fails, nothing but lines comes of it."""
        ann, bob = self.users(2)
        for start in (b"", b"/", b"/nick ", b"/msg guest-2 ", b"\xff\xfb"):
            for byte in range(256):
                ann.send(start + bytes([byte]) + b"\n")
        self.assertTrue(ann.connected)
        text = re.sub(rb"\xff\xfe.", b"", ann.received, flags=re.DOTALL)  # telnet's refusals
        for line in text.decode().splitlines() + bob.received.decode().splitlines():
            self.assertEqual(printable(line), line)

    def test_the_last_words_of_one_who_leaves(self) -> None:
        """Are heard, and before its departure."""
        ann, bob = self.users(2)
        ann.send(b"bye\n/quit\nnever said\n")
        bob.advance(1)
        self.assertEqual(bob.received, b"<guest-1> bye\n* guest-1 left #lobby.\n")
        self.assertEqual(ann.received, b"* Goodbye.\n", "its own words do not come back")

    def test_a_line_without_its_end(self) -> None:
        """Was not said."""
        ann, bob = self.users(2)
        ann.send(b"half")
        ann.write_eof()
        bob.advance(1)
        self.assertEqual(bob.received, b"* guest-1 left #lobby.\n")


class CommandTests(ChatCase):
    def test_each(self) -> None:
        """What its caller hears, and what another one does."""
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
        """Notices, to the caller alone."""
        ann, bob = self.users(2)
        ann.send(b"/help\n")
        self.assertEqual(bob.received, b"")
        lines = ann.received.splitlines()
        self.assertEqual((len(lines), {line[:3] for line in lines}), (15, {b"* /"}))

    def test_quit(self) -> None:
        """A goodbye; then the connection ends, and the name is free."""
        ann, bob = self.users(2)
        ann.send(b"/nick ann\n/quit\n")
        self.assertTrue(ann.received.endswith(b"* Goodbye.\n"))
        self.assertTrue(ann.finished)
        ann.write_eof()
        self.assertEqual((ann.connected, ann.protocol.reason.code), (False, "quit"))
        bob.send(b"/nick ann\n")
        self.assertIn(b"* You are ann now.\n", bob.received)

    def test_a_newcomer_takes_a_name(self) -> None:
        """The others hear of its arrival alone, under the new name."""
        (ann,) = self.users(1)
        bob = self.newcomer()
        bob.send(b"/nick bob\n")
        ann.advance(1)
        self.assertEqual(ann.received, b"* bob joined #lobby.\n")

    def test_who_takes_many_names_and_goes(self) -> None:
        """Nothing is left of any of them."""
        (ann,) = self.users(1)
        for number in range(50):
            ann.send(b"/nick n%d\n" % number)
        ann.write_eof()
        self.assertEmpty()


class SlowTests(ChatCase):
    """Somebody who does not read."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = ChatFactory(clock=self.clock, queue_limit=200)

    def test_is_closed_and_disturbs_nobody(self) -> None:
        """The others hear every line, and that it has left."""
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
        """Until its queue is full."""
        slow, bob = self.users(2)
        slow.full()
        bob.send(b"hello\n")
        slow.send(b"I can speak\n")
        self.assertEqual(bob.received, b"<guest-1> I can speak\n")

    def test_all_are_slow(self) -> None:
        """Everybody's end happens within one flush, and leaves an empty room."""
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
        """In the middle of ``/help``, ``/who``, ``/nick`` or ``/msg`` to itself."""
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
        """Its last words do not fit: it is closed all the same, once."""
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
        """Whoever sends them is not disturbed."""
        ann, slow = self.users(2)
        slow.full()
        for _ in range(20):
            ann.send(b"/msg guest-2 hello hello\n")
        self.assertEqual(slow.protocol.reason.code, "slow")
        self.assertEqual(ann.received.count(b"! There is nobody called guest-2 here.\n"), 13)
        self.assertTrue(ann.connected)


class EndTests(ChatCase):
    def test_the_reason_is_told(self) -> None:
        """As a notice, after what was said before; the others hear of the departure."""
        ann, bob = self.users(2)
        ann.protocol.dataReceived(b"last\n")
        bob.protocol.close(DRAINING)
        self.assertEqual(bob.received, b"<guest-1> last\n* The server is restarting.\n")

    def test_its_own_words(self) -> None:
        """Do not come back to it, although they are told as it goes."""
        ann, bob = self.users(2)
        ann.protocol.dataReceived(b"last\n")
        ann.protocol.close(DRAINING)
        self.assertEqual(ann.received, b"* The server is restarting.\n")
        bob.turn()
        self.assertEqual(bob.received, b"<guest-1> last\n")

    def test_words_after_the_goodbye_are_not_said(self) -> None:
        """Nor is anything said to one who is leaving."""
        ann, bob = self.users(2)
        ann.protocol.close(DRAINING)
        ann.take()
        ann.send(b"one more thing\n")
        bob.send(b"hello?\n")
        self.assertEqual((ann.received, bob.received), (b"", b""))

    def test_closing_everybody(self) -> None:
        """Leaves an empty room."""
        users = self.users(10)
        self.factory.close(DRAINING)
        for peer in users:
            self.assertEqual(peer.received, b"* The server is restarting.\n")
            peer.write_eof()
        self.assertEmpty()

    def test_closing_twice(self) -> None:
        """The first reason is told, and no other."""
        (ann,) = self.users(1)
        ann.protocol.close(DRAINING)
        ann.protocol.close(CLOSED)
        self.assertEqual(ann.received, b"* The server is restarting.\n")

    def test_closing_during_the_handshake(self) -> None:
        """Whoever is not there yet never comes."""
        (ann,) = self.users(1)
        bob = connect_tls_peer(self.factory)
        bob.protocol.close(DRAINING)
        bob.protocol.handshakeCompleted()
        bob.advance(1)
        self.assertEqual((ann.received, bob.received), (b"", b""))
        self.assertEqual(len(self.factory.registry.rooms["lobby"].users), 1)

    def test_two_chats_know_nothing_of_each_other(self) -> None:
        """Each has its own guests from 1."""
        other = ChatFactory(clock=self.clock)
        ann, bob = connect_peer(self.factory), connect_peer(other)
        self.assertIn(b"guest-1 ", bob.received)
        bob.take()
        ann.send(b"hello\n")
        self.assertEqual(bob.received, b"")
