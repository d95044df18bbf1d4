"""Clean lines from clients before they reach another user's terminal.

Control characters, escape sequences (ECMA-48) and bidirectional overrides (Unicode UAX #9) can
forge lines, change the state of a terminal, or change how a text reads. They are removed.
"""

from __future__ import annotations

import re
import unicodedata

from twisted_net.wire.framing import RemoteProtocolError

_MANY = {"person": "people"}
"""What is said of several, where it is not said with an ``s``."""

# Match whole sequences first, so that no harmless-looking tail such as "[31m" is left.
_SEQUENCE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor movements
    "|(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"  # OSC and similar
    "|\x1b[ -/]*[0-~]?"  # other escape sequences
)
_FORBIDDEN = re.compile(
    # Tag characters are invisible text, except in a flag of a subdivision such as Wales (UTS #51,
    # ED-14a): a black flag, a country and a region, and the end.
    "(\U0001f3f4[\U000e0061-\U000e007a]{2}[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,4}\U000e007f)"
    "|[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, overrides, isolates
    "\u2028\u2029"  # line and paragraph separators: some terminals start a new line
    "\ufeff\ufff9-\ufffb"  # byte order mark, interlinear annotations
    "\ud800-\udfff"  # lone surrogates, which JSON can carry and UTF-8 cannot
    "\U000e0000-\U000e007f]"  # tag characters
)

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})
"""The general categories of controls, format characters, surrogates and spaces."""

# The rest of Default_Ignorable_Code_Point, and the braille pattern without dots.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U000e0000-\U000e0fff]"
)


def decode_line(line: bytes) -> str:
    """Decode the text of a line.

    :raises RemoteProtocolError: ``bad-input``, if the line is not UTF-8 (RFC 3629).
    """
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(
            "bad-input", f"not UTF-8 at byte {error.start} of the line"
        ) from None


def clean_line(line: bytes) -> str:
    """Decode a line and make it safe for another user's terminal.

    :raises RemoteProtocolError: as in :func:`decode_line`.
    """
    text = decode_line(line) if not line.isascii() else line.decode("ascii")
    return text if text.isprintable() else printable(text)


def strip_invisible(text: str) -> str:
    """Return ``text`` without what nobody sees at its beginning, such as spaces."""
    text = printable(text)
    if "!" <= text[:1] <= "~":  # true for most lines
        return text
    for place, character in enumerate(text):
        if not _is_unseen(character):
            return text[place:]
    return ""


def is_blank(text: str) -> bool:
    """Return whether nobody would see anything of a text, because all of it is invisible."""
    if "!" <= text[:1] <= "~":  # true for most lines
        return False
    return all(map(_is_unseen, text))


def _is_unseen(character: str) -> bool:
    # Not isprintable(): it is false for a new emoji that Python does not know yet.
    return unicodedata.category(character) in _UNSEEN or bool(_BLANK.match(character))


def drop_escape_sequences(text: str) -> str:
    """Return ``text`` without whole escape sequences, such as those of arrow keys."""
    return _SEQUENCE.sub("", text)


def printable(text: str) -> str:
    """Return ``text`` on one line, safe for another user's terminal.

    Tabs become spaces. Characters that could control a terminal or reorder the text are removed.
    The result can be encoded as UTF-8, and ``printable(printable(x)) == printable(x)``.
    """
    if text.isprintable():  # true for most lines, and as fast as one search
        return text
    return _FORBIDDEN.sub(r"\1", _SEQUENCE.sub("", text.replace("\t", " ")))


def noun_for(number: float, noun: str) -> str:
    """Return a noun as it follows a number: ``line`` after 1, otherwise ``lines``."""
    return noun if number == 1 else _MANY.get(noun, f"{noun}s")


def counted(number: int, noun: str) -> str:
    """Return a number and what it counts, such as ``1 line`` or ``2 lines``."""
    return f"{number} {noun_for(number, noun)}"
