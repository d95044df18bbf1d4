"""Tests for :mod:`twisted_net.eager.tls` and :mod:`twisted_net.eager.openssl`.

Promises that Twisted's TLS makes too are tested in ``test_tls_promises``.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager

from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import BufferingTLSTransport
from zope.interface import implementer

from tests.buffers import tcp_pair
from tests.eager.reactor_turns import OnStockEagerly, Recorder
from tests.eager.tls_turns import (
    ISSUED,
    AsClient,
    AsServer,
    TLSRecorder,
    TLSTestCase,
    server_options,
)
from twisted_net.eager import openssl, reactor_interfaces
from twisted_net.eager.privates import Group
from twisted_net.eager.tls import EagerTLS
from twisted_net.eager.tls_sockets import EagerTLSClient, EagerTLSServer

LOST = ("lost", ConnectionLost)


class Both:
    """On either side."""

    def test_kinds(self):
        """The connection's TLS runs on its socket."""
        protocol, peer = self.connect_tls()
        self.assertIsInstance(protocol.transport, EagerTLS)
        under = EagerTLSClient if self.is_client else EagerTLSServer
        self.assertIsInstance(protocol.transport.transport, under)
        self.assertEqual(protocol.transport.getHandle().getpeername(), peer.socket.getsockname())

    def test_poller_unchanged(self):
        """Answering does not change the poller."""
        protocol, peer = self.connect_tls()
        protocol.received = Recorder.write_back
        self.settle(peer)
        poller = self.count_changes()
        for number in range(1, 4):
            peer.send(b"ping")
            self.until(lambda number=number: len(peer.got) == 4 * number, peer)
        self.assertEqual(poller.changes, 0)

    def test_one_record(self):
        """All writes of a turn are one record."""
        protocol, peer = self.connect_tls()
        self.settle(peer)
        sizes = []
        write = openssl.write
        self.patch(openssl, "write", lambda c, data: sizes.append(len(data)) or write(c, data))
        for _ in range(10):
            protocol.transport.write(b"x" * 10)
        protocol.transport.writeSequence([b"y"] * 10)
        self.until(lambda: len(peer.got) == 110, peer)
        self.assertEqual(sizes, self.sizes)

    sizes = [110]

    def test_neighbours(self):
        """The failure of one connection is not reported on another one of the same thread."""
        for length in (10, 100_000):
            self._fail_beside(length)

    def _fail_beside(self, length):
        (bad, gone), (good, peer) = self.connect_tls(), self.connect_tls()
        gone.reset()
        bad.transport.write(b"x" * length)
        self.turn()
        good.transport.write(b"y")
        peer.send(b"z")
        self.until(lambda: peer.got and len(good.events) == 2, peer)
        self.until(lambda: bad.events[-1] == LOST)
        self.assertEqual(good.events[1], ("data", b"z"))

    def test_socket_left(self):
        """After the end, a reference to OpenSSL's connection cannot reach the descriptor. By then
        it may belong to another connection."""
        protocol, peer = self.connect_tls()
        handle = protocol.transport.getHandle()
        number = protocol.transport.transport.fileno()
        peer.socket.close()
        self.until(lambda: protocol.events[-1] == LOST)
        ours, theirs = tcp_pair()
        with ours, theirs:
            if ours.fileno() != number:
                os.dup2(ours.fileno(), number)
                self.addCleanup(os.close, number)
            self.assertRaises(SSL.Error, handle.send, b"x")
            theirs.setblocking(False)
            self.assertRaises(BlockingIOError, theirs.recv, 10)

    def test_answer_before_the_farewell(self):
        """The answer to a peer's last data is sent before close_notify, not dropped."""
        protocol, peer = self.connect_tls()
        protocol.received = Recorder.write_back
        order = []
        for name in ("write", "shutdown"):
            actual = getattr(openssl, name)
            self.patch(
                openssl,
                name,
                lambda *a, name=name, actual=actual: order.append(name) or actual(*a),
            )
        peer.tls.write(b"last words")
        peer.say_farewell()
        self.until(lambda: peer.over, peer)
        self.assertEqual((order, peer.over), (["write", "shutdown"], "farewell"))

    def test_blocked_writing(self):
        """If OpenSSL must read before it can write, the poller does not watch for writing."""
        protocol, peer = self.connect_tls()
        self.settle(peer)
        transport = protocol.transport.transport
        with self.refusing("write", SSL.WantReadError):
            protocol.transport.write(b"x")
            self.turn(2)
            self.assertNotIn(transport, self.reactor.getWriters())
            protocol.transport.write(b"y")
            self.turn(2)
            self.assertNotIn(transport, self.reactor.getWriters())
        peer.send(b"what it waits for")
        self.until(lambda: len(peer.got) == 2, peer)
        self.assertEqual(bytes(peer.got), b"xy")

    def test_blocked_reading(self):
        """If OpenSSL must write before it can read, it reads as soon as it can."""
        protocol, peer = self.connect_tls()
        self.settle(peer)
        with self.refusing("read", SSL.WantWriteError):
            peer.send(b"x")
            self.turn(wait=1)
            # The poller reports nothing more.
            self.reactor.removeReader(protocol.transport.transport)
        self.until(lambda: len(protocol.events) == 2, peer)
        self.assertEqual(protocol.events[1], ("data", b"x"))
        self.reactor.addReader(protocol.transport.transport)

    def test_blocked_reading_while_paused(self):
        """The same, but a protocol that has paused meanwhile gets it when it resumes."""
        protocol, peer = self.connect_tls()
        self.settle(peer)
        with self.refusing("read", SSL.WantWriteError):
            peer.send(b"x")
            self.turn(wait=1)
            protocol.transport.pauseProducing()
        self.settle(peer)
        self.assertEqual(len(protocol.events), 1)
        protocol.transport.resumeProducing()
        self.until(lambda: len(protocol.events) == 2, peer)
        self.assertEqual(protocol.events[1], ("data", b"x"))

    def test_blocked_farewell(self):
        """A close_notify that the socket does not take is sent later."""
        protocol, peer = self.connect_tls()
        with self.refusing("shutdown", SSL.WantWriteError):
            protocol.transport.write(b"x")
            protocol.transport.loseConnection()
            self.turn(3)
        self.until(lambda: peer.over, peer)
        self.assertEqual((bytes(peer.got), peer.over), (b"x", "farewell"))

    def test_failing_write(self):
        """An OpenSSL error while writing ends the connection in a later turn."""
        protocol, _ = self.connect_tls()
        with self.refusing("write", SSL.Error([("a", "b", "no reason")])):
            protocol.transport.write(b"x" * 500_000)
            self.assertEqual(protocol.events, [("handshake",)])
            self.until(lambda: len(protocol.events) == 2)
        self.assertEqual(protocol.events[1], ("lost", SSL.Error))

    @contextmanager
    def refusing(self, name, error):
        """Make an OpenSSL function fail for a while."""

        def refuse(*arguments):
            raise error

        actual = getattr(openssl, name)
        setattr(openssl, name, refuse)
        yield
        setattr(openssl, name, actual)


