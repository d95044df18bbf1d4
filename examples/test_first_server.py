"""Tests of first_server.py: ``python -m twisted.trial test_first_server``."""

from first_server import Shout
from twisted.trial.unittest import SynchronousTestCase

from twisted_net import ConnectionFactory
from twisted_net.testing import answers, connect_peer


class ShoutTests(SynchronousTestCase):
    def factory(self) -> ConnectionFactory:
        return ConnectionFactory.forProtocol(Shout, idle_timeout=60)

    def test_each_line_is_answered(self) -> None:
        """However the bytes arrive: at once, in two pieces, or one by one."""
        self.assertEqual(answers(self.factory, b"hello\r\nyou\n"), b"HELLO\nYOU\n")

    def test_a_silent_client_is_closed(self) -> None:
        peer = connect_peer(self.factory())
        peer.advance(59)
        self.assertTrue(peer.connected)
        peer.advance(2)
        self.assertEqual(str(peer.protocol.reason), "idle")

    def test_a_client_that_does_not_read_is_read_no_more(self) -> None:
        peer = connect_peer(self.factory())
        peer.full()
        peer.send(b"hello\n" * 20_000)
        self.assertFalse(peer.reading)
        peer.drain()
        self.assertTrue(peer.reading)
        self.assertEqual(peer.received, b"HELLO\n" * 20_000)
