"""Broadcasts to members of several kinds: :mod:`twisted_net.connection.encoded_broadcast`."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.web.sockets import WebSocketPeer, opening
from twisted_net import ConnectionFactory, EncodedBroadcast, WebSocketFactory
from twisted_net.connection.connection import Connection
from twisted_net.testing import Peer, connect_peer


class EncodedBroadcastTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.room: EncodedBroadcast[str] = EncodedBroadcast(self.clock)
        self.encoded: list[str] = []

    def as_line(self, text: str) -> bytes:
        self.encoded.append(text)
        return text.encode() + b"\n"

    def person(self) -> Peer:
        peer = connect_peer(ConnectionFactory.forProtocol(Connection, clock=self.clock))
        self.room.add(peer.protocol, self.as_line)
        return peer

    def browser(self, *fields: str, window_bits: int = 0) -> WebSocketPeer:
        factory = WebSocketFactory(clock=self.clock)
        client = WebSocketPeer(connect_peer(factory), opening("/", *fields), window_bits)
        self.room.add(client.peer.protocol, client.peer.protocol.encoder)
        return client

    def publish(self, text: str, sender: Any = None) -> None:
        self.room.publish(text, sender)
        self.clock.advance(0)

    def test_side_by_side(self) -> None:
        """Each gets the message in its own encoding, and not what it has sent itself."""
        ann, bob = self.person(), self.person()
        web, packed = (
            self.browser(),
            self.browser("Sec-WebSocket-Extensions: permessage-deflate", window_bits=12),
        )
        self.assertEqual(len(self.room), 4)
        long = "long " * 1000
        self.publish(long, ann.protocol)
        self.assertEqual((ann.take(), bob.take()), (b"", long.encode() + b"\n"))
        self.assertLess(len(packed.peer.received) * 5, len(web.peer.received))
        self.assertEqual((web.take(), packed.take()), ([long], [long]))
        self.publish("hi", web.peer.protocol)
        self.assertEqual((web.take(), packed.take(), ann.take()), ([], ["hi"], b"hi\n"))

    def test_encoded_once(self) -> None:
        """However many members there are; and not at all if there is none of the kind."""
        people = [self.person() for _ in range(3)]
        self.browser(), self.browser()
        self.publish("a")
        self.assertEqual(self.encoded, ["a"])
        for each in people:
            self.room.discard(each.protocol)
        self.publish("b")
        self.assertEqual(self.encoded, ["a"])

    def test_leaving(self) -> None:
        """Who leaves gets what was published before, and nothing after; who comes back, again."""
        ann = self.person()
        self.room.publish("before")
        self.room.discard(ann.protocol)
        self.room.discard(ann.protocol)
        self.assertNotIn(ann.protocol, self.room)
        self.publish("after")
        self.room.add(ann.protocol, self.as_line)
        self.publish("again")
        self.assertEqual(ann.take(), b"before\nagain\n")

    def test_another_encoder(self) -> None:
        ann = self.person()
        self.room.add(ann.protocol, self.as_line)
        self.assertRaises(ValueError, self.room.add, ann.protocol, str.encode)
        self.assertEqual(len(self.room), 1)

    def test_an_encoder_that_fails(self) -> None:
        """Then nobody gets the message."""
        ann, web = self.person(), self.browser()
        self.assertRaises(ValueError, self.room.publish, "\ud800")
        self.clock.advance(0)
        self.assertEqual((ann.take(), web.take()), (b"", []))
