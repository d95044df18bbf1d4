"""The calls of a client that wait for an answer. Each ends within the same time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class PendingCalls:
    """Deferreds by key. Each fires with an answer, or fails within ``seconds``.

    All have the same limit, so the oldest expires first, and one timer is enough.

    :param dropped: called with the key of a call that has expired or was cancelled, when it is no
        longer here. It returns the error for a call that has expired.
    """

    def __init__(
        self, clock: IReactorTime, seconds: float, dropped: Callable[[str], Exception]
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._dropped = dropped
        self._calls: dict[str, tuple[float, Deferred[Any]]] = {}  # the oldest first
        self._timer: IDelayedCall | None = None

    def __contains__(self, key: str) -> bool:
        return key in self._calls

    def add(self, key: str) -> Deferred[Any]:
        """Return a new Deferred. If it is cancelled, the call is dropped."""

        def cancel(_: object) -> None:
            if self._calls.pop(key, None) is not None:
                self._dropped(key)

        call: Deferred[Any] = Deferred(cancel)
        self._calls[key] = self._clock.seconds() + self._seconds, call
        if self._timer is None:
            self._timer = self._clock.callLater(self._seconds, self._expire)
        return call

    def answer(self, key: str, result: Any) -> None:
        """Fire a call, if it still waits."""
        if key in self._calls:
            self._calls.pop(key)[1].callback(result)

    def fail(self, key: str, error: Exception) -> None:
        """Fail a call, if it still waits."""
        if key in self._calls:
            self._calls.pop(key)[1].errback(error)

    def fail_all(self, make_error: Callable[[], Exception]) -> None:
        """Fail all calls, each with an error of its own, and stop the timer."""
        calls, self._calls = self._calls, {}
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for _, call in calls.values():
            call.errback(make_error())

    def _expire(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        expired = []
        for key, (deadline, call) in self._calls.items():
            if deadline > now:
                self._timer = self._clock.callLater(deadline - now, self._expire)
                break
            expired.append((key, call))
        for key, _ in expired:
            del self._calls[key]
        for key, call in expired:
            call.errback(self._dropped(key))
