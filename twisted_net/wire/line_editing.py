"""The editing keys in a line that was sent key by key, as the telnet of Windows does.

Other programs let the terminal edit a line, and send it whole.
"""

from __future__ import annotations

import re
import unicodedata

from twisted_net.wire.text import drop_escape_sequences

_EDITING = re.compile(rb"[\x08\x7f\x15\x17]")
_PIECES = re.compile("([\x08\x7f\x15\x17])")
_WORD = re.compile(r"\S*\s*\Z")
_JOINER = "\u200d"


def edit_line(line: bytes) -> bytes:
    """Do what the editing keys in a line say.

    Backspace and DEL erase a character with its combining marks, Ctrl-W a word, and Ctrl-U all
    before it, as a Unix terminal does. Whatever is no UTF-8 stays as it is, unless it is erased.
    """
    if not _EDITING.search(line):
        return line
    text = drop_escape_sequences(line.decode(errors="surrogateescape"))
    done = ""
    for piece in _PIECES.split(text):
        if piece in ("\x08", "\x7f"):
            done = done[: _last_character(done)]
        elif piece == "\x17":
            done = _WORD.sub("", done, count=1)
        elif piece == "\x15":
            done = ""
        else:
            done += piece
    return done.encode(errors="surrogateescape")


def _last_character(text: str) -> int:
    """Return where the last character begins, with all that is combined with it."""
    start = len(text)
    while start:
        start -= 1
        if not _is_combined(text[start]) and text[start - 1 : start] != _JOINER:
            break
    return start


def _is_combined(character: str) -> bool:
    return character == _JOINER or unicodedata.category(character)[0] == "M"
