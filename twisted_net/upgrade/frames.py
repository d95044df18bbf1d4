"""What two processes say to each other during an upgrade: JSON and descriptors, over a Unix socket.

A frame has a head, the length of its JSON and the number of its descriptors, and the JSON.
Descriptors go with the head (``SCM_RIGHTS``).
"""

from __future__ import annotations

import json
import os
import select
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

_HEAD = Struct("!IH")
_BYTES, _TOO_LONG = "$bytes", "$too_long"


class UpgradeFailed(TwistedNetError):
    """An upgrade has failed, and the old process goes on. The text says why, in one line."""


def encode_state(state: Any) -> bytes:
    """Return a state as JSON.

    :raises TypeError: something in it is neither JSON nor bytes.
    :raises ValueError: it contains itself.
    """
    return json.dumps(state, default=_encode_other, separators=(",", ":")).encode()


def decode_state(data: bytes) -> Any:
    """Return the state of a text from :func:`encode_state`."""
    return json.loads(data, object_hook=_decode_other)


def _encode_other(value: object) -> dict[str, Any]:
    if isinstance(value, bytes | bytearray):
        return {_BYTES: b64encode(value).decode()}
    if isinstance(value, TooLong):
        return {_TOO_LONG: [value.max_size, value.start]}
    raise TypeError(f"{type(value).__name__} is neither JSON nor bytes")


def _decode_other(found: dict[str, Any]) -> Any:
    if len(found) == 1:
        if _BYTES in found:
            return b64decode(found[_BYTES])
        if _TOO_LONG in found:
            return TooLong(*found[_TOO_LONG])
    return found


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

    def has_ended(self) -> bool:
        """Return whether the other process has closed its end. It must have nothing to say."""
        poller = select.poll()
        poller.register(self._end, select.POLLIN)
        return bool(poller.poll(0))

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        """Send a frame.

        :raises OSError: the other process has ended, or does not read in time.
        """
        self.send_encoded(encode_state(message), descriptors)

    def send_encoded(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send a frame whose JSON is encoded already. Otherwise like :meth:`send`."""
        self._set_timeout()
        head = _HEAD.pack(len(data), len(descriptors))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))]
        sent = self._end.sendmsg([head], rights if descriptors else [])
        self._end.sendall(head[sent:] + data)

    def receive(self) -> tuple[Any, list[int]]:
        """Wait for a frame.

        :return: the message, and its descriptors, which are not inherited by other programs.
        :raises EOFError: the other process has ended.
        :raises OSError: it has sent nothing in time.
        """
        descriptors: list[int] = []
        try:
            size, count = _HEAD.unpack(self._read(_HEAD.size, descriptors))
            message = decode_state(self._read(size, descriptors))
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
            piece, others, _, _ = self._end.recvmsg(
                min(missing, 1 << 20), space, socket.MSG_CMSG_CLOEXEC
            )
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
