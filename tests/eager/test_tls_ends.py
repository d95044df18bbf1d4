"""How TLS connections end, with Twisted's TLS and with :mod:`twisted_net.eager.tls`."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost

from tests.buffers import MANY
from tests.eager.reactor_turns import OnStock, OnStockEagerly, Recorder
from tests.eager.test_tls_promises import Older
from tests.eager.tls_turns import AsClient, AsServer, HalfTLSRecorder, TLSTestCase

LOST = ("lost", ConnectionLost)
DONE = ("lost", ConnectionDone)


class Endings:
    """What Twisted's TLS promises about the end."""

    def test_farewell_ours(self):
        """loseConnection sends everything, then close_notify, then waits for the peer's."""
        protocol, peer = self.connect_tls()
        protocol.transport.write(b"x" * MANY)
        protocol.transport.loseConnection()
        protocol.transport.write(b"dropped")
        self.until(lambda: peer.over, peer)
        self.assertEqual((len(peer.got), peer.over), (MANY, "farewell"))
        self.settle()
        self.assertEqual(protocol.events, [("handshake",)])
        peer.say_farewell()
        self.until(lambda: len(protocol.events) == 2)
        self.assertEqual(protocol.events[1], DONE)

    def test_data_after_our_farewell(self):
        """Data that the peer sends before its close_notify is still delivered."""
        protocol, peer = self.connect_tls()
        protocol.transport.loseConnection()
        self.until(lambda: peer.over, peer)
        if peer.tls.version() == "TLSv1.3":
            peer.send(b"still here")
            self.until(lambda: len(protocol.events) == 2)
            self.assertEqual(protocol.events[1], ("data", b"still here"))

    def test_farewell_theirs(self):
        """The peer's close_notify is answered, and ends the connection cleanly."""
        protocol, peer = self.connect_tls()
        peer.say_farewell()
        self.until(lambda: len(protocol.events) == 2, peer)
        self.assertEqual(protocol.events[1], DONE)
        self.until(lambda: peer.over, peer)
        self.assertEqual(peer.over, "farewell")

    def test_farewell_after_data(self):
        """What the peer sent before its close_notify is delivered first."""
        protocol, peer = self.connect_tls()
        peer.tls.write(b"last words")
        peer.say_farewell()
        self.until(lambda: protocol.events[-1] == DONE, peer)
        self.assertEqual(protocol.events[1:], [("data", b"last words"), DONE])

    def test_farewell_while_paused(self):
        """If the protocol pauses, what the peer sent before its close_notify is still delivered."""
        protocol, peer = self.connect_tls()
        protocol.received = lambda self, data: self.transport.pauseProducing()
        peer.send(b"".join(b"%d" % (number % 10) * 16384 for number in range(3)))
        peer.say_farewell()

        def resumed():
            protocol.transport.resumeProducing()
            return protocol.events[-1] == DONE

        self.until(resumed, peer)
        got = b"".join(event[1] for event in protocol.events if event[0] == "data")
        self.assertEqual(len(got), 3 * 16384)

    def test_end_without_farewell(self):
        """The end of the stream without a close_notify is not a clean end."""
        protocol, peer = self.connect_tls()
        peer.send(b"x")
        peer.socket.close()
        self.until(lambda: protocol.events[-1] == LOST)
        self.assertEqual(protocol.events[1:], [("data", b"x"), LOST])

    def test_reset(self):
        """A reset is not a clean end."""
        protocol, peer = self.connect_tls()
        peer.reset()
        self.until(lambda: len(protocol.events) == 2)
        self.assertEqual(protocol.events[1], LOST)

    def test_reset_while_writing(self):
        """A write error is reported in a later turn."""
        protocol, peer = self.connect_tls()
        peer.reset()
        for _ in range(3):
            protocol.transport.write(b"x" * 100_000)
        self.assertEqual(protocol.events, [("handshake",)])
        self.until(lambda: len(protocol.events) == 2)
        self.assertEqual(protocol.events[1], LOST)

    def test_abort(self):
        """abortConnection drops the queue, delivers nothing more, and ends in a later turn."""
        protocol, peer = self.connect_tls()
        peer.send(b"not delivered")
        protocol.transport.write(b"x" * MANY)
        protocol.transport.abortConnection()
        protocol.transport.write(b"dropped")
        self.assertEqual(protocol.events, [("handshake",)])
        self.until(lambda: len(protocol.events) == 2 and peer.over, peer)
        self.assertEqual(protocol.events[1], LOST)
        self.assertLess(len(peer.got), MANY)
        self.assertEqual(peer.over, "reset")

    def test_abort_inside(self):
        """abortConnection works inside dataReceived."""
        protocol, peer = self.connect_tls()
        protocol.received = lambda self, data: self.transport.abortConnection()
        for _ in range(3):
            peer.send(b"x")
        self.until(lambda: protocol.events[-1][0] == "lost", peer)
        self.assertEqual(len(protocol.events), 3)

    def test_abort_in_handshake(self):
        """abortConnection works before the end of the handshake; loseConnection does the same
        then."""
        for name in ("abortConnection", "loseConnection"):
            protocol, _ = self.connect_tls(shake=False)
            getattr(protocol.transport, name)()
            self.until(lambda protocol=protocol: protocol.events)
            self.assertEqual(len(protocol.events), 1)

    def test_end_in_handshake(self):
        """A peer that leaves during the handshake is a lost connection."""
        for leave in ("close", "reset"):
            protocol, peer = self.connect_tls(shake=False)
            peer.reset() if leave == "reset" else peer.socket.close()
            self.until(lambda protocol=protocol: protocol.events)
            self.assertEqual(protocol.events, [LOST])

    def test_garbage(self):
        """A peer that does not speak TLS gets an alert, and the protocol gets OpenSSL's error."""
        protocol, peer = self.connect_tls(shake=False)
        peer.socket.send(b"GET / HTTP/1.0\r\n\r\n" * 10)
        self.until(lambda: protocol.events)
        self.assertEqual([event[0] for event in protocol.events], ["lost"])
        self.assertTrue(issubclass(protocol.events[0][1], SSL.Error))

    def test_garbage_later(self):
        """A peer that stops speaking TLS gets an alert too."""
        protocol, peer = self.connect_tls()
        peer.socket.send(b"x" * 100)
        self.until(lambda: len(protocol.events) == 2)
        self.assertTrue(issubclass(protocol.events[1][1], SSL.Error))

    def test_raising(self):
        """If dataReceived raises, the error is logged and that connection ends."""
        protocol, peer = self.connect_tls()
        protocol.received = Recorder.write_and_raise
        peer.send(b"x")
        self.until(lambda: len(protocol.events) == 3, peer)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(protocol.events[2], LOST)
        self.until(lambda: peer.over, peer)
        self.assertEqual(bytes(peer.got), b"")

    def test_half_close_refused(self):
        """TLS connections are not half-closed, even if the protocol supports it."""
        protocol, peer = self.connect_tls(HalfTLSRecorder())
        peer.say_farewell()
        self.until(lambda: len(protocol.events) == 2, peer)
        self.assertEqual(protocol.events, [("handshake",), DONE])


