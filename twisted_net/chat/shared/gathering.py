"""Waits for many answers of the store at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure

Item = TypeVar("Item")


def in_batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield the items, at most ``size`` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def gather(waiting: Sequence[Deferred[Any]]) -> Deferred[list[Any]]:
    """Return all results, in order. It fails with the failure of the first that fails."""
    return gatherResults(waiting, consumeErrors=True).addErrback(_first_failure)


def _first_failure(failure: Failure) -> Failure:
    found = getattr(failure.value, "subFailure", failure)
    return found if isinstance(found, Failure) else failure
