"""The protocol of Redis, RESP3 (https://redis.io/docs/latest/develop/reference/protocol-spec/).

The parser is hiredis, of the makers of Redis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import hiredis
from hiredis import PushNotification

from twisted_net.store.redis.errors import RedisReplyError
from twisted_net.wire.framing import BaseFraming, LocalProtocolError, RemoteProtocolError

RedisCommand: TypeAlias = Sequence[str | bytes | int]
"""A command: its name and its arguments. Text is sent as UTF-8."""

Push = PushNotification
"""The type of what Redis sends without being asked: a list, such as ``[b"message", ...]``."""

_INCOMPLETE = object()


class Resp(BaseFraming[Any]):
    """Replies come in and commands go out.

    Replies are bytes, numbers, lists, dictionaries, None, :class:`Push` lists, or a
    :class:`RedisReplyError`.

    :param max_size: the most bytes of one reply.
    """

    __slots__ = ("_reader", "_size")

    def __init__(self, *, max_size: int = 64 << 20) -> None:
        super().__init__(max_size=max_size)
        self._reader = hiredis.Reader(replyError=RedisReplyError, notEnoughData=_INCOMPLETE)
        self._size = 0  # the bytes of the reply that is incomplete

    def parse(self, data: bytes, messages: list[Any]) -> None:
        if not data:
            return
        reader = self._reader
        reader.feed(data)
        before = len(messages)
        try:
            while (reply := reader.gets()) is not _INCOMPLETE:
                messages.append(reply)
        except Exception as error:  # also of what cannot be made of a reply, such as a bad map
            raise RemoteProtocolError("bad-input", f"this is not Redis: {error}") from None
        if len(messages) > before:
            # Not more than the last piece has brought; the rest of it belongs to whole replies.
            self._size = len(data) if reader.has_data() else 0
        else:
            self._size += len(data)
        if self._size > self.max_size:
            text = f"a reply of Redis has more than {self.max_size} bytes"
            raise RemoteProtocolError("too-long", text)

    def drop_buffers(self) -> None:
        self._reader = hiredis.Reader()
        self._size = 0

    @property
    def pending(self) -> bool:
        return self._size > 0

    def encode(self, message: RedisCommand, /) -> bytes:
        return encode_command(message)


def encode_command(command: RedisCommand) -> bytes:
    """Return a command as bytes.

    :raises LocalProtocolError: it has something that is neither text, bytes nor a whole number.
    """
    try:
        packed: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise LocalProtocolError(f"this is no command of Redis: {error}") from None
    return packed
