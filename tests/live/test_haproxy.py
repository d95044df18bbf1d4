"""Services behind a real HAProxy, which passes on the addresses of clients.

Clients connect from several addresses of the loopback network, which all belong to this machine.
"""

from __future__ import annotations

import os
import re
import socket
from typing import Any

import trustme
from OpenSSL import crypto
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, optionsForClientTLS

from tests.live.harness import LOCALHOST, PATIENCE, Client, LiveTestCase, Program, Server, program

ANN, BOB, EVE = "127.0.0.2", "127.0.0.3", "127.0.0.4"
TRUSTED = "--proxy-protocol=127.0.0.0/8"
VERSIONS = ("send-proxy", "send-proxy-v2")
WELCOME = b"/help lists commands.\n"

CONFIGURATION = """
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
"""


class HAProxyTestCase(LiveTestCase):
    """A test with HAProxy, from the Debian package ``haproxy``."""

    def setUp(self) -> None:
        self.haproxy = program("haproxy")

    def proxies(self, *servers: tuple[object, str]) -> list[int]:
        """Start HAProxy in front of some servers.

        :param servers: for each, its address (a local port, or ``unix@PATH``), and the flags of
            HAProxy's ``server``.
        :return: the ports that clients connect to, in the same order.
        """
        from twisted.internet import reactor

        running = Program("haproxy")
        lines, listening = [CONFIGURATION], []
        for number, (where, flags) in enumerate(servers, 3):
            # It inherits listening sockets: no other program can take the port, and early clients
            # wait.
            listening.append(socket.create_server((LOCALHOST, 0), backlog=100))
            address = f"{LOCALHOST}:{where}" if isinstance(where, int) else where
            lines.append(
                f"listen l{number}\n    bind fd@{number}\n    server s {address} {flags}\n"
            )
        path = self.directory() / "haproxy.cfg"
        path.write_text("\n".join(lines))
        reactor.spawnProcess(  # reactor is a module to mypy
            running,
            self.haproxy,
            (self.haproxy, "-db", "-f", str(path)),
            env=dict(os.environ),
            childFDs={0: "w", 1: "r", 2: "r"}
            | {number: each.fileno() for number, each in enumerate(listening, 3)},
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(running.stop()))
        ports = [int(each.getsockname()[1]) for each in listening]
        for each in listening:
            each.close()
        return ports

    async def come(self, source: str, port: int, tls: Any = None) -> Client:
        """Connect from a local address, over TLS if there are options for it."""
        from twisted.internet import reactor

        endpoint: Any = TCP4ClientEndpoint(
            reactor, LOCALHOST, port, timeout=PATIENCE, bindAddress=(source, 0)
        )
        if tls is not None:
            endpoint = wrapClientTLS(tls, endpoint)
        client: Any = await endpoint.connect(Factory.forProtocol(Client))  # type: ignore[arg-type]
        self.addCleanup(lambda: self._disconnect(client) if client.lost is None else None)
        return client  # type: ignore[no-any-return]

    async def ends(self, server: Server, client: Client, code: str) -> None:
        """Wait for the log line about the end of a connection from the client's address."""
        pattern = rf"Connection \d+ from {re.escape(client.address)} ended: {code}"
        await server.until(lambda: server.log(pattern), f"the end of {client.address}, {code}")
        self.assertEqual(len(server.log(f"from {re.escape(client.address)} ")), 1)


class AddressTests(HAProxyTestCase):
    """Both versions of the header."""

    async def test_who_is_idle(self) -> None:
        """The log has the clients' addresses."""
        server, port = await self.serve("netchat", TRUSTED, "--idle-timeout=1")
        for frontend in self.proxies(*((port, version) for version in VERSIONS)):
            for client in (await self.come(ANN, frontend), await self.come(BOB, frontend)):
                await self.ends(server, client, "idle")
        self.assertEqual(len(server.log("#info] Connection .* ended: idle")), 4)

    async def test_the_log_has_the_clients(self) -> None:
        """Clients meet in one room, and the log has their own addresses, not the proxy's."""
        server, port = await self.serve("netchat", TRUSTED)
        for frontend in self.proxies(*((port, version) for version in VERSIONS)):
            ann, bob = await self.come(ANN, frontend), await self.come(BOB, frontend)
            for each in (ann, bob):
                await each.has(WELCOME)
            ann.send(b"hello\n")
            await bob.has(b"> hello\n")
            for each, source in ((ann, ANN), (bob, BOB)):
                each.send(b"/quit\n")
                await each.closed()
                self.assertTrue(each.address.startswith(f"{source}:"))
                await self.ends(server, each, "quit")
        self.assertEqual(server.log(rf"from {re.escape(LOCALHOST)}:|Traceback|Unhandled"), [])

    async def test_admission_is_about_the_clients(self) -> None:
        """--deny applies to clients and not to the proxy, and rejected clients are told why."""
        server, port = await self.serve("netchat", TRUSTED, f"--deny={EVE}")
        for frontend in self.proxies(*((port, version) for version in VERSIONS)):
            eve, ann = await self.come(EVE, frontend), await self.come(ANN, frontend)
            await ann.has(WELCOME)
            await eve.closed()
            self.assertNotIn(b"Welcome", eve.received)
        self.assertTrue(server.log("Refused connections.*denied 1"))

    async def test_who_comes_without_a_header(self) -> None:
        """Without a header, the proxy's connections are closed with a line; others work as
        usual."""
        server, port = await self.serve("netchat", f"--proxy-protocol={ANN}")
        ann = await self.come(ANN, port)
        ann.send(b"hello, is this the chat?\n")
        await ann.closed()
        self.assertEqual(ann.received, b"")
        line = f"Connection from {ann.address} ended: bad-input .it does not begin with a PROXY"
        await server.until(lambda: server.log(line), "the line in the log")
        bob = await self.come(BOB, port)
        await bob.has(WELCOME)
        bob.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n/quit\n")
        await self.ends(server, bob, "quit")
        self.assertEqual(server.log("192.0.2.1|Traceback|Unhandled"), [])

    async def test_unix_socket(self) -> None:
        """HAProxy connects to a Unix socket, whose permissions decide who is a proxy."""
        path = self.directory() / "s"
        endpoint = f"unix:{os.path.relpath(path, cwd := self.directory())}"
        flags = ("--listen", endpoint, "--proxy-protocol=unix")
        server = self.twistd("netchat", *flags, cwd=cwd)
        await server.until(lambda: server.log(r"Listening on .*\(--listen"), "it to listen")
        (frontend,) = self.proxies((f"unix@{path}", "send-proxy-v2"))
        ann = await self.come(ANN, frontend)
        await ann.has(WELCOME)
        ann.send(b"/quit\n")
        await self.ends(server, ann, "quit")


