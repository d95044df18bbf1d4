"""A peer that speaks TLS to a connection that does not, and the other way round."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, factory_of, made
from twisted_net.chat.protocol import ChatFactory
from twisted_net.policy.close_reasons import BAD_INPUT, PEER_CLOSED
from twisted_net.testing import connect_peer, connect_tls_peer
from twisted_net.wire.framing import (
    BaseFraming,
    JsonLines,
    JsonStream,
    LengthPrefixed,
    Lines,
    Netstrings,
    Raw,
    SkippingLines,
)

ALERTS = (b"\x15\x03\x01\x00\x02\x02\x46", b"\x15\x03\x03\x00\x02\x02\x0a")  # the second has an LF
HELLO = b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x0a\x03"  # begins like a ClientHello

DETAIL = "it speaks TLS, and this side does not"


class PlainTests(SynchronousTestCase):
    def using(self, framing: Any) -> tuple[Any, Any]:
        class Framed(Recorder):
            pass

        Framed.framing = framing
        return made(Framed)

    def test_text_framings(self) -> None:
        """With a framing of text, the connection ends at once, and no hook gets the bytes."""
        for framing in (Lines, SkippingLines, Netstrings, JsonLines, JsonStream):
            for record in (*ALERTS, HELLO):
                connection, peer = self.using(framing)
                peer.send(record)
                self.assertIs(connection.reason, BAD_INPUT, framing)
                self.assertEqual(connection.detail, DETAIL)
                peer.write_eof()
                self.assertEqual(connection.events, ["connected", BAD_INPUT])

    def test_binary_framings(self) -> None:
        """Where such bytes may be a message, they are one."""

        class Whole(BaseFraming[bytes]):
            pending = False  # type: ignore[assignment]

            def encode(self, message: bytes) -> bytes:
                return message

            def parse(self, data: bytes, messages: list[bytes]) -> None:
                messages.append(data)

        for framing in (Raw, Whole):
            connection, peer = self.using(framing)
            peer.send(HELLO)
            self.assertEqual(connection.events, ["connected", HELLO])
        connection, peer = self.using(LengthPrefixed)
        peer.send(b"\x16\x03\x01\x00")
        self.assertIsNot(connection.detail, DETAIL)

    def test_only_at_the_beginning(self) -> None:
        """Later, it is a message like any other."""
        connection, peer = made()
        peer.send(b"a\n", HELLO)
        self.assertEqual(connection.events, ["connected", b"a", HELLO[:-2]])

    def test_the_chat(self) -> None:
        """The chat has an answer of its own for it."""
        peer = connect_peer(ChatFactory())
        peer.take()
        peer.send(HELLO)
        self.assertIs(peer.protocol.reason, BAD_INPUT)
        self.assertIn(b"This port speaks the chat", peer.received)

    def test_others(self) -> None:
        """A peer that only closes, or sends other bytes, is not suspected."""
        for data in (b"", b"\x16", b"\x15\x04\n", b"\x03\x16\n"):
            connection, peer = made()
            peer.send(data)
            peer.write_eof()
            self.assertIs(connection.reason, PEER_CLOSED)
            self.assertNotIn("TLS", connection.detail)


class OverTLSTests(SynchronousTestCase):
    def test_not_tls(self) -> None:
        """A peer that answers in plain text has its sentence in the end's detail."""
        for said in ("wrong version number", "packet length too long", "http request"):
            peer = connect_tls_peer(factory_of(Recorder))
            peer.protocol.connectionLost(Failure(SSL.Error([("SSL routines", "", said)])))
            self.assertEqual(peer.protocol.detail, f"the other side does not speak TLS ({said})")

    def test_other_failures(self) -> None:
        """Others say what OpenSSL says, without its brackets."""
        peer = connect_tls_peer(factory_of(Recorder))
        said = "certificate verify failed"
        peer.protocol.connectionLost(Failure(SSL.Error([("SSL routines", "", said)])))
        self.assertEqual(peer.protocol.detail, said)
