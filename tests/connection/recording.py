"""A connection that records its hooks."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.policy.close_reasons import CloseReason
from twisted_net.testing import Peer, TLSPeer, connect_peer, connect_tls_peer


class Recorder(Connection):
    """Records its hooks in ``events``. Some messages are commands."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def connected(self) -> None:
        self.events.append("connected")

    def message_received(self, message: bytes) -> None:
        self.events.append(message)
        if message == b"pause":
            self.pause()
        elif message == b"resume":
            self.resume()
        elif message == b"close":
            self.close()
        elif message == b"abort":
            self.abort()
        elif message == b"finish":
            self.write_eof()
        elif message == b"fail":
            raise RuntimeError("the hook fails")
        elif message.startswith(b"say "):
            self.send(message[4:])

    def disconnected(self, reason: CloseReason) -> None:
        self.events.append(reason)


class Waiting(Recorder):
    """Its message hook waits until the test fires its Deferred in ``hooks``."""

    def __init__(self) -> None:
        super().__init__()
        self.hooks: list[Deferred[Any]] = []
        self.cancelled = 0

    async def message_received(self, message: bytes) -> None:  # type: ignore[override]
        self.events.append(message)
        hook: Deferred[Any] = Deferred(self._count)
        self.hooks.append(hook)
        await hook
        self.events.append(b"done " + message)
        self.send(b"answer to " + message)

    def _count(self, hook: Deferred[Any]) -> None:
        self.cancelled += 1


def factory_of(protocol: Any, **changes: Any) -> ConnectionFactory:
    return ConnectionFactory.forProtocol(protocol, clock=Clock(), **changes)


def made(protocol: Any = Recorder, **changes: Any) -> tuple[Any, Peer]:
    """Return a connection and its peer."""
    peer = connect_peer(factory_of(protocol, **changes))
    return peer.protocol, peer


def made_tls(protocol: Any = Recorder, **changes: Any) -> tuple[Any, TLSPeer]:
    """Return a connection with a completed handshake, and its peer."""
    peer = connect_tls_peer(factory_of(protocol, **changes))
    peer.handshake()
    return peer.protocol, peer


def end_figures(
    seconds: float = 0.0, received: tuple[int, int] = (0, 0), sent: tuple[int, int] = (0, 0)
) -> str:
    """Return what the line about an end has behind the reason and the name.

    :param received: bytes and messages.
    """
    return (
        f", {seconds} s, bytes {received[0]} in, {sent[0]} out, "
        f"messages {received[1]} in, {sent[1]} out"
    )
