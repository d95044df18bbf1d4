"""TLS connections on reactors turned by hand; the peer uses the standard library's TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import ClientFactory, Factory
from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS
from twisted.protocols import tls
from zope.interface import implementer

from tests.buffers import bound, bounded_client, bounded_listener
from tests.eager.reactor_turns import HalfRecorder, Recorder, TurnsTestCase

AUTHORITY = trustme.CA()
ISSUED = AUTHORITY.issue_cert("server.example")
ROOT = Certificate.loadPEM(AUTHORITY.cert_pem.bytes())


def server_options(**options: Any) -> CertificateOptions:
    pem = ISSUED.private_key_and_cert_chain_pem.bytes()
    return CertificateOptions(
        privateKey=load_pem_private_key(pem, None),
        certificate=load_pem_x509_certificate(pem),
        **options,
    )


def client_options(name: str = "server.example", **options: Any) -> Any:
    return optionsForClientTLS(name, trustRoot=ROOT, **options)


@implementer(IHandshakeListener)
class TLSRecorder(Recorder):
    """Records the handshake too."""

    def handshakeCompleted(self) -> None:
        self.events.append(("handshake",))


@implementer(IHandshakeListener)
class HalfTLSRecorder(HalfRecorder, TLSRecorder):
    """A recorder that allows half-close."""


class Peer:
    """The peer: TLS of the standard library over a non-blocking socket.

    :ivar got: the data received.
    :ivar over: how it ended: ``"farewell"`` (close_notify), ``"end"`` (without), ``"reset"``; or
        the error.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, **wrap: Any) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, **wrap)
        self.got = bytearray()
        self.over: Any = None
        self.shaken = False
        self.left = bytearray()  # what the socket does not take

    def go_on(self, limit: int = 1 << 20) -> None:
        """Do everything that is possible now."""
        self.flush()
        try:
            while self.over is None:
                try:
                    data = self.socket.recv(limit)
                except BlockingIOError:
                    break
                if data:
                    self.incoming.write(data)
                    self._take()
                else:
                    self.incoming.write_eof()
                    self._take()
                    self.over = self.over or "end"
        except ConnectionResetError:
            self.over = "reset"
        if not self.shaken and self.over is None:
            self._take()
        self.flush()

    def _take(self) -> None:
        try:
            if not self.shaken:
                self.tls.do_handshake()
                self.shaken = True
            while data := self.tls.read(1 << 16):
                self.got += data
            self.over = "farewell"
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.over = "farewell"
        except ssl.SSLEOFError:
            self.over = "end"
        except ssl.SSLError as error:
            self.over = error

    def flush(self) -> None:
        self.left += self.outgoing.read()
        try:
            while self.left:
                del self.left[: self.socket.send(self.left)]
        except BlockingIOError:
            pass
        except OSError:
            self.left.clear()

    def send(self, data: bytes) -> None:
        self.tls.write(data)
        self.flush()

    def say_farewell(self) -> None:
        """Send close_notify without waiting."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        self.flush()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class TLSTestCase(TurnsTestCase):
    """TLS connections; ``connect`` makes one."""

    def setUp(self) -> None:
        super().setUp()
        # Twisted batches small writes with the global reactor, which does not run here.
        self.patch(tls, "_get_default_clock", lambda: self.reactor)

    def context(self) -> ssl.SSLContext:
        raise NotImplementedError

    def connect_tls(
        self, protocol: Recorder | None = None, options: Any = None, shake: bool = True, **wrap: Any
    ) -> tuple[Any, Peer]:
        """Connect a protocol to a peer.

        :param options: our TLS options; without it, the usual ones.
        :param shake: whether to complete the handshake.
        :param wrap: for the peer's ``wrap_bio``.
        """
        made = protocol or TLSRecorder()
        peer = self._connect(made, options, wrap)
        self.addCleanup(peer.socket.close)
        self.until(lambda: made.connected)
        if shake:
            self.until(lambda: peer.shaken and ("handshake",) in made.events, peer)
        return made, peer

    def _connect(self, made: Recorder, options: Any, wrap: dict[str, Any]) -> Peer:
        raise NotImplementedError

    def until(self, done: Callable[[], object], *peers: Peer) -> None:
        """Run turns of the reactor and of the peers until ``done()`` is true."""

        def step() -> object:
            for peer in peers:
                peer.go_on()
            return done()

        self.turn_until(step)

    def settle(self, *peers: Peer, turns: int = 8) -> None:
        """Run turns until nothing more happens."""
        for _ in range(turns):
            for peer in peers:
                peer.go_on()
            self.turn(wait=0.002)


class AsServer:
    """Our side is the server."""

    is_client = False

    def _connect(self, made: Recorder, options: Any, wrap: dict[str, Any]) -> Peer:
        factory = Factory.forProtocol(lambda: made)
        factory.noisy = False
        port = self.calls.listenSSL(0, factory, options or server_options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        bound(port.socket)
        sock = bounded_client(port.getHost().port)
        context = wrap.pop("context", None) or self.context()
        wrap.setdefault("server_hostname", "server.example")
        return Peer(sock, context, **wrap)

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        AUTHORITY.configure_trust(context)
        return context


class AsClient:
    """Our side is the client."""

    is_client = True

    def _connect(self, made: Recorder, options: Any, wrap: dict[str, Any]) -> Peer:
        factory = ClientFactory.forProtocol(lambda: made)
        factory.noisy = False
        with bounded_listener() as listening:
            listening.setblocking(False)
            name, port = listening.getsockname()
            connector = self.calls.connectSSL(name, port, factory, options or client_options())
            bound(connector.transport.socket)  # it connects in the next turn
            self.turn_until(lambda: made.connected)
            sock, _ = listening.accept()
        context = wrap.pop("context", None) or self.context()
        return Peer(sock, context, server_side=True, **wrap)

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ISSUED.configure_cert(context)
        return context
