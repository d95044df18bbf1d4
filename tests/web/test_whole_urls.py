"""Requests for a whole URL, of which a server has to accept any (RFC 9112, 3.2.2)."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from tests.web.admin.operating import AdminCase
from tests.web.sockets import WebSocketPeer, opening
from tests.web.test_gateway import GatewayCase
from twisted_net.testing import Peer, connect_peer
from twisted_net.web.request_head import find_line_fault, split_target

LOCAL = IPv4Address("TCP", "127.0.0.1", 8080)


class PageTests(GatewayCase):
    def ask(self, line: str, *hosts: str) -> Peer:
        """Ask on loopback, on a connection that has had a page."""
        peer = connect_peer(self.factory, host=LOCAL)
        peer.send(b"GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.clock.advance(0)
        self.assertIn(b" 200 ", peer.take())
        fields = "".join(f"Host: {host}\r\n" for host in hosts)
        peer.send(f"{line} HTTP/1.1\r\n{fields}\r\n".encode())
        self.clock.advance(0)
        return peer

    def test_the_page(self) -> None:
        """The path is looked for, with the host of the URL, on a first and on a later request."""
        for line, status in (
            ("GET http://localhost:8080/", 200),
            ("GET http://localhost", 200),
            ("GET http://localhost?x=y", 200),
            ("GET HTTPS://LOCALHOST:8080/page.css?x", 200),
            ("HEAD http://127.0.0.1/main.js", 200),
            ("GET http://a.example/", 200),  # a proxy on this machine
            ("GET http://localhost/nothing", 404),
            ("GET http://localhost//main.js", 404),
            ("GET http://evil.example/", 403),
            ("GET http://evil.example", 403),
            ("GET http://localhost.evil.example/main.js", 403),
            ("GET http://localhost@evil.example/", 400),
            ("GET http://evil.example@localhost/", 400),
            ("GET http:///", 400),
            ("GET ftp://localhost/", 400),
            ("GET xmain.js", 400),
            ("GET *", 400),
            ("POST http://localhost/", 405),
        ):
            peer = self.ask(line, "localhost")
            self.assertEqual(int(peer.take().split()[1]), status, line)
            first = connect_peer(self.factory, host=LOCAL)
            if line.split()[1][:5].lower() in ("http:", "https"):
                first.send(f"{line} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                self.clock.advance(0)
                self.assertEqual(int(first.take().split()[1]), status, line)

    def test_hosts(self) -> None:
        """What ``Host`` says is ignored; but there may be only one."""
        for hosts, status in (
            (("evil.example",), 200),
            ((), 200),
            (("localhost", "localhost"), 400),
            (("evil.example", "localhost"), 400),
        ):
            peer = self.ask("GET http://localhost/", *hosts)
            self.assertEqual(int(peer.take().split()[1]), status, hosts)
        for hosts in (("evil.example", "localhost"), ("localhost", "evil.example")):
            self.assertEqual(int(self.ask("GET /", *hosts).take().split()[1]), 400)

    def test_web_sockets(self) -> None:
        """The host of the URL decides, by its name and for the page that asks."""
        for url, host, page, status in (
            ("http://localhost/ws", "localhost", "http://localhost", 101),
            ("http://localhost/ws", "evil.example", "http://localhost", 101),
            ("HTTP://localhost/ws?x", "localhost", "http://localhost", 101),
            ("http://evil.example/ws", "localhost", "http://localhost", 403),
            ("http://evil.example/ws", "evil.example", "http://evil.example", 403),
            ("http://localhost/ws", "evil.example", "http://evil.example", 403),
        ):
            request = opening(url, f"Origin: {page}", host=host)
            client = WebSocketPeer(connect_peer(self.factory, host=LOCAL), request)
            self.assertEqual(client.status, status, (url, host, page))
            if status == 101:
                self.assertTrue(client.peer.protocol.target.startswith("/ws"))

    def test_several_hosts_of_web_sockets(self) -> None:
        request = opening("http://localhost/ws", "Host: localhost", host="localhost")
        client = WebSocketPeer(connect_peer(self.factory, host=LOCAL), request)
        self.assertEqual(client.status, 403)

    def test_nothing_is_said(self) -> None:
        """Schemes have any case: on the chat's port, such a line is no message."""
        ann = self.user("ann")
        self.ask("GET HTTP://localhost/")
        peer = connect_peer(self.factory)
        peer.send(b"GET Http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.pass_presence()
        self.assertIn(b"HTTP/1.1 200 ", peer.received)
        self.assertEqual(ann.take(), b"")


class AdminTests(AdminCase):
    def test_it(self) -> None:
        """The names that may be asked for are those of the URL."""
        self.watch(self.recorders())
        for url, host, status in (
            ("http://localhost:9191/metrics", "localhost:9191", 200),
            ("http://localhost:9191", "localhost:9191", 200),
            ("http://localhost:9191/connections?limit=1", "evil.example", 200),
            ("http://evil.example/metrics", "localhost:9191", 403),
            ("http://evil.example", "localhost:9191", 403),
            ("http://evil.example/healthz", "localhost", 200),  # as any host
            ("http://localhost/metrics", "localhost\r\nHost: localhost", 400),
            ("http://localhost/nothing", "localhost", 404),
            ("http://localhost@evil.example/metrics", "localhost", 400),
        ):
            self.assertEqual(self.ask(url, Host=host).status, status, url)
        answer = self.ask(
            *("http://localhost/connections", "GET"),
            Host="evil.example",
            Origin="http://evil.example",
        )
        self.assertEqual(answer.status, 403)


class TargetTests(SynchronousTestCase):
    def test_split(self) -> None:
        for target, found in (
            ("/a?b", ("", "/a?b")),
            ("//host/a", ("", "//host/a")),
            ("/http://host/", ("", "/http://host/")),
            ("*", ("", "*")),
            ("http://host", ("host", "/")),
            ("hTTps://host:1?a/b", ("host:1", "/?a/b")),
            ("http://[::1]:1/a?b=http://c/", ("[::1]:1", "/a?b=http://c/")),
        ):
            self.assertEqual(split_target(target), found)

    def test_forms(self) -> None:
        """Each method has its own (RFC 9112, 3.2)."""
        for line, is_one in (
            (b"OPTIONS *", True),
            (b"M-SEARCH *", True),
            (b"CONNECT host:1", True),
            (b"GET /\xff", True),
            (b"GET *", False),
            (b"POST *", False),
            (b"GET host:1", False),
            (b"GET mailto:a@b", False),
            (b"GET http://host#a", False),
        ):
            self.assertEqual(find_line_fault(line + b" HTTP/1.1") is None, is_one, line)
