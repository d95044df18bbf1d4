"""Clean lines from clients before they reach another user's terminal.

Control characters, escape sequences (ECMA-48) and bidirectional overrides (Unicode UAX #9) can
forge lines, change the state of a terminal, or change how a text reads. They are removed.
"""

from __future__ import annotations

import re

from twisted_net.wire.framing import RemoteProtocolError

# Match whole sequences first, so that no harmless-looking tail such as "[31m" is left.
_SEQUENCE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor movements
    "|(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"  # OSC and similar
    "|\x1b[ -/]*[0-~]?"  # other escape sequences
)
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, overrides, isolates
    "\u2028\u2029"  # line and paragraph separators: some terminals start a new line
    "\ufeff\ufff9-\ufffb"  # byte order mark, interlinear annotations
    "\ud800-\udfff"  # lone surrogates, which JSON can carry and UTF-8 cannot
    "\U000e0000-\U000e007f]"  # tag characters: invisible text
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
    if text[:1].isprintable() and not text[:1].isspace():  # true for most lines
        return text
    for place, character in enumerate(text):
        if character.isprintable() and not character.isspace():
            return text[place:]
    return ""


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
    return _FORBIDDEN.sub("", _SEQUENCE.sub("", text.replace("\t", " ")))
