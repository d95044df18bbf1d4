"""Remove telnet commands (RFC 854) from a stream of text, however it is split.

Commands start with the byte 255, which never occurs in UTF-8, so text is not mistaken for a
command. Every option that the other side offers or requests is refused once. RFC 854 allows this,
and RFC 1143 shows that it cannot loop: this side requests nothing and does not answer refusals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

IAC = 255
_ERASE = {247: b"\x7f", 248: b"\x15"}  # EC and EL (RFC 854), as the keys that do the same
_DONT, _DO, _WONT, _WILL, _SB, _SE = 254, 253, 252, 251, 250, 240

LONGEST_SUBNEGOTIATION = 512
"""The bytes after which a subnegotiation without an end is treated as ended."""

# No telnet option is numbered CR or LF: such bytes are binary noise, and the line ends there.
_COMMAND = re.compile(rb"\xff(?:[\xf1-\xf9]|[\xfb-\xfe][^\r\n]|\xfa|\xf0)", re.DOTALL)
_UNFINISHED = re.compile(rb"\xff[\xfb-\xfe]?\Z")


class Telnet:
    """Remove telnet commands from what a peer sends, and produce the answers.

    :ivar pending: whether a command has begun but not ended.
    """

    __slots__ = ("_answered", "_held", "_inside")

    def __init__(self) -> None:
        self._held = b""  # the start of an incomplete command
        self._inside = -1  # bytes read of a subnegotiation; -1: not in one
        self._answered: set[bytes] = set()

    @property
    def pending(self) -> bool:
        return bool(self._held) or self._inside >= 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take the next bytes. Return the text among them, and the bytes to send back."""
        data = self._held + data
        self._held = b""
        text, answers = bytearray(), bytearray()
        position = 0
        while position < len(data):
            if self._inside >= 0:
                position = self._skip(data, position)
                continue
            found = _COMMAND.search(data, position)
            end = len(data) if found is None else found.start()
            if found is None and (unfinished := _UNFINISHED.search(data, position)):
                end = unfinished.start()
                self._held = data[end:]
            text += data[position:end]
            if found is None:
                break
            position = found.end()
            text += _ERASE.get(found[0][1], b"")
            self._obey(found[0], answers)
        return bytes(text), bytes(answers)

    def export_state(self) -> dict[str, Any]:
        """Return what has come of a command, and what was answered, for :meth:`restore_state`."""
        return {"held": self._held, "inside": self._inside, "answered": sorted(self._answered)}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Go on where another one has stopped."""
        self._held, self._inside = state["held"], state["inside"]
        self._answered.update(state["answered"])

    def _obey(self, command: bytes, answers: bytearray) -> None:
        kind = command[1]
        if kind == _SB:
            self._inside = 0
        elif kind in (_WILL, _DO) and command not in self._answered:
            self._answered.add(command)
            answers += bytes((IAC, _DONT if kind == _WILL else _WONT, command[2]))

    def _skip(self, data: bytes, position: int) -> int:
        """Skip the bytes of a subnegotiation. Return the position after them."""
        end = data.find(b"\xff\xf0", position)
        most = position + LONGEST_SUBNEGOTIATION - self._inside
        if 0 <= end < most:
            self._inside = -1
            return end + 2
        if len(data) >= most:
            self._inside = -1
            return most
        if data[-1] == IAC:  # the first half of its end
            self._held = data[-1:]
            self._inside += len(data) - 1 - position
        else:
            self._inside += len(data) - position
        return len(data)
