"""Says which worker gets the next connection. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

WorkerT = TypeVar("WorkerT")


class Rotation(Generic[WorkerT]):
    """Gives each worker in turn.

    Round robin, as Node's ``cluster`` does, and not the worker with the fewest connections: that
    one may be new, and would get all connections of a burst.

    :param may_take: returns whether a worker may get a connection now.
    """

    def __init__(self, may_take: Callable[[WorkerT], bool]) -> None:
        self._may_take = may_take
        self._next = 0

    def candidates(self, workers: Sequence[WorkerT]) -> Iterator[WorkerT]:
        """Give the workers that may take a connection, the one whose turn it is first.

        The turn passes on with each that is given.
        """
        for _ in range(len(workers)):
            worker = workers[self._next % len(workers)]
            self._next = (self._next + 1) % len(workers)
            if self._may_take(worker):
                yield worker
