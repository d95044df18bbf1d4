"""The attempts of a client to reach its server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.python.failure import Failure

from twisted_net.interfaces import ClientEndpoint
from twisted_net.policy.backoff import Backoff


class Attempts:
    """An endpoint and the delays between its attempts, for a ``ReconnectingClient``.

    The service would start again with the shortest delay after each connection. Here the delays
    grow until somebody sets :attr:`failed` to 0, so a server that accepts connections and does
    nothing else is not asked without a pause.

    :param note: called with the reason of each attempt that failed, as one line.
    :ivar failed: the attempts that failed, one after another.
    """

    def __init__(
        self, endpoint: ClientEndpoint, backoff: Backoff, note: Callable[[str], None]
    ) -> None:
        self._endpoint = endpoint
        self._backoff = backoff
        self._note = note
        self.failed = 0

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect; see ``IStreamClientEndpoint``."""
        return self._endpoint.connect(factory).addErrback(self._attempt_failed)

    def delay(self, attempt: int, jitter: float) -> float:
        """Return the seconds to wait before the next attempt."""
        self.failed += 1
        return self._backoff.delay(self.failed, jitter)

    def _attempt_failed(self, failure: Failure) -> Failure:
        if not failure.check(CancelledError, ConnectingCancelledError):  # type: ignore[no-untyped-call]
            self._note(" ".join(failure.getErrorMessage().split()))
        return failure
