"""The transports that have written, and send when the event that caused the writing ends."""

from __future__ import annotations

from typing import Any, Protocol
from weakref import WeakKeyDictionary

from twisted.logger import Logger

_log = Logger()

TRANSPORTS_PER_FLUSH = 512
"""Transports flushed before the reactor polls again: about two milliseconds of sending."""

LARGE = 8192
"""Bytes from which batching does not help. They are better sent while they are in the cache."""


class BatchedTransport(Protocol):
    """A transport that waits to send."""

    def flush_batched(self) -> None:
        """Send what the socket takes."""

    def leave_to_poller(self) -> None:
        """Leave the batch and wait for the poller."""


class WriteBatch:
    """The transports of one reactor that have bytes to send when the event ends.

    :ivar open: whether an event is being handled, whose end flushes. Otherwise nothing is batched.
    :ivar always_open: whether it is always open, because the reactor flushes once a turn.
    :ivar waiting: the transports, each once.
    :ivar large: transports with much to send. With a reactor that flushes once a turn, they are
        flushed after each event.
    """

    __slots__ = ("always_open", "large", "open", "waiting")

    def __init__(self, always_open: bool = False) -> None:
        self.always_open = always_open
        self.open = always_open
        self.waiting: list[BatchedTransport] = []
        self.large: list[BatchedTransport] = []

    def flush(self, at_most: int | None = None) -> None:
        """Send what the first ``at_most`` waiting transports have; without it, all of them."""
        if self.large:
            self.flush_large()
        waiting = self.waiting
        if at_most is None or len(waiting) <= at_most:
            self.waiting = []
        else:
            self.waiting = waiting[at_most:]
            del waiting[at_most:]
        _flush(waiting)

    def flush_large(self) -> None:
        """Flush the transports that have much to send."""
        large, self.large = self.large, []
        _flush(large)

    def leave_to_poller(self) -> None:
        """Make every transport leave the batch and wait for the poller."""
        waiting = self.large + self.waiting
        self.waiting, self.large = [], []
        for transport in waiting:
            transport.leave_to_poller()


def _flush(transports: list[BatchedTransport]) -> None:
    for transport in transports:
        try:
            transport.flush_batched()
        except Exception:
            _log.failure("Cannot send what {transport} has gathered", transport=transport)


_batches: WeakKeyDictionary[Any, WriteBatch] = WeakKeyDictionary()


def batch_of(reactor: Any) -> WriteBatch:
    """Return the batch of a reactor: its own, or the one that is kept here for it."""
    batch = getattr(reactor, "batch", None)
    if not isinstance(batch, WriteBatch):
        batch = _batches.get(reactor)
        if batch is None:
            batch = _batches[reactor] = WriteBatch()
    return batch
