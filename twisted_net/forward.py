"""Forwarding: send all data from a client to an upstream, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Unpack

from twisted.internet.defer import Deferred

from twisted_net.connection.connection import Connection, PauseReason
from twisted_net.connection.factory import ConnectionFactory, FactorySettings
from twisted_net.connection.progress import SendProgress, bytes_waiting, send_progress
from twisted_net.interfaces import ClientEndpoint
from twisted_net.policy.budget import MemoryBudget
from twisted_net.policy.close_reasons import (
    CLOSED,
    PEER_CLOSED,
    PEER_RESET,
    UPSTREAM,
    CloseReason,
)
from twisted_net.policy.limits import LimitChanges
from twisted_net.wire.framing import Raw


class _Side(Connection):
    """One of two connections that forward their bytes to each other."""

    framing = Raw
    reads_while_full = True  # whether to read depends on the other side's transport, not on its own

    other: _Side | None = None
    waits_for_other = False  # until the other side's transport has room again
    _progress: SendProgress | None = None  # at the last idle check with bytes waiting

    def takes_more(self) -> bool:
        """Return whether the peer has taken some of what waits for it since the last call.

        If there was no call before, that cannot be known, and the result is True.
        """
        if not self.is_full and not bytes_waiting(self):
            return False
        before, self._progress = self._progress, send_progress(self)
        return before is None or self._progress.is_after(before)

    def message_received(self, message: bytes) -> Deferred[None] | None:
        other = self.other
        if other is None or other.send_encoded(message) or other.reason is not None:
            return None
        # The next message waits for this, even if this side's peer has closed meanwhile. It fails
        # if the other side ends; then this side ends too.
        return self._wait_for_room(other)

    def _wait_for_room(self, other: _Side) -> Deferred[None]:
        self.waits_for_other = True

        def over(_: object) -> None:
            self.waits_for_other = False

        return other.drained().addBoth(over)

    # Moving to another process. Both sides go together, or neither.

    def why_it_stays(self) -> str:
        if self.other is None:
            return "it has no other side"
        return super().why_it_stays() or self.other.own_obstacle()

    def own_obstacle(self) -> str:
        """Return why this side cannot be moved, whatever the other one can."""
        return super().why_it_stays()

    def is_awaited(self) -> bool:
        waits = self.other is not None and self.other.waits_for_other
        return (self.is_busy and not self.waits_for_other) or self.drain_waits > waits

    def export_state(self) -> dict[str, Any]:
        state = super().export_state()
        if self.waits_for_other:
            state["pauses"] &= ~PauseReason.HANDLER
            state["waits_for_other"] = True
        return state

    def continue_on(self, transport: Any, state: Mapping[str, Any]) -> None:
        super().continue_on(transport, state)
        self.waits_for_other = state.get("waits_for_other", False)

    def join(self, other: _Side) -> None:
        """Go on with the other side, which has been moved as well."""
        self.other = other
        if self.waits_for_other:
            self.call_hook(self._wait_for_room, other)

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
        """Return the reason for which to close the other side after this one."""
        return reason

    def eof_received(self) -> None:
        if self.other is None:
            self.close(PEER_CLOSED)
            return
        self.other.write_eof()
        if self.eof_written:  # both sides have finished sending
            self.close(PEER_CLOSED)


class ForwardProtocol(_Side):
    """The client's side. It opens the upstream connection, and its idle limit covers both sides."""

    factory: ForwardFactory
    moved_with = 0  # the number of the other side, until both are moved

    def save_state(self) -> dict[str, Any]:
        return {"other": 0 if self.other is None else self.other.id}

    def load_state(self, state: Mapping[str, Any], /) -> None:
        self.moved_with = state["other"]

    @property
    def upstream(self) -> Connection | None:
        """The upstream's side, once it is connected."""
        return self.other

    async def connected(self) -> None:
        upstream: Any = None  # any protocol, until it is checked
        try:
            upstream = await self.factory.upstream.connect(self.factory.upstream_factory)
            assert isinstance(upstream, UpstreamProtocol)
            await upstream.wait_ready()
        except Exception as error:
            if upstream is not None:
                upstream.abort()
            # If the client left, which cancelled the attempt, this does nothing.
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
        """Whether silence is the peers' own doing. This includes an upstream that does not read."""
        return super().is_listening or (self.other is not None and self.other.is_full)

    def idle_expired(self) -> bool:
        # While one side slowly takes what the other has sent, the other is not read, so silence
        # tells nothing. Ask both, so that each notes how far it is.
        takes = self.takes_more()
        return (self.other is not None and self.other.takes_more()) or takes


class UpstreamProtocol(_Side):
    """The upstream's side."""

    def save_state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any], /) -> None:
        """Do nothing: the client's side knows the other one."""

    def connected(self) -> None:
        self.pause()  # until the client's side is connected to it

    def write_eof(self) -> None:
        # TLS has no half-close, and closing would lose the answer. The client's idle limit covers
        # this side.
        if self.can_write_eof():
            super().write_eof()

    def message_received(self, message: bytes) -> Deferred[None] | None:
        if self.other is not None:
            self.other.touch()  # a client that only receives is not idle
        return super().message_received(message)

    def ends_other_with(self, reason: CloseReason) -> CloseReason:
        return CLOSED if reason is PEER_CLOSED else UPSTREAM


class ForwardFactory(ConnectionFactory):
    """Connect each client to its own upstream connection and pass bytes both ways.

    Each side is read only as fast as the other side accepts data. Half-closes are passed on. If the
    upstream cannot be reached, the client is closed (``upstream``), and this is logged.

    :param upstream: the endpoint to connect to, for each client.
    :param settings: the same arguments as for :class:`ConnectionFactory`.
    """

    protocol = ForwardProtocol

    def __init__(
        self,
        upstream: ClientEndpoint,
        **settings: Unpack[FactorySettings],
    ) -> None:
        super().__init__(**settings)
        self.upstream = upstream
        # Only the client's side has the idle limit and the rate; data from either side restarts the
        # idle limit.
        self.upstream_factory = ConnectionFactory.forProtocol(
            UpstreamProtocol,
            clock=settings.get("clock"),
            limits=replace(self.limits, idle_timeout=0.0, rate=0.0),
            budget=self.budget,
            log_ends=self.log_ends,
        )

    def change_limits(self, **changes: Unpack[LimitChanges]) -> None:
        super().change_limits(**changes)
        upstream = LimitChanges(**changes)
        upstream.pop("idle_timeout", None)
        upstream.pop("rate", None)
        self.upstream_factory.change_limits(**upstream)

    def change_budget(self, budget: MemoryBudget[Connection] | None) -> None:
        super().change_budget(budget)
        self.upstream_factory.change_budget(budget)

    def all_adopted(self) -> None:
        super().all_adopted()
        for client in list(self.connections.values()):
            if isinstance(client, ForwardProtocol) and client.moved_with:
                upstream = self.upstream_factory.connections.get(client.moved_with)
                if isinstance(upstream, UpstreamProtocol):
                    client.join(upstream)
                    upstream.join(client)
                else:
                    client.close(UPSTREAM, "it was not moved")
