"""No request of a stranger makes a line in the log, however wrong it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs, formatEvent

from tests.web.admin.operating import LOOPBACK, AdminCase, Answer, request_bytes
from tests.web.test_gateway import GatewayCase
from twisted_net.testing import connect_peer
from twisted_net.web.pages import page_site

LINES = (
    "GET / HTTP/1.1",
    "HEAD / HTTP/1.1",
    "HEAD /nothing HTTP/1.1",
    "HEAD /healthz HTTP/1.1",
    "HEAD * HTTP/1.1",
    "POST / HTTP/1.1",
    "POST /\xff HTTP/1.1",
    "PUT /\xff HTTP/1.1",
    "CONNECT \xff:1 HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "GET /%zz%ff\xff%00?a=%zz&&=;%ff HTTP/1.1",
    "GET /connections?limit=\xff&after=%ff&sort=%00&service=%f0 HTTP/1.1",
    "GET http://[/ HTTP/1.1",
    "GET / HTTP/1.0",
)
FIELDS = (
    "Host: x\r\nHost: y",
    "Host: [::1",
    "Host: \xff:99999999",
    "If-Modified-Since: rubbish",
    'If-None-Match: \xff"',
    "Range: bytes=x",
    "Cookie: ;=;\xff",
    "Authorization: Basic \xff",
    "Authorization: Bearer \xff",
    "no colon",
    "a b: c",
    "x: \0",
    " x: y",
    "Origin: http://[\xff",
    "Expect: \xff",
    "Content-Length: -1",
    "Content-Length: \xb2",
    "Content-Length: " + "1" * 5000,
    "Content-Length: 1\r\nContent-Length: 2",
    "Content-Length: " + "1" * 5000 + "\r\nx: y",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: chunked\r\nContent-Length: 3",
    "Transfer-Encoding: chunked\r\n\r\nxx",
)
FORMS = (
    ("multipart/form-data", ""),
    ('multipart/form-data; boundary="\xff', "--\r\n"),
    ('=?utf-8?q?=ff?=;;;;"', "x"),
    (
        "multipart/form-data; boundary=x",
        "--x\r\nContent-Disposition: form-data; name*=y''%ff\r\n\r\nz\r\n--x--",
    ),
    (
        "multipart/form-data; boundary=x",
        "--x\r\nContent-Type: multipart/mixed; boundary=y\r\n"
        "Content-Disposition: form-data; name=a\r\n\r\n--y\r\n\r\n--y--\r\n--x--",
    ),
)


def requests() -> Iterator[bytes]:
    """Give requests of all kinds."""
    for line in LINES:
        yield f"{line}\r\nHost: localhost\r\n\r\n".encode("latin-1")
    for field in FIELDS:
        yield f"GET / HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n".encode("latin-1")
    for kind, body in FORMS:
        head = f"Host: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
        yield f"POST /drain HTTP/1.1\r\n{head}\r\n\r\n{body}".encode("latin-1")


class QuietCase:
    @contextmanager
    def quiet(self: Any, what: bytes = b"") -> Iterator[None]:
        """Check that nothing is logged, but the end of a connection whose request is none."""
        with capturedLogs() as logs:
            yield
        told = [formatEvent(each) for each in logs if each["log_level"] >= LogLevel.info]
        told = [line for line in told if line is None or " ended: bad-input (" not in line]
        self.assertEqual(told, [], what[:80])


class PageTests(GatewayCase, QuietCase):
    def test_requests(self) -> None:
        """On loopback and elsewhere; each is answered."""
        for host in ("127.0.0.1", "192.0.2.1"):
            for request in requests():
                peer = connect_peer(self.factory, host=IPv4Address("TCP", host, 8080))
                peer.send(b"GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.clock.advance(0)
                peer.take()
                with self.quiet(request):
                    peer.send(request)
                    self.clock.advance(0)
                    self.assertIn(b"HTTP/1.", peer.take(), request[:80])
                    peer.write_eof()
                    self.clock.advance(0)

    def test_head(self) -> None:
        """It has the fields of GET, the length of the body among them, and no body."""
        for request in (b" / HTTP/1.1\r\n", b" /x HTTP/1.1\r\n", b" / HTTP/1.1\r\nHost: evil\r\n"):
            for more in (b"", b"If-None-Match: *\r\n"):
                found = []
                for method in (b"GET", b"HEAD"):
                    peer = connect_peer(self.factory, host=IPv4Address("TCP", "127.0.0.1", 8080))
                    peer.send(method + request + b"Host: localhost\r\n" * (b"Host" not in request))
                    peer.send(more + b"\r\n")
                    self.clock.advance(0)
                    found.append(Answer(peer.take()))
                    peer.protocol.abort()
                get, head = found
                self.assertEqual((head.status, head.body), (get.status, b""))
                for name in ("content-type", "content-length", "etag", "allow"):
                    if (get.status, name) != (304, "content-length"):  # 304 has no length
                        self.assertEqual(head.headers.get(name), get.headers.get(name), name)

    def test_timeouts(self) -> None:
        """Who says nothing, or not all of it, is closed; without a guard, and with one."""
        page = b"GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for half in (b"", b"GET / HTTP/1.1\r\n"):
            for factory in (page_site(self.clock), self.factory):
                peer = connect_peer(factory, clock=self.clock)
                peer.send(page)
                self.clock.advance(0)
                with self.quiet():
                    peer.send(half)
                    self.clock.pump([1] * 120)
                self.assertFalse(peer.connected)

    def test_who_does_not_read(self) -> None:
        """Without a guard, the site aborts it; but not after it has ended."""
        for ends in (False, True):
            channel: Any = page_site(self.clock).buildProtocol(None)
            transport = StringTransport()
            channel.makeConnection(transport)
            with self.quiet():
                channel.dataReceived(b"GET /")
                self.clock.advance(61)
                self.assertTrue(transport.value().startswith(b"HTTP/1.1 408 "))
                self.assertEqual((transport.disconnecting, transport.disconnected), (True, False))
                if ends:
                    channel.connectionLost()
                self.clock.advance(16)
                self.assertEqual(transport.disconnected, not ends)


class AdminTests(AdminCase, QuietCase):
    def test_requests(self) -> None:
        self.watch_chat()
        for request in requests():
            peer = connect_peer(self.site, clock=self.clock, host=LOOPBACK)
            with self.quiet(request):
                peer.send(request)
                self.clock.advance(0)
                self.assertIn(b"HTTP/1.", peer.take(), request[:80])
                peer.write_eof()

    def test_large_lengths(self) -> None:
        """A length of any number of digits is too large."""
        self.watch_chat()
        for digits in (6, 4299, 4301, 8000):
            peer = self.open(request_bytes("/bans", "POST", Content_Length="9" * digits))
            self.assertTrue(peer.received.startswith(b"HTTP/1.1 413 "))
            self.assertTrue(peer.finished)