class HealthCheckTests(HAProxyTestCase):
    """HAProxy's health checks."""

    async def test_checks_leave_no_trace(self) -> None:
        """Health checks leave neither a log line nor a traceback."""
        server, port = await self.serve("netchat", TRUSTED)
        frontends = self.proxies(*((port, f"{each} check inter 100ms") for each in VERSIONS))
        clients = [await self.come(ANN, frontend) for frontend in frontends]
        for each in clients:
            await each.has(WELCOME)
        came, last = 0, 0
        while last < came + 12:  # each check takes a number
            client = await self.come(ANN, frontends[0])
            client.send(b"/quit\n")
            await self.ends(server, client, "quit")
            came += 1
            last = int(server.log(f"{client.address} ended")[0].split(" Connection ")[1].split()[0])
        self.assertEqual(len(server.log("Connection|Traceback|Unhandled")), came)

    async def test_checks_without_a_header(self) -> None:
        """A check without a header leaves no line."""
        # HAProxy's own checks of this kind end with a reset before a server accepts them.
        server, port = await self.serve("netchat", TRUSTED)
        for _ in range(5):
            check = await self.connect(port)
            check.transport.loseConnection()
            await check.closed()
        (frontend,) = self.proxies((port, "send-proxy-v2"))
        client = await self.come(ANN, frontend)
        client.send(b"/quit\n")
        await self.ends(server, client, "quit")
        self.assertEqual(len(server.log("Connection|Traceback|Unhandled")), 1)


class TLSTests(HAProxyTestCase):
    """HAProxy passes TLS through, and its header comes before the handshake."""

    async def test_netchat(self) -> None:
        """Clients verify the server's certificate, and the log has their addresses."""
        files = self.directory()
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        issued = authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
        issued.private_key_and_cert_chain_pem.write_to_path(files / "both.pem")
        server = self.twistd(
            *("netchat", "--tls-port=0", f"--interface={LOCALHOST}", TRUSTED),
            *(f"--{flag}={files / 'both.pem'}" for flag in ("cert", "key")),
        )
        port = await server.port("--tls-port 0")
        pem = authority.cert_pem.bytes()
        root: Any = Certificate(crypto.load_certificate(crypto.FILETYPE_PEM, pem))  # type: ignore[no-untyped-call]
        for frontend in self.proxies(*((port, version) for version in VERSIONS)):
            ann, bob = [
                await self.come(source, frontend, optionsForClientTLS("localhost", root))
                for source in (ANN, BOB)
            ]
            for each in (ann, bob):
                await each.has(WELCOME)
            ann.send(b"hello\n")
            await bob.has(b"> hello\n")
            for each in (ann, bob):
                each.send(b"/quit\n")
                await self.ends(server, each, "quit")
        self.assertEqual(server.log("Traceback|Unhandled"), [])

    async def test_an_endpoint_that_speaks_tls_itself(self) -> None:
        """Twisted's ``ssl:`` is rejected, because it would look for the header inside TLS."""
        path = self.directory() / "both.pem"
        issued = trustme.CA().issue_cert("localhost")
        issued.private_key_and_cert_chain_pem.write_to_path(path)
        endpoint = f"ssl:0:privateKey={path}:certKey={path}:interface={LOCALHOST}"
        server = self.twistd("netchat", "--listen", endpoint, TRUSTED)
        self.assertEqual(await server.ended(), 1)
        line = f"netchat: --listen {endpoint}: the PROXY header must come before"
        self.assertTrue(bytes(server.errors).decode().startswith(line), server)
        self.assertEqual(bytes(server.errors).count(b"netchat:"), 1)
        self.assertNotIn(b"Traceback", bytes(server.output + server.errors))


class ForwardTests(HAProxyTestCase):
    """netidle behind HAProxy reads no client before its upstream is connected."""

    async def test_first_words_together_with_the_header(self) -> None:
        """A megabyte sent at once goes through both and back, and the half-close is answered."""
        _, echo = await self.serve("netecho")
        _, port = await self.serve("netidle", TRUSTED, f"--upstream=tcp:{LOCALHOST}:{echo}")
        for frontend in self.proxies(*((port, version) for version in VERSIONS)):
            await self.check_echo(frontend, bytes(range(256)) * 4096)
