"""Wait until the kernel has taken what a connection was sent.

A transport tells its producer when it has become empty after it was full. A transport that was not
full tells nothing, so it is asked: in the next turn, when nearly always everything is gone, and
then more and more rarely.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ISSLTransport

_FIRST, _MOST = 0.002, 0.1  # seconds between two looks


class _Sender(Protocol):
    """What is needed of a connection."""

    is_full: bool

    @property
    def bytes_sent(self) -> int: ...

    @property
    def queued(self) -> int: ...

    @property
    def write_buffer_size(self) -> int: ...

    @property
    def transport(self) -> object: ...


class Flushes:
    """Those who wait for the kernel, and how many bytes each of them waits for."""

    __slots__ = ("_call", "_clock", "_pause", "_sender", "_taken", "_waiting")

    def __init__(self, sender: _Sender, clock: IReactorTime) -> None:
        self._sender = sender
        self._clock = clock
        self._waiting: list[tuple[int, Deferred[None]]] = []
        self._call: IDelayedCall | None = None
        self._pause = _FIRST
        self._taken = 0  # bytes that were sent when the transport was last empty

    @property
    def waiting(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def add(self) -> Deferred[None]:
        """Wait for everything that was sent so far."""
        sender = self._sender
        waiting: Deferred[None] = Deferred()
        self._waiting.append((sender.bytes_sent + sender.queued, waiting))
        if self._call is None or self._pause > _FIRST:
            self._look_after(0)
        return waiting

    def emptied(self) -> None:
        """The transport was full, and is empty now. Nobody is told before the next turn."""
        self._taken = self._sender.bytes_sent
        if self._waiting:
            self._look_after(0)

    def end(self, all_taken: bool) -> None:
        """The transport is gone."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        waiting, self._waiting = self._waiting, []
        if all_taken:
            _fire(waiting)
        for _, each in waiting:
            each.cancel()  # without effect on those that have fired

    def _look_after(self, seconds: float) -> None:
        if self._call is not None:
            self._call.cancel()
        self._pause = min(_MOST, 2 * seconds) or _FIRST
        self._call = self._clock.callLater(seconds, self._look)

    def _look(self) -> None:
        self._call = None
        sender = self._sender
        unsent = sender.write_buffer_size
        taken = self._taken
        if not ISSLTransport.providedBy(sender.transport):  # what TLS holds is encrypted
            taken = max(taken, sender.bytes_sent - (unsent - sender.queued))
        # If nothing is unsent, nobody waits: what else was counted was dropped.
        waiting = self._waiting
        done = [each for each in waiting if not unsent or each[0] <= taken]
        self._waiting = [each for each in waiting if unsent and each[0] > taken]
        _fire(done)
        if self._waiting and not sender.is_full and self._call is None:
            self._look_after(self._pause)


def _fire(waiting: list[tuple[int, Deferred[None]]]) -> None:
    for _, each in waiting:
        if not each.called:  # it may have been cancelled
            each.callback(None)
