"""``framing`` may be any callable, whatever Python makes of it as an attribute of a class."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.testing import connect_peer
from twisted_net.wire.framing import LengthPrefixed, Lines


class Bound(partial[Any]):
    """A partial as Python 3.14 has it: read by an instance, it is a method of that instance."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else partial(self, instance)


class Echo(Connection):
    def message_received(self, message: bytes) -> None:
        self.send(message)


class FramingAttributeTests(SynchronousTestCase):
    def assert_echoes(self, cls: type[Connection], data: bytes) -> None:
        """Check that a connection of a class sends back what it receives."""
        peer = connect_peer(ConnectionFactory.forProtocol(cls))
        peer.send(data)
        self.assertEqual(peer.received, data)

    def test_partial_that_binds(self) -> None:
        """What is documented, ``framing = partial(LengthPrefixed, 2)``, works there."""

        class Prefixed(Echo):
            framing = Bound(LengthPrefixed, 2)

        class Inheriting(Prefixed):
            """Has it from another class."""

        for cls in (Prefixed, Inheriting):
            self.assert_echoes(cls, b"\0\3abc")

    def test_others(self) -> None:
        """So does a partial of this Python, a function, a static method, and a class."""

        def lines(*, max_size: int) -> Lines:
            return Lines(max_size=max_size)

        for each in (partial(Lines), lines, staticmethod(lines), Lines):
            self.assert_echoes(type("Other", (Echo,), {"framing": each}), b"abc\n")

    def test_factories_of_connections(self) -> None:
        """What makes connections is kept on the factory, which binds nothing."""
        made = ConnectionFactory.forProtocol(Bound(Echo))
        peer = connect_peer(made)
        peer.send(b"abc\r\n")
        self.assertEqual(peer.received, b"abc\n")
