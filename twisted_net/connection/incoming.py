"""The messages of a connection for a loop: ``async for message in connection``.

The loop takes the place of ``message_received``. While it waits for a message, the peer is read;
while it is busy with one, it is not. So a slow loop slows down the peer, as an ``async`` hook does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail

from twisted_net import TwistedNetError
from twisted_net.policy.close_reasons import CLOSED, DRAINING, PEER_CLOSED, QUIT, CloseReason
from twisted_net.wire.framing import LocalProtocolError

_CLEAN = (PEER_CLOSED, CLOSED, QUIT, DRAINING)
"""The reasons after which a loop just ends: one of the two sides has closed, and lost nothing."""

_CUT = "The peer closed in the middle of a message."


class ConnectionClosed(TwistedNetError):
    """A loop over the messages of a connection has ended, and not because a side just closed.

    :ivar reason: why the connection ended. With ``peer-closed``, the peer closed in the middle of a
        message.
    :ivar detail: more about it; may be empty.
    """

    def __init__(self, reason: CloseReason, detail: str = "") -> None:
        text = _CUT if reason is PEER_CLOSED else reason.text
        super().__init__(f"{text} ({detail})" if detail else text)
        self.reason = reason
        self.detail = detail


class Incoming:
    """The messages of one connection, one at a time. ``aiter(connection)`` gives it.

    :param resume: lets the connection be read.
    :param pause: undoes that.
    :param give_back: gives the messages back to the hook.
    """

    __slots__ = ("_detail", "_give_back", "_is_over", "_pause", "_reason", "_resume", "_waiting")

    def __init__(
        self,
        resume: Callable[[], None],
        pause: Callable[[], None],
        give_back: Callable[[], None],
    ) -> None:
        self._resume = resume
        self._pause = pause
        self._give_back = give_back
        self._waiting: Deferred[Any] | None = None
        self._is_over = False
        self._reason: CloseReason | None = None  # of an end that is not clean
        self._detail = ""

    def __aiter__(self) -> Incoming:
        return self

    def __anext__(self) -> Deferred[Any]:
        """Return what fires with the next message.

        It fails with :exc:`StopAsyncIteration` or :exc:`ConnectionClosed` at the end, and with
        :exc:`LocalProtocolError` if another loop waits already.
        """
        if self._is_over:
            return fail(self._ending())
        if self._waiting is not None:
            return fail(LocalProtocolError("another loop waits for this connection's messages"))
        waiting = self._waiting = Deferred(self._cancelled)
        self._resume()  # it may fire at once
        return waiting

    def close(self) -> None:
        """Give the messages from now on to ``message_received`` again, after a loop was left."""
        self._give_back()

    def receive(self, message: Any, /) -> None:
        """Take a message from the connection. One is delivered only while a loop waits for it."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(message)  # runs the loop up to its next wait
        if self._waiting is None and not self._is_over:
            self._pause()

    def end(self, reason: CloseReason, detail: str = "", *, cut: bool = False) -> None:
        """End the loop: nothing more comes. Only the first call counts.

        :param cut: whether a message was incomplete.
        """
        if self._is_over:
            return
        self._is_over = True
        if cut or reason not in _CLEAN:
            self._reason, self._detail = reason, detail
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(self._ending())

    def _ending(self) -> Exception:
        if self._reason is None:
            return StopAsyncIteration()
        return ConnectionClosed(self._reason, self._detail)

    def _cancelled(self, waiting: Deferred[Any]) -> None:
        self._waiting = None
        self._pause()
