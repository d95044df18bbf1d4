"""Socket options on real sockets, with and without TLS."""

from __future__ import annotations

import socket
from typing import Any

import trustme
from OpenSSL import SSL
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint, wrapServerTLS
from twisted.internet.ssl import Certificate, CertificateOptions

from tests.live.harness import LOCALHOST, Client, LiveTestCase, Upstream
from twisted_net.connection.connection import Connection
from twisted_net.endpoints.client import connect
from twisted_net.endpoints.socket_options import SocketOptions, TunedServerEndpoint, apply

TCP = socket.IPPROTO_TCP
OPTIONS = SocketOptions(keepalive_idle=7, keepalive_interval=3, keepalive_count=5)
EXPECTED = {
    "TCP_NODELAY": 1,
    "TCP_KEEPIDLE": 7,
    "TCP_KEEPINTVL": 3,
    "TCP_KEEPCNT": 5,
    "TCP_USER_TIMEOUT": 22_000,
    "SO_KEEPALIVE": 1,
}


def options_of(transport: Any) -> dict[str, int]:
    """Ask the kernel, below any wrapper of the socket."""
    while not isinstance(getattr(transport, "socket", None), socket.socket):
        transport = transport.transport
    found: socket.socket = transport.socket
    return {
        name: found.getsockopt(
            socket.SOL_SOCKET if name == "SO_KEEPALIVE" else TCP, getattr(socket, name)
        )
        for name in EXPECTED
    }


class SocketTests(LiveTestCase):
    """A server and a client in this process."""

    async def serve_tuned(self, tls: Any = None) -> Upstream:
        from twisted.internet import reactor

        endpoint: Any = TCP4ServerEndpoint(reactor, 0, interface=LOCALHOST)
        endpoint = TunedServerEndpoint(endpoint, OPTIONS)
        if tls is not None:
            endpoint = wrapServerTLS(tls, endpoint)
        upstream = Upstream(Client)
        port: Any = await endpoint.listen(upstream)
        upstream.port = port.getHost().port
        self.addCleanup(port.stopListening)
        self.addCleanup(self._end_upstream, upstream)
        return upstream

    async def test_accepted_sockets_inherit(self) -> None:
        """Accepted sockets inherit the options of the listening socket."""
        upstream = await self.serve_tuned()
        for _ in range(2):
            (await self.connect(upstream.port)).send(b"hello")
            far = await upstream.hears(b"hello")
            self.assertEqual(options_of(far.transport), EXPECTED)
            upstream.clients.clear()

    async def test_over_tls(self) -> None:
        """Over TLS, both sides have the options; the client gets them when it is connected."""
        from twisted.internet import reactor

        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        context = SSL.Context(SSL.TLS_METHOD)
        issued = authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
        issued.configure_cert(context)
        tls: Any = CertificateOptions()
        tls._context = context
        upstream = await self.serve_tuned(tls)
        root: Any = Certificate.loadPEM(authority.cert_pem.bytes())
        near: Any = await connect(
            reactor,
            (LOCALHOST, upstream.port),
            Connection,
            tls=True,
            trust=root,
            server_name="localhost",
            socket_options=OPTIONS,
        )
        self.assertEqual(options_of(near.transport), EXPECTED)
        near.send(b"hello")
        far = await upstream.hears(b"hello")
        self.assertEqual(options_of(far.transport), EXPECTED)
        self.assertTrue(apply(SocketOptions(keepalive_idle=9), near.transport))
        self.assertEqual(options_of(near.transport)["TCP_KEEPIDLE"], 9)
        near.close()
        await far.closed()

    async def test_clients(self) -> None:
        """Clients have the default options, unless they request none."""
        from twisted.internet import reactor

        upstream = self.listen()
        where = (LOCALHOST, upstream.port)
        tuned: Any = await connect(reactor, where, Connection)
        self.assertEqual(options_of(tuned.transport)["TCP_USER_TIMEOUT"], 120_000)
        plain: Any = await connect(reactor, where, Connection, socket_options=None)
        self.assertEqual(options_of(plain.transport)["SO_KEEPALIVE"], 0)
        for each in (tuned, plain):
            each.abort()

    async def test_a_unix_socket_has_none(self) -> None:
        from twisted.internet import reactor

        path = "s"
        port: Any = await TunedServerEndpoint(UNIXServerEndpoint(reactor, path)).listen(
            Upstream(Client)
        )
        self.assertFalse(apply(OPTIONS, port))
        await port.stopListening()
