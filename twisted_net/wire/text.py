"""What a line from a stranger may contain before it reaches another person's terminal.

Control characters, escape sequences (ECMA-48) and bidirectional overrides (Unicode UAX #9) can
forge lines, change a terminal's state or make a text read as another: they are taken out.
"""

from __future__ import annotations

import re

from twisted_net.wire.framing import RemoteProtocolError

# Whole sequences first, so that no harmless-looking tail such as "[31m" is left behind.
_SEQUENCE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor movements
    "|(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"  # OSC and kin
    "|\x1b[ -/]*[0-~]?"  # the rest of the escapes
)
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, overrides, isolates
    "\u2028\u2029"  # line and paragraph separators: a new line to some terminals
    "\ufeff\ufff9-\ufffb"  # byte order mark, interlinear annotations
    "\ud800-\udfff"  # lone surrogates, which JSON can carry and UTF-8 cannot
    "\U000e0000-\U000e007f]"  # tag characters: text that nobody sees
)


def decode_line(line: bytes) -> str:
    """Give the text of a line.

    :raises RemoteProtocolError: ``bad-input``, the line is not UTF-8 (RFC 3629).
    """
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(
            "bad-input", f"not UTF-8 at byte {error.start} of the line"
        ) from None


def clean_line(line: bytes) -> str:
    """Give the text of a line as it may stand on another person's terminal.

    :raises RemoteProtocolError: as :func:`decode_line`.
    """
    text = decode_line(line) if not line.isascii() else line.decode("ascii")
    return text if text.isprintable() else printable(text)


def printable(text: str) -> str:
    """Give ``text`` as it may stand on another person's terminal, on one line.

    Tabs become spaces; what could act on a terminal or reorder the text is taken out. The result
    can be encoded as UTF-8, and ``printable(printable(x)) == printable(x)``.
    """
    if text.isprintable():  # true of most lines, and as fast as looking once
        return text
    return _FORBIDDEN.sub("", _SEQUENCE.sub("", text.replace("\t", " ")))