@implementer(IOpenSSLServerConnectionCreator)
class Unusual:
    """Makes connections that cannot be attached to a socket."""

    def serverConnectionForTLS(self, protocol):
        made = server_options().serverConnectionForTLS(protocol)
        made._socket = False
        return made


class ServerTests(Both, AsServer, TLSTestCase):
    """On the eager reactor."""

    def test_unusual_connection(self):
        """A creator's connection that cannot be attached to a socket gets Twisted's own TLS."""
        protocol, peer = self.connect_tls(options=Unusual())
        self.assertIsInstance(protocol.transport, BufferingTLSTransport)
        protocol.received = Recorder.write_back
        peer.send(b"x" * 100_000)
        self.until(lambda: len(peer.got) == 100_000, peer)
        protocol.transport.loseConnection()
        self.until(lambda: peer.over == "farewell", peer)
        peer.socket.close()
        self.until(lambda: protocol.events[-1][0] == "lost")

    def test_unknown_openssl(self):
        """With an unknown Twisted or pyOpenSSL, all connections get Twisted's own TLS."""
        self.patch(reactor_interfaces, "usable", lambda group: group is not Group.TLS)
        protocol, peer = self.connect_tls()
        self.assertIs(type(protocol.transport), BufferingTLSTransport)
        protocol.received = Recorder.write_back
        peer.send(b"x" * 100_000)
        self.until(lambda: len(peer.got) == 100_000, peer)

    def test_large_handshake(self):
        """A handshake that the socket takes only in parts succeeds."""
        options = server_options(extraCertChain=[_certificate()] * 80)
        protocol = TLSRecorder()
        made = protocol.makeConnection

        def makeConnection(transport):
            sock = transport.transport.socket
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            made(transport)

        protocol.makeConnection = makeConnection
        _, peer = self.connect_tls(protocol, options)
        protocol.transport.write(b"x")
        self.until(lambda: peer.got, peer)

    def test_large_handshake_in_parts(self):
        """The handshake succeeds whatever OpenSSL wants in between."""
        protocol, peer = self.connect_tls(shake=False)
        with self.refusing("do_handshake", SSL.WantWriteError):
            peer.go_on()
            self.turn(3)
            self.assertIn(protocol.transport.transport, self.reactor.getWriters())
        with self.refusing("do_handshake", SSL.WantReadError):
            peer.go_on()
            self.turn(3)
            self.assertNotIn(protocol.transport.transport, self.reactor.getWriters())
        peer.flush()
        self.until(lambda: peer.shaken and protocol.events, peer)


def _certificate():
    return load_pem_x509_certificate(ISSUED.cert_chain_pems[0].bytes())


class ClientTests(Both, AsClient, TLSTestCase):
    """On the eager reactor."""


class ElsewhereTests(Both, OnStockEagerly, AsServer, TLSTestCase):
    """On Twisted's reactor, where bytes written outside an event are sent at once."""

    sizes = [10] * 11
