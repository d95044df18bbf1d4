"""The layout of ``--help``: flags under headings, each with a help text, in two columns."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

NARROWEST, WIDEST = 40, 100
"""Columns. A narrower terminal wraps lines itself; longer lines are hard to read."""

INDENT = "  "

FIRST_COLUMN = 32
"""Columns for the flags, with their indent. The help text of a longer flag begins below it."""

GUIDE_PLACE = (
    "The guide is docs/ in the source distribution: docs/course/ begins with a first server, and "
    "docs/flags.rst says when to change a flag. python -m twisted_net lists what else there is."
)
"""Where an installed program's user finds more. The last lines of each ``--help``."""

_SHORT_DEFAULT = re.compile(r"\[default: [^]]{1,20}\]")
_NO_BREAK = "\N{NO-BREAK SPACE}"


class FlagGroup(NamedTuple):
    """Flags that ``--help`` shows together.

    :ivar heading: the line above them.
    :ivar flags: the flags in order, each with the name of its value; ``""`` if it takes none.
    """

    heading: str
    flags: Mapping[str, str]


class FlagHelp(NamedTuple):
    """A flag as ``--help`` shows it.

    :ivar spelling: the flag, such as ``-p, --port=PORT``.
    :ivar text: its help text, of any length.
    """

    spelling: str
    text: str


def help_width() -> int:
    """Return the width in columns: from ``COLUMNS``, else from the terminal, else 80."""
    columns, _ = shutil.get_terminal_size(fallback=(80, 24))
    return max(NARROWEST, min(columns, WIDEST))


def format_section(heading: str, flags: Sequence[FlagHelp], width: int) -> str:
    """Return a heading and the flags below it. No line is longer than ``width``, unless one word
    is: words are never split."""
    lines = [f"{heading}:"]
    for flag in flags:
        lines += _format_flag(flag, width)
    return "\n".join(lines)


def _format_flag(flag: FlagHelp, width: int) -> list[str]:
    beside = width >= 2 * FIRST_COLUMN
    margin = " " * FIRST_COLUMN if beside else 3 * INDENT
    first = INDENT + flag.spelling
    text = format_paragraph(flag.text, width, margin).splitlines()
    if beside and len(first) + len(INDENT) <= FIRST_COLUMN:
        return [first.ljust(FIRST_COLUMN) + text[0].lstrip(), *text[1:]]
    return [first, *text]


def format_paragraph(text: str, width: int, margin: str = "") -> str:
    """Return ``text`` with its lines broken between words, each indented by ``margin``.

    A short ``[default: ...]`` stays on one line.
    """
    words = " ".join(text.split())
    kept = _SHORT_DEFAULT.sub(lambda found: found[0].replace(" ", _NO_BREAK), words)
    filled = textwrap.fill(
        kept,
        width,
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled.replace(_NO_BREAK, " ")
