"""Forwarding: everything from a client to an upstream, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Unpack

from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory, FactorySettings
from twisted_net.interfaces import ClientEndpoint
from twisted_net.policy.close_reasons import (
    CLOSED,
    PEER_CLOSED,
    PEER_RESET,
    UPSTREAM,
    CloseReason,
)
from twisted_net.wire.framing import Raw


class _Side(Connection):
    """One of two connections whose bytes go to the other."""

    framing = Raw
    reads_while_full = True  # whether it is read depends on the other side's output, not its own

    other: _Side | None = None

    def message_received(self, message: bytes) -> None:
        other = self.other
        if other is not None and not other.send_encoded(message) and other.reason is None:
            self.pause()
            # It fails if the other side ends; then so does this one.
            other.drained().addCallbacks(lambda _: self.resume(), lambda _: None)

    def disconnected(self, reason: CloseReason) -> None:
        other, self.other = self.other, None
        if other is None:
            return
        other.other = None
        if reason is PEER_RESET:
            other.abort(self.ends_other_with(reason))
        else:
            other.close(self.ends_other_with(reason))

    def ends_other_with(self, reason: CloseReason) -> CloseReason:
        """For what reason the other side ends when this one has ended."""
        return reason

    def eof_received(self) -> None:
        if self.other is None:
            self.close(PEER_CLOSED)
            return
        self.other.write_eof()
        if self.eof_written:  # both have finished
            self.close(PEER_CLOSED)


class ForwardProtocol(_Side):
    """The client's side. It opens the upstream's, and its idle limit watches both."""

    factory: ForwardFactory

    _moved = -1  # what the upstream had been sent when it was last looked at

    async def connected(self) -> None:
        upstream: Any = None  # any protocol, until it is looked at
        try:
            upstream = await self.factory.upstream.connect(self.factory.upstream_factory)
            assert isinstance(upstream, UpstreamProtocol)
            await upstream.wait_ready()
        except Exception as error:
            if upstream is not None:
                upstream.abort()
            # If the client has gone, which cancelled the attempt, this does nothing.
            self.close(UPSTREAM, " ".join(str(error).split()) or type(error).__name__)
            return
        if self.reason is not None:
            upstream.abort()
            return
        self.other, upstream.other = upstream, self
        upstream.resume()

    def close(self, reason: CloseReason = CLOSED, detail: str = "") -> None:
        super().close(reason, detail)
        if self.other is not None:
            self.other.close(reason)

    @property
    def is_listening(self) -> bool:
        """Whether the pair's silence is its own: so it is, too, if the upstream does not read."""
        return super().is_listening or (self.other is not None and self.other.is_full)

    def idle_expired(self) -> bool:
        # A client that is held by its upstream is not idle, unless that takes nothing at all. A
        # full transport shows only now and then that it moves: look at it twice.
        other = self.other
        if other is None or not other.is_full or other.bytes_sent == self._moved:
            return False
        self._moved = other.bytes_sent
        return True


class UpstreamProtocol(_Side):
    """The upstream's side."""

    def connected(self) -> None:
        self.pause()  # until somebody is there to hear it

    def write_eof(self) -> None:
        # TLS has no half-close, and to close would lose the answer. The client's limit watches it.
        if self.can_write_eof():
            super().write_eof()

    def message_received(self, message: bytes) -> None:
        if self.other is not None:
            self.other.touch()  # a client that only listens is not idle
        super().message_received(message)

    def ends_other_with(self, reason: CloseReason) -> CloseReason:
        return CLOSED if reason is PEER_CLOSED else UPSTREAM


class ForwardFactory(ConnectionFactory):
    """Connects each client to an upstream of its own and passes bytes both ways.

    A side is read only as fast as the other one takes; half-closes are passed on. Where the
    upstream cannot be reached, the client is closed (``upstream``), and the log has a line.

    :param upstream: where to connect to, for each client.
    :param clock: as in :class:`ConnectionFactory`, and so is the rest.
    """

    protocol = ForwardProtocol

    def __init__(
        self,
        upstream: ClientEndpoint,
        **settings: Unpack[FactorySettings],
    ) -> None:
        super().__init__(**settings)
        self.upstream = upstream
        # The client's side has the idle limit: it is touched by what comes from either.
        self.upstream_factory = ConnectionFactory.forProtocol(
            UpstreamProtocol,
            clock=settings.get("clock"),
            limits=replace(self.limits, idle_timeout=0.0, rate=0.0),
            budget=self.budget,
            log_ends=self.log_ends,
        )
