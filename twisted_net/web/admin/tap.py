"""Shows what one connection says and hears, message by message, while an operator looks on.

A connection that nobody looks at is not changed in any way. While somebody does, its message hook
and its transport's ``write`` are replaced, on these two objects alone. A broadcast sends on the
sockets of transports that are ``free``, and this one is not free meanwhile: see
:meth:`twisted_net.eager.transports.Eager.join_lane`.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from twisted_net.connection.addresses import format_address
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import user_for_log
from twisted_net.web.admin.endings import Ended
from twisted_net.web.admin.split_secrets import SplitSecrets
from twisted_net.wire.framing import Raw, RemoteProtocolError, TooLong
from twisted_net.wire.json_values import encode_json

MOST_QUEUED = 256 * 1024
"""The bytes that wait for a viewer who reads slowly. What does not fit is counted, and the viewer
gets a line ``{"gap": N}`` in its place."""

_LARGEST_SENT = 1 << 26  # for the framing of what this side sends, which needs no limit


class TapQueue:
    """Lines for a viewer who may read slowly.

    :param write: takes the bytes of whole lines. It may call :meth:`pause`.
    :ivar lines: those that the viewer got.
    :ivar missed: those that did not fit.
    """

    def __init__(self, write: Callable[[bytes], object], most: int = MOST_QUEUED) -> None:
        self._write = write
        self._most = most
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._missed = 0
        self._paused = False
        self._last: tuple[dict[str, Any], Callable[[], None]] | None = None
        self.lines = self.missed = 0

    def add(self, value: dict[str, Any]) -> None:
        """Add a line."""
        line = encode_json(value) + b"\n"
        if not self._paused:
            self.lines += 1
            self._write(line)
        elif self._missed or self._size + len(line) > self._most:
            self._missed += 1  # until there is room for the gap's own line
            self.missed += 1
        else:
            self._waiting.append(line)
            self._size += len(line)

    def pause(self) -> None:
        """The viewer does not read: keep the lines."""
        self._paused = True

    def resume(self) -> None:
        """The viewer reads again."""
        self._paused = False
        while self._waiting and not self._paused:
            line = self._waiting.popleft()
            self._size -= len(line)
            self.lines += 1
            self._write(line)
        if self._missed and not self._paused:
            missed, self._missed = self._missed, 0
            self.add({"gap": missed})
        if self._last is not None and not self._paused:
            (value, done), self._last = self._last, None
            self.add(value)
            done()

    def end(self, value: dict[str, Any], done: Callable[[], None]) -> None:
        """Add the last line, however much waits, and call ``done`` when the viewer has it."""
        self._last = value, done
        if not self._paused:
            self.resume()


@implementer(IPushProducer)
class Tap:
    """Looks on at one connection, until the viewer leaves or the connection ends.

    :param connection: the connection; it must be open.
    :param write: takes bytes for the viewer, as a transport does whose producer this is.
    :param ended: called when the connection has ended, after the last line.
    :param hide: returns a message without its passwords.
    :param now: returns the time, in seconds since 1970.
    :ivar queue: what waits for the viewer.
    """

    def __init__(
        self,
        connection: Connection,
        write: Callable[[bytes], object],
        ended: Callable[[], None],
        hide: Callable[[bytes], bytes],
        now: Callable[[], float],
    ) -> None:
        self.queue = TapQueue(write)
        self._connection = connection
        self._transport = connection.transport
        self._hide = hide
        self._now = now
        self._tell_ended = ended
        kind = type(connection)
        sent_framing = kind.sent_framing or kind.framing
        self._framing = sent_framing(max_size=_LARGEST_SENT)
        self._streams = {
            direction: SplitSecrets()
            for direction, framing in (("in", kind.framing), ("out", sent_framing))
            if framing is Raw  # else each message has its secrets whole
        }
        self._received = connection.message_received
        self._sent = connection.transport.write
        self._looks_on = self._has_ended = False

    def begin(self) -> None:
        """Begin to look on, unless the connection has ended meanwhile.

        :raises AttributeError: the transport's methods cannot be replaced; then nothing is.
        """
        if self._has_ended:
            return
        connection, transport = self._connection, self._transport
        transport.write = self._write  # raises if it has slots
        self._looks_on = True
        transport.free = _not_free
        connection.leave_lane()
        connection.message_received = self._receive  # type: ignore[method-assign]
        self.queue.add(
            {
                "tap": connection.id,
                "time": self._now(),
                "peer": format_address(connection.peer),
                "name": user_for_log(connection),
            }
        )

    def end(self) -> None:
        """Stop looking on: the connection is as it was before."""
        if not self._looks_on:
            return
        self._looks_on = False
        for owner, name in (
            (self._transport, "write"),
            (self._transport, "free"),
            (self._connection, "message_received"),
        ):
            vars(owner).pop(name, None)

    def connection_ended(self, ended: Ended) -> None:
        """Tell the viewer why the connection has ended."""
        self._has_ended = True
        self.end()
        for direction, stream in self._streams.items():
            for piece in stream.flush():
                self._add(direction, piece)
        line: dict[str, Any] = {"time": self._now(), "ended": ended.reason}
        if ended.detail:
            line["detail"] = ended.detail
        self.queue.end(line, self._tell_ended)

    # What is said and heard.

    def _receive(self, message: Any) -> Any:
        self._show("in", message)
        return self._received(message)

    def _write(self, data: bytes) -> None:
        self._sent(data)
        try:
            messages = self._framing.feed(data)
        except RemoteProtocolError as error:  # it cannot be taken apart
            self._framing = (type(self._connection).framing)(max_size=_LARGEST_SENT)
            messages = [*error.messages, data]
        for message in messages:
            self._show("out", message)

    def _show(self, direction: str, message: Any) -> None:
        stream = self._streams.get(direction)
        for piece in [message] if stream is None else stream.feed(bytes(message)):
            self._add(direction, piece)

    def _add(self, direction: str, message: Any) -> None:
        line: dict[str, Any] = {"time": self._now(), "dir": direction}
        if isinstance(message, TooLong):
            line["too_long"] = True  # its beginning may be a password
        else:
            line |= self._as_json(message)
        self.queue.add(line)

    def _as_json(self, message: Any) -> dict[str, Any]:
        if isinstance(message, str):
            message = message.encode(errors="replace")
        if not isinstance(message, bytes | bytearray | memoryview):
            try:
                message = encode_json(message)  # of a framing that parses JSON
            except (TypeError, ValueError):
                message = repr(message).encode()
        data = bytes(message)
        hidden = self._hide(data)
        try:
            return {"size": len(data), "text": hidden.decode()}
        except UnicodeDecodeError:
            return {"size": len(data), "base64": base64.b64encode(hidden).decode()}

    # The viewer's transport.

    def pauseProducing(self) -> None:
        self.queue.pause()

    def resumeProducing(self) -> None:
        self.queue.resume()

    def stopProducing(self) -> None:
        """The viewer has gone."""
        self.queue.pause()


def _not_free() -> bool:
    return False
