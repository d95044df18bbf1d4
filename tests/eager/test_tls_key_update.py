"""KeyUpdate (RFC 8446, 4.6.3) while output is full.

The standard library cannot send one, so the peer is OpenSSL's own library.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory

from tests.buffers import MANY, bound, bounded_client
from tests.eager.reactor_turns import OnStock, OnStockEagerly
from tests.eager.tls_turns import AsServer, TLSRecorder, TLSTestCase, server_options
from twisted_net.eager import openssl

_WANTS = (2, 3)  # SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE
_FAREWELL = 6  # SSL_ERROR_ZERO_RETURN


def _library() -> Any:
    name = ctypes.util.find_library("ssl")
    if name is None:
        return None
    library = ctypes.CDLL(name)
    if not hasattr(library, "SSL_key_update"):
        return None
    for function in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
        getattr(library, function).restype = ctypes.c_void_p
    return library


LIBRARY = _library()


class OpenSSLPeer:
    """A client that can send KeyUpdates, over a non-blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.setblocking(False)
        context = ctypes.c_void_p(LIBRARY.SSL_CTX_new(ctypes.c_void_p(LIBRARY.TLS_client_method())))
        self.ssl = ctypes.c_void_p(LIBRARY.SSL_new(context))
        LIBRARY.SSL_CTX_free(context)
        LIBRARY.SSL_set_fd(self.ssl, sock.fileno())
        LIBRARY.SSL_set_connect_state(self.ssl)
        self.got = bytearray()
        self.over = 0

    def close(self) -> None:
        LIBRARY.SSL_free(self.ssl)
        self.socket.close()

    def shake(self) -> bool:
        """Go on with a handshake or a KeyUpdate. Return whether it is done."""
        return self._done(LIBRARY.SSL_do_handshake(self.ssl))

    def write(self, data: bytes) -> bool:
        return self._done(LIBRARY.SSL_write(self.ssl, data, len(data)))

    def key_update(self) -> bool:
        LIBRARY.SSL_key_update(self.ssl, 1)  # and ask for one
        return self.shake()

    def say_farewell(self) -> None:
        LIBRARY.SSL_shutdown(self.ssl)

    def read(self) -> None:
        """Read what has arrived."""
        into = ctypes.create_string_buffer(1 << 16)
        while (size := LIBRARY.SSL_read(self.ssl, into, len(into))) > 0:
            self.got += into.raw[:size]
        self._done(size)

    def _done(self, result: int) -> bool:
        if result > 0:
            return True
        error = LIBRARY.SSL_get_error(self.ssl, result)
        if error not in _WANTS:
            self.over = error
        return False


class KeyUpdates(AsServer):
    """On either reactor."""

    if LIBRARY is None:
        skip = "OpenSSL's library is not installed"

    def connect_full(self) -> tuple[TLSRecorder, OpenSSLPeer]:
        """Return a protocol that has written ``MANY`` bytes, and its peer, which does not read."""
        made = TLSRecorder()
        factory = Factory.forProtocol(lambda: made)
        factory.noisy = False
        options = server_options()
        port = self.calls.listenSSL(0, factory, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        bound(port.socket)
        peer = OpenSSLPeer(bounded_client(port.getHost().port))
        self.addCleanup(peer.close)
        self.turn_until(lambda: peer.shake() and ("handshake",) in made.events)
        made.transport.write(b"x" * MANY)
        self.settle()
        return made, peer

    def received(self, made: TLSRecorder) -> bytes:
        return b"".join(event[1] for event in made.events if event[0] == "data")

    def test_it_goes_on(self) -> None:
        """Data before, between and after KeyUpdates arrives, in both directions."""
        made, peer = self.connect_full()
        for number in range(5):
            self.assertTrue(peer.write(b"%d" % number))
            self.assertTrue(peer.key_update())
            if number % 2:
                self.settle()
        self.assertTrue(peer.write(b"end"))
        self.turn_until(lambda: self.received(made) == b"01234end")
        made.transport.write(b"after")

        def read() -> bool:
            peer.read()
            return len(peer.got) >= MANY + 5 or peer.over

        self.turn_until(read)
        self.assertEqual((peer.got[:MANY], peer.got[MANY:]), (b"x" * MANY, b"after"))
        self.assertTrue(peer.write(b"more"))
        self.turn_until(lambda: self.received(made) == b"01234endmore")
        made.transport.loseConnection()
        self.turn_until(lambda: peer.read() or peer.over)
        self.assertEqual(peer.over, _FAREWELL)
        peer.say_farewell()
        self.turn_until(lambda: made.events[-1] == ("lost", ConnectionDone))

    def test_each_byte_once(self) -> None:
        """Output stays whole if the peer reads between its KeyUpdates."""
        made, peer = self.connect_full()
        expected = bytearray(b"x" * MANY)

        def step() -> bool:
            peer.write(b"?")
            peer.key_update()
            if len(expected) < 2 * MANY:
                made.transport.write(b"y" * 50_000)
                expected.extend(b"y" * 50_000)
            peer.read()
            return len(peer.got) >= len(expected) or peer.over

        self.turn_until(step)
        self.assertEqual((peer.over, peer.got == expected), (0, True))


class Failures(KeyUpdates):
    """With TLS on the socket."""

    def test_fatal_error_while_full(self) -> None:
        """After a fatal error, the end is reported even if a paused producer never writes again."""
        made, peer = self.connect_full()

        class Producer:
            def pauseProducing(self) -> None:
                made.transport.pauseProducing()

            def resumeProducing(self) -> None:
                made.transport.resumeProducing()

            def stopProducing(self) -> None:
                pass

        made.transport.registerProducer(Producer(), True)
        made.transport.write(b"z")

        def fail(*arguments: object) -> None:
            raise SSL.Error([("SSL routines", "", "bad write retry")])

        self.patch(openssl, "read", fail)
        made.transport.resumeProducing()
        self.assertTrue(peer.write(b"!"))
        self.turn_until(lambda: made.events[-1][0] == "lost")
        self.assertEqual(made.events[-1], ("lost", SSL.Error))
        self.assertEqual(
            [each for each in self.reactor.getReaders() if each is made.transport.transport], []
        )


class StockTests(KeyUpdates, OnStock, TLSTestCase):
    """The reference."""


class EagerTests(Failures, TLSTestCase):
    """On the eager reactor."""


class ElsewhereTests(Failures, OnStockEagerly, TLSTestCase):
    """On Twisted's reactor."""
