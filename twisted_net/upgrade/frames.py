"""What two processes say to each other during an upgrade: JSON and descriptors, over a Unix socket.

A frame has a head, JSON, and bytes that are too many for JSON. The head has the lengths of both,
and the number of the descriptors, which go with it (``SCM_RIGHTS``).
"""

from __future__ import annotations

import json
import os
import socket
import time
from array import array
from base64 import b64decode, b64encode
from collections.abc import Sequence
from struct import Struct
from typing import Any

from twisted_net import TwistedNetError
from twisted_net.wire.framing import TooLong

MOST_DESCRIPTORS = 253
"""The most descriptors in one message; Linux allows no more (``SCM_MAX_FD`` in unix(7))."""

_HEAD = Struct("!IQH")
_BYTES, _LONG_BYTES, _TOO_LONG = "$bytes", "$long", "$too_long"

_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

_LONG = 256  # bytes from which they stand behind the JSON, and not in it


class UpgradeFailed(TwistedNetError):
    """An upgrade has failed, and the old process goes on. The text says why, in one line."""


class StateEncoder:
    """Turns the states in one frame into JSON.

    :ivar behind: the bytes that stand behind the JSON.
    """

    def __init__(self) -> None:
        self.behind: list[bytes] = []
        self._size = 0
        self._encoder = json.JSONEncoder(default=self._encode_other, separators=(",", ":"))

    def encode(self, state: Any) -> bytes:
        """Return a state as JSON.

        :raises TypeError: something in it is neither JSON nor bytes.
        :raises ValueError: it contains itself.
        """
        return self._encoder.encode(state).encode()

    def _encode_other(self, value: object) -> dict[str, Any]:
        if isinstance(value, bytes | bytearray):
            if len(value) < _LONG:
                return {_BYTES: b64encode(value).decode()}
            start, self._size = self._size, self._size + len(value)
            self.behind.append(bytes(value))
            return {_LONG_BYTES: [start, self._size]}
        if isinstance(value, TooLong):
            return {_TOO_LONG: [value.max_size, value.start]}
        raise TypeError(f"{type(value).__name__} is neither JSON nor bytes")


def decode_state(data: bytes, behind: bytes = b"") -> Any:
    """Return the state of a text from :class:`StateEncoder`.

    :param behind: the bytes that stood behind it.
    """

    def decode_other(found: dict[str, Any]) -> Any:
        if len(found) == 1:
            if _BYTES in found:
                return b64decode(found[_BYTES])
            if _LONG_BYTES in found:
                start, end = found[_LONG_BYTES]
                return behind[start:end]
            if _TOO_LONG in found:
                return TooLong(*found[_TOO_LONG])
        return found

    return json.loads(data, object_hook=decode_other)


class FrameSocket:
    """One end of the Unix socket between the two processes. It blocks.

    :ivar deadline: when to give up waiting for the other side, in seconds of the steady clock.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.deadline: float | None = None

    def fileno(self) -> int:
        """Return the descriptor, for a reactor."""
        return self._end.fileno()

    def close(self) -> None:
        """Close this end; the other process is told."""
        self._end.close()

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        """Send a frame.

        :raises OSError: the other process has ended, or does not read in time.
        """
        encoder = StateEncoder()
        self.send_encoded(encoder.encode(message), descriptors, encoder.behind)

    def send_encoded(
        self, data: bytes, descriptors: Sequence[int] = (), behind: Sequence[bytes] = ()
    ) -> None:
        """Send a frame whose JSON is encoded already. Otherwise like :meth:`send`.

        :param behind: the encoder's.
        """
        self._set_timeout()
        head = _HEAD.pack(len(data), sum(map(len, behind)), len(descriptors))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))]
        sent = self._end.sendmsg([head], rights if descriptors else [])
        self._end.sendall(b"".join((head[sent:], data, *behind)))

    def receive(self) -> tuple[Any, list[int]]:
        """Wait for a frame.

        :return: the message, and its descriptors, which are not inherited by other programs.
        :raises EOFError: the other process has ended.
        :raises OSError: it has sent nothing in time.
        """
        descriptors: list[int] = []
        try:
            size, more, count = _HEAD.unpack(self._read(_HEAD.size, descriptors))
            data = self._read(size, descriptors)
            message = decode_state(data, self._read(more, descriptors))
            if len(descriptors) != count:  # the limit of this process on them was reached
                raise OSError(f"{count - len(descriptors)} of {count} descriptors did not arrive")
        except BaseException:
            for each in descriptors:
                os.close(each)
            raise
        return message, descriptors

    def _read(self, size: int, descriptors: list[int]) -> bytes:
        pieces, missing = [], size
        while missing:
            self._set_timeout()
            space = socket.CMSG_SPACE(MOST_DESCRIPTORS * array("i").itemsize)
            piece, others, _, _ = self._end.recvmsg(min(missing, 1 << 20), space, _CLOEXEC)
            for level, kind, data in others:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    found = array("i")
                    found.frombytes(data[: len(data) - len(data) % found.itemsize])
                    descriptors.extend(found)
            if not piece:
                raise EOFError
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def _set_timeout(self) -> None:
        if self.deadline is not None:
            self._end.settimeout(max(0.001, self.deadline - time.monotonic()))