class Pauses:
    """What only TLS on the socket promises."""

    def test_nothing_while_paused(self):
        """A protocol that has paused gets no data, and not the end, until it resumes."""
        protocol, peer = self.connect_tls()
        protocol.received = lambda self, data: self.transport.pauseProducing()
        peer.send(b"x" * 3 * 16384)
        peer.say_farewell()
        for count in range(1, 4):
            self.until(lambda count=count: len(protocol.events) == 1 + count, peer)
            self.settle(peer)
            self.assertEqual([event[0] for event in protocol.events[1:]], ["data"] * count)
            protocol.transport.resumeProducing()
        self.until(lambda: protocol.events[-1] == DONE, peer)


class StockServerTests(Endings, AsServer, OnStock, TLSTestCase):
    """The reference."""


class StockClientTests(Endings, AsClient, OnStock, TLSTestCase):
    """The reference."""


class StockOlderServerTests(Older, StockServerTests):
    """The reference."""


class ServerTests(Pauses, Endings, AsServer, TLSTestCase):
    """On the eager reactor."""


class ClientTests(Pauses, Endings, AsClient, TLSTestCase):
    """On the eager reactor."""


class OlderServerTests(Older, ServerTests):
    """On the eager reactor."""


class OlderClientTests(Older, ClientTests):
    """On the eager reactor."""


class ElsewhereServerTests(Pauses, Endings, AsServer, OnStockEagerly, TLSTestCase):
    """On Twisted's reactor."""


class ElsewhereClientTests(Pauses, Endings, AsClient, OnStockEagerly, TLSTestCase):
    """On Twisted's reactor."""
