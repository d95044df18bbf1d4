"""The lines that are shown, as pairs of a style and a text, and the colours of the styles.

Everything that comes from others is cleaned here, before it reaches the terminal.
"""

from __future__ import annotations

import re
import zlib
from datetime import datetime, tzinfo
from typing import TypeAlias

from twisted_net.chat import names
from twisted_net.wire.text import printable

Fragments: TypeAlias = list[tuple[str, str]]
"""A line: pairs of a style and a text, which ``prompt_toolkit`` calls formatted text."""

NAME_COLORS = (
    "#d75f5f", "#d75f00", "#af8700", "#5f8700", "#008700", "#00875f",
    "#0087af", "#0087d7", "#5f87d7", "#875fd7", "#af5faf", "#d700af",
)  # fmt: skip
"""The colours of names. Each is in the palette of 256 colours, and has a contrast of more than 3
to black and to white: nobody knows the background of a terminal."""

STYLES = {
    "time": "#808080",
    "dim": "#808080",
    "notice": "#0087d7",
    "error": "#ff0000",
    "private": "#af5faf bold",
    "mention": "bold",
    "own": "bold",
    "prompt": "bold",
    "pending": "#808080",
    "question": "#d75f00 bold",
    "toolbar": "reverse",
    "toolbar.unread": "bold",
    "toolbar.mention": "bold underline",
    "toolbar.trouble": "bold",
    **{f"name-{number}": color for number, color in enumerate(NAME_COLORS)},
}
"""What each style looks like, as ``prompt_toolkit`` writes it."""


def name_style(name: str) -> str:
    """Return the style of a name. It stays the same, whatever its case, on every machine."""
    return f"class:name-{zlib.crc32(names.fold(name).encode()) % len(NAME_COLORS)}"


def mentions(text: str, nick: str) -> bool:
    """Return whether a text has a name as a word of its own."""
    if not nick:
        return False
    return bool(re.search(rf"(?<!\w){re.escape(names.fold(nick))}(?!\w)", names.fold(text)))


def local_time(time: str, zone: tzinfo | None) -> datetime | None:
    """Return the time of a message in a time zone, or in the system's; None if it is no time."""
    try:
        return datetime.fromisoformat(time).astimezone(zone)
    except (ValueError, OverflowError):
        return None


def notice_line(text: str) -> Fragments:
    """Return a line of the server or of this program."""
    return [("class:notice", f"* {printable(text)}")]


def dim_line(text: str) -> Fragments:
    """Return a notice that matters less."""
    return [("class:dim", f"* {printable(text)}")]


def error_line(text: str) -> Fragments:
    """Return a line that says what has failed."""
    return [("class:error", f"! {printable(text)}")]


def rule_line(text: str) -> Fragments:
    """Return a line that divides the lines before from those after."""
    return [("class:dim", f"--- {printable(text)} ---")]


def message_line(
    when: datetime | None, sender: str, text: str, *, action: bool = False, style: str = ""
) -> Fragments:
    """Return the line of a message in a room.

    :param when: the local time.
    :param style: the style of the text.
    """
    name = printable(sender)
    text = printable(text)
    colored = name_style(name)
    if action:
        return [*_clock(when), (colored, f"* {name}"), (style, f" {text}")]
    return [*_clock(when), (colored, f"<{name}>"), (style, f" {text}")]


def private_line(
    when: datetime | None, sender: str, to: str, text: str, action: bool = False
) -> Fragments:
    """Return the line of a private message, which is shown wherever the user is.

    :param to: the other user, if it is the user's own message; else empty.
    """
    name = printable(to or sender)
    acts = f" * {printable(sender)}" if action else ""
    way = "to" if to else "from"
    return [*_clock(when), ("class:private", f"[{way} {name}]"), ("", f"{acts} {printable(text)}")]


def plain_text(line: Fragments) -> str:
    """Return a line without its styles."""
    return "".join(text for _, text in line)


def _clock(when: datetime | None) -> Fragments:
    return [("class:time", f"{when:%H:%M} " if when else "--:-- ")]
