"""Who may open a WebSocket, and what is agreed."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.web.upgrade import OpeningAnswer, answer_upgrade, is_upgrade

USUAL = (
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)


def head(*fields: str, target: str = "/ws?a=b") -> bytes:
    """Return the head of a request with the fields of an opening request and these."""
    lines = [f"GET {target} HTTP/1.1", *USUAL, *fields, "", ""]
    return "\r\n".join(lines).encode()


def answer(*fields: str, **settings: Any) -> OpeningAnswer:
    return answer_upgrade(head(*fields), **settings)


class AnswerTests(SynchronousTestCase):
    def status(self, made: OpeningAnswer) -> int:
        self.assertEqual(made.why == "", made.request is not None)
        return int(made.data.split()[1])

    def test_open(self) -> None:
        """The example of RFC 6455, 1.2; the request is there for the program."""
        made = answer("Host: chat.example")
        self.assertEqual(self.status(made), 101)
        self.assertIn(b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", made.data)
        assert made.request is not None
        self.assertEqual(made.request.target, "/ws?a=b")
        self.assertEqual(made.request.headers.get("hOST"), "chat.example")

    def test_what_is_no_opening_request(self) -> None:
        for data, status in (
            (head("Host: x").replace(b"Connection: keep-alive, Upgrade\r\n", b""), 426),
            (head("Host: x").replace(b"Version: 13", b"Version: 8"), 400),
            (head("Host: x").replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), 400),
            (head("Host: x", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400),
            (b"GET / HTTP/1.1\r\nno field\r\n\r\n", 400),
            (b"GET /\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: x", 400),
        ):
            self.assertEqual(self.status(answer_upgrade(data)), status, data)

    def test_subprotocols(self) -> None:
        """The server's best that is offered; nothing if none is."""
        ours = ["netchat.v2", "netchat.v1"]
        for offer, chosen in (
            ("netchat.v1", "netchat.v1"),
            ("netchat.v1, netchat.v2", "netchat.v2"),
            ("other", ""),
        ):
            made = answer("Host: x", f"Sec-WebSocket-Protocol: {offer}", subprotocols=ours)
            self.assertEqual((self.status(made), made.subprotocol), (101, chosen))
            self.assertEqual(b"Sec-WebSocket-Protocol" in made.data, bool(chosen))
        self.assertEqual(self.status(answer("Host: x", subprotocols=ours)), 101)

    def test_compression(self) -> None:
        """It is agreed without context, so that one frame can serve many."""
        for offer, bits in (
            ("permessage-deflate", 12),
            ("permessage-deflate; client_max_window_bits", 12),
            ("permessage-deflate; server_max_window_bits=15", 12),
            ("permessage-deflate; server_max_window_bits=12", 12),
            ("permessage-deflate; server_max_window_bits=9", 9),
            ("permessage-deflate; server_max_window_bits=8", 0),  # zlib cannot
            ("x-webkit-deflate-frame", 0),
        ):
            made = answer("Host: x", f"Sec-WebSocket-Extensions: {offer}")
            self.assertEqual((self.status(made), made.window_bits), (101, bits), offer)
            self.assertEqual(b"Sec-WebSocket-Extensions" in made.data, bits > 0)
            if bits:
                self.assertIn(b"server_no_context_takeover; client_no_context_takeover", made.data)

    def test_pages(self) -> None:
        """A page of this server may connect, or one that is named; no other."""
        for host, origin, settings, status in (
            ("chat.example", "http://chat.example", {}, 101),
            ("chat.example:8080", "http://chat.example:8080", {}, 101),
            ("chat.example", "https://chat.example", {}, 101),  # a proxy took TLS off
            ("chat.example", "https://chat.example:443", {}, 101),
            ("[::1]:80", "http://[::1]", {}, 101),
            ("chat.example", "https://chat.example", {"secure": True}, 101),
            ("chat.example", "http://chat.example", {"secure": True}, 403),
            ("chat.example:8080", "http://chat.example", {}, 403),
            ("chat.example", "http://chat.example:8080", {}, 403),
            ("chat.example", "http://evil.example", {}, 403),
            ("chat.example", "http://chat.example.evil.example", {}, 403),
            ("chat.example", "null", {}, 403),
            ("chat.example", "file://", {}, 403),
            ("chat.example", "https://other.example", {"origins": ["https://other.example"]}, 101),
            ("chat.example", "http://other.example", {"origins": ["https://other.example"]}, 403),
            ("chat.example", "http://evil.example", {"origins": None}, 101),
        ):
            made = answer(f"Host: {host}", f"Origin: {origin}", **settings)
            self.assertEqual(self.status(made), status, (host, origin, settings))

    def test_one_host_and_one_origin(self) -> None:
        for fields in (
            (),
            ("Host: a", "Host: b"),
            ("Host:",),
            ("Host: a/b",),
            ("Host: a@b",),
            ("Host: a:port",),
            ("Host: a", "Origin: http://a", "Origin: http://a"),
        ):
            self.assertEqual(self.status(answer(*fields)), 403, fields)

    def test_rebinding(self) -> None:
        """On loopback, a page that got here through a name of its own is refused."""
        for host, status in (
            ("localhost:8080", 101),
            ("LOCALHOST:8080", 101),
            ("chat.localhost", 101),
            ("127.0.0.1:8080", 101),
            ("127.9.9.9", 101),
            ("[::1]:8080", 101),
            ("rebound.example:8080", 403),
            ("localhost.example", 403),
            ("192.0.2.1", 403),
        ):
            origin = f"Origin: http://{host}"
            self.assertEqual(
                self.status(answer(f"Host: {host}", origin, on_loopback=True)), status, host
            )
            self.assertEqual(self.status(answer(f"Host: {host}", origin)), 101, host)

    def test_a_proxy_on_loopback(self) -> None:
        """Behind a proxy on this machine, the hosts of the named pages are asked for."""
        named = {"on_loopback": True, "origins": ["https://chat.example", "https://b.example:444"]}
        for host, page, status in (
            ("chat.example", "https://chat.example", 101),
            ("CHAT.example:8080", "https://chat.example", 101),
            ("b.example", "https://b.example:444", 101),
            ("localhost", "https://chat.example", 101),
            ("chat.example", "https://evil.example", 403),
            ("evil.example", "https://chat.example", 403),
            ("evil.example", "https://evil.example", 403),
            ("x.chat.example", "https://x.chat.example", 403),
        ):
            found = answer(f"Host: {host}", f"Origin: {page}", **named)
            self.assertEqual(self.status(found), status, (host, page))


class IsUpgradeTests(SynchronousTestCase):
    def test_it(self) -> None:
        self.assertTrue(is_upgrade(head("Host: x")))
        self.assertTrue(is_upgrade(b"GET / HTTP/1.1\r\nUPGRADE:h2c,WebSocket\r\n\r\n"))
        for other in (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /upgrade:websocket HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nX: websocket\r\n\r\n",
            b"POST / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
        ):
            self.assertFalse(is_upgrade(other), other)
