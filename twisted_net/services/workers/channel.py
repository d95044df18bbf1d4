"""The line between the supervisor and a worker: a JSON object a line, over a Unix socket pair.

* ``{"tell": NAME, ...}`` wants no answer.
* ``{"ask": NAME, "id": N, ...}`` is answered by ``{"id": N, "answer": VALUE}``, or by
  ``{"id": N, "error": TEXT, "status": STATUS}``.

Both sides may tell and ask.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net import TwistedNetError
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.eager.moving import adopt_transport, export_transport, resume_transport
from twisted_net.policy.close_reasons import CloseReason
from twisted_net.wire.framing import JsonLines

_log = Logger()

LARGEST = 1 << 26
"""Bytes in a line: a page of a thousand connections has half a million."""


class ChannelError(TwistedNetError):
    """What was asked for cannot be done. The text says why.

    :ivar status: a status of HTTP.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class ControlChannel(Connection):
    """One end of the line.

    :param told: called with the name and the values of what the other end tells.
    :param asked: called with the same of what it asks; returns the answer, or a Deferred of it. A
        :exc:`ChannelError` is passed on to who asks.
    :param lost: called when the line is lost, which means that the other end has ended.
    :ivar is_lost: whether it is.
    """

    framing = JsonLines

    def __init__(
        self,
        told: Callable[[str, dict[str, Any]], object],
        asked: Callable[[str, dict[str, Any]], Any],
        lost: Callable[[], object],
    ) -> None:
        super().__init__()
        self._told = told
        self._asked = asked
        self._lost = lost
        self._waiting: dict[int, Deferred[Any]] = {}
        self._last = 0
        self.is_lost = False

    def tell(self, name: str, **values: Any) -> None:
        """Tell the other end something. If it is gone, nothing happens."""
        if not self.is_lost:
            self.send({"tell": name, **values})

    def ask(self, name: str, **values: Any) -> Deferred[Any]:
        """Ask the other end.

        :return: fires with the answer; fails with :exc:`ChannelError`. Cancel it to stop waiting.
        """
        if self.is_lost or not self.ready:
            return fail(_gone())
        self._last += 1
        number = self._last
        answer: Deferred[Any] = Deferred(lambda _: self._forget(number))
        self._waiting[number] = answer
        self.send({"ask": name, "id": number, **values})
        return answer

    def _forget(self, number: int) -> None:
        self._waiting.pop(number, None)

    # Going on after the process has become new code.

    def save_state(self) -> dict[str, Any]:
        return {"last": self._last}  # old answers must not be taken for new ones

    def load_state(self, state: Mapping[str, Any], /) -> None:
        self._last = state["last"]

    # The other end.

    def message_received(self, message: dict[str, Any], /) -> None:
        if "tell" in message:
            self._told(message.pop("tell"), message)
        elif "ask" in message:
            self._answer(message.pop("ask"), message.pop("id"), message)
        else:
            self._answered(message)

    def disconnected(self, reason: CloseReason, /) -> None:
        self.is_lost = True
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            each.errback(_gone())
        self._lost()

    def _answer(self, name: str, number: int, values: dict[str, Any]) -> None:
        def answered(value: Any) -> None:
            self._reply({"id": number, "answer": value})

        def failed(failure: Failure) -> None:
            error = failure.value
            if not isinstance(error, ChannelError):
                _log.failure("{name} failed", failure, name=name)
                error = ChannelError(500, "The server made a mistake; its log says more.")
            self._reply({"id": number, "error": str(error), "status": error.status})

        maybeDeferred(self._asked, name, values).addCallback(answered).addErrback(failed)

    def _reply(self, message: dict[str, Any]) -> None:
        if not self.is_lost:
            self.send(message)

    def _answered(self, message: dict[str, Any]) -> None:
        waiting = self._waiting.pop(message["id"], None)
        if waiting is None:  # nobody waits any more
            return
        if "error" in message:
            waiting.errback(ChannelError(message["status"], message["error"]))
        else:
            waiting.callback(message["answer"])


def _gone() -> ChannelError:
    return ChannelError(503, "The worker has ended.")


def open_channel(reactor: Any, end: socket.socket, channel: ControlChannel) -> None:
    """Connect a channel to its end of the socket pair, which it closes."""
    with end:
        end.setblocking(False)
        factory = _factory(reactor, channel)
        reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, factory)


def _factory(reactor: Any, channel: ControlChannel) -> ConnectionFactory:
    return ConnectionFactory.forProtocol(
        lambda: channel,
        clock=reactor,
        max_message=LARGEST,
        queue_limit=4 * LARGEST,
        stall_timeout=0,
        message_timeout=0,
        log_ends=False,
    )


def export_channel(channel: ControlChannel, keep: Callable[[int], int]) -> dict[str, Any]:
    """Return what :func:`adopt_channel` needs.

    :param keep: returns the number that a descriptor will have.
    :raises ValueError: it cannot be moved now; the text says why.
    """
    why = channel.why_it_stays()
    if why:
        raise ValueError(why)
    transport: Any = channel.transport
    return {
        "descriptor": keep(transport.fileno()),
        "transport": export_transport(transport),
        "factory": channel.factory.export_state([channel]),
        "connection": channel.export_state(),
    }


def adopt_channel(reactor: Any, state: Mapping[str, Any], channel: ControlChannel) -> None:
    """Let a channel go on where that of :func:`export_channel` has stopped."""
    factory = _factory(reactor, channel)
    factory.restore_state(state["factory"])
    own = state["connection"]
    transport = adopt_transport(
        *(reactor, state["descriptor"], state["transport"]),
        lambda address: factory.make_moved(address, own),
    )
    factory.adopt(channel, transport, own)
    factory.all_adopted()
    resume_transport(transport, state["transport"])
    channel.resume_after_move()
