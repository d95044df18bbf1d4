"""Tests of :mod:`twisted_net.chat.foreign`, and of what the chat does with such peers."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.chat.chat_peers import ChatCase
from twisted_net.chat.foreign import WHAT_THIS_IS, recognise
from twisted_net.chat.greeting import GREETING_DELAY
from twisted_net.chat.protocol import MAX_MESSAGE
from twisted_net.testing import connect_peer

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 40
"""The beginning of a TLS ClientHello, with bytes that telnet would answer."""

FORM = (
    b" HTTP/1.1\r\nHost: chat.example:6667\r\nCookie: secret=1\r\nContent-Type: text/plain\r\n\r\n"
    b"x=\r\n/nick forged\r\nhello from a web page\r\n"
)


class RecogniseTests(SynchronousTestCase):
    def protocol(self, line: bytes, whole: bool = True) -> str:
        """Return the protocol of a line; an empty text for the chat."""
        found = recognise(line, whole)
        return "" if found is None else found.protocol

    def test_foreign(self) -> None:
        """A first line of another protocol is recognised."""
        for line, protocol in (
            (b"GET / HTTP/1.1", "HTTP"),
            (b"POST /a?b=c HTTP/1.0", "HTTP"),
            (b"BREW /pot HTTP/1.1", "HTTP"),
            (b"M-SEARCH * HTTP/1.1", "HTTP"),
            (b"GET http://a.example/ HTTP/1.1", "HTTP"),
            (b"CONNECT a.example:443 HTTP/1.1", "HTTP"),
            (b"PRI * HTTP/2.0", "HTTP"),
            (b"GET /", "HTTP"),
            (b"OPTIONS rtsp://a.example/ RTSP/1.0", "RTSP"),
            (b"OPTIONS sip:nm SIP/2.0", "SIP"),
            (b"SSH-2.0-OpenSSH_9.9", "SSH"),
            (b"EHLO mail.example", "SMTP"),
            (b"HELO [192.0.2.1]", "SMTP"),
            (b"CAP LS 302", "IRC"),
            (b"PASS secret", "IRC"),
            (b"NICK ann", "IRC"),
            (b"USER ann 0 * :Ann Example", "IRC"),
            (HELLO, "TLS"),
        ):
            self.assertEqual(self.protocol(line), protocol, line)

    def test_chat(self) -> None:
        """What a user of the chat may say first is not taken for another protocol."""
        for line in (
            b"hello", b"{}", b"/nick ann", b"GET it?", b"POST office / HTTP", b"I like HTTP/2",
            b"GET /etc/motd and read it", b"nick ann", b"PASS me the salt", b"NICK is here",
            b"HELO there, all", b"CAP is lost", b"USER friendly", b"SSH is better", b"\x16", b"",
        ):  # fmt: skip
            self.assertEqual(self.protocol(line), "", line)

    def test_the_beginning_of_a_line(self) -> None:
        """A request over the limit is recognised by its beginning."""
        for line in (b"POST /aaaa", b"GET / HT", b"GET http://aaaa"):
            self.assertEqual(self.protocol(line, False), "HTTP")
        self.assertEqual(self.protocol(b"hello, all of you", False), "")


class TurnAwayTests(ChatCase):
    def answers(self, sent: bytes, **settings: Any) -> bytes:
        """Return what a peer gets for its first bytes, while ``ann`` must hear nothing of it."""
        self.factory = self.make(**settings)
        ann = self.user("ann")
        self.pass_presence(ann)
        for size in (len(sent), 1 if len(sent) < 1000 else 1000):
            peer = connect_peer(self.factory)
            if size == 1:  # it was greeted, but not announced
                self.clock.advance(GREETING_DELAY)
            peer.take()
            for at in range(0, len(sent), size):
                peer.send(sent[at : at + size])
            self.clock.advance(1)
            self.assertEqual(ann.take(), b"")
            self.assertEqual(len(self.factory.registry), 1)
            self.assertEqual(peer.protocol.reason.code, "bad-input")
        return peer.take()

    def test_a_form_of_a_web_page(self) -> None:
        """Nothing of a browser's form is said or obeyed; the browser gets a status."""
        answer = self.answers(b"POST /" + FORM)
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.assertEqual(lines[0], b"HTTP/1.1 405 Method Not Allowed")
        self.assertIn(b"Allow: GET, HEAD", lines)
        self.assertIn(b"Content-Length: %d" % len(body), lines)
        self.assertEqual(body, f"{WHAT_THIS_IS}\n".encode())

    def test_a_form_with_a_long_target(self) -> None:
        """A request line over the limit does not hide that the rest is a request, too."""
        for size in (MAX_MESSAGE, 3 * MAX_MESSAGE):
            answer = self.answers(b"POST /" + b"a" * size + FORM)
            self.assertTrue(answer.startswith(b"HTTP/1.1 405 "))

    def test_empty_lines_before(self) -> None:
        """Empty lines before the request change nothing, as in HTTP (RFC 9112, 2.2)."""
        self.assertIn(b"HTTP/1.1 405 ", self.answers(b"\r\n\nPOST /" + FORM))

    def test_other_requests(self) -> None:
        """GET, HEAD and the preface of HTTP/2 get 400; the answer to HEAD has no body."""
        self.assertTrue(self.answers(b"GET /" + FORM).startswith(b"HTTP/1.1 400 Bad Request\r\n"))
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        self.assertTrue(self.answers(preface).startswith(b"HTTP/1.1 400 Bad Request\r\n"))
        self.assertTrue(self.answers(b"HEAD /" + FORM).endswith(b"\r\n\r\n"))

    def test_other_protocols(self) -> None:
        """Peers of other protocols get one line, and nothing else."""
        line = f"! {WHAT_THIS_IS}\n".encode()
        for sent in (
            b"SSH-2.0-x\r\n",
            b"EHLO a\r\nMAIL FROM:<a>\r\n",
            b"PASS secret\r\nNICK a\r\n",
        ):
            self.assertEqual(self.answers(sent), line)

    def test_tls_on_the_plain_port(self) -> None:
        """A ClientHello is answered at once, with or without a line feed, and not by telnet."""
        self.factory = self.make()
        for sent in (HELLO, HELLO + b"\n/nick forged\n"):
            peer = connect_peer(self.factory)
            peer.take()
            peer.send(sent)
            self.assertEqual(peer.take(), f"! {WHAT_THIS_IS}\n".encode())
            self.assertEqual(peer.protocol.reason.code, "bad-input")

    def test_nobody_without_an_account(self) -> None:
        """It is the same where people have to log in."""
        self.factory = self.make(anonymous=False)
        peer = connect_peer(self.factory)
        peer.take()
        peer.send(b"POST /" + FORM)
        self.assertTrue(peer.take().startswith(b"HTTP/1.1 405 "))
        self.assertEqual(peer.protocol.reason.code, "bad-input")

    def test_later_lines_are_the_chat(self) -> None:
        """After the first line, such lines are messages."""
        ann, bob = self.user("ann"), self.user("bob")
        self.pass_presence(ann, bob)
        bob.send(b"GET / HTTP/1.1\n" + HELLO[:2] + b"\n")
        self.assertEqual(ann.take(), b"<bob> GET / HTTP/1.1\n")
