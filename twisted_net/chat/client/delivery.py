"""Passes the messages of a client on to its program."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

_log = Logger()


class Delivery:
    """The messages for a program: for its callbacks, and for as many iterations as it has.

    :param buffer: messages that may wait for an iteration; the oldest are dropped beyond that.
    :ivar is_ended: whether no message will follow those that wait.
    """

    def __init__(self, buffer: int) -> None:
        self.is_ended = False
        self.waiting: deque[dict[str, Any]] = deque(maxlen=buffer)
        self._readers: list[Deferred[None]] = []

    def add(self, message: dict[str, Any], callback: Callable[[Any], None] | None) -> None:
        """Pass on a message to the iterations and to a callback."""
        self.waiting.append(message)
        self._wake()
        self.tell("on_message", callback, message)

    def tell(self, name: str, callback: Callable[[Any], None] | None, what: Any) -> None:
        """Call a callback of the program. If it fails, that is logged."""
        if callback is not None:
            try:
                callback(what)
            except Exception:
                _log.failure("A client's {name} failed", name=name)

    def end(self) -> None:
        """End all iterations, after the messages that wait for them."""
        self.is_ended = True
        self._wake()

    async def next(self) -> dict[str, Any] | None:
        """Wait for the next message, and return it; None after the last one."""
        while not self.waiting:
            if self.is_ended:
                return None
            reader: Deferred[None] = Deferred(self._readers.remove)
            self._readers.append(reader)
            await reader
        return self.waiting.popleft()

    def _wake(self) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.callback(None)
