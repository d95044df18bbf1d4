"""Draws what stands in a terminal as an SVG picture."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

_SGR = re.compile(r"\x1b\[([\d;]*)m|\x1b[^m]*m|[\x0e\x0f]")

_WIDTH, _HEIGHT = 8.4, 18  # of a character, for a font of 14 pixels
_BACKGROUND, _FOREGROUND = "#14171a", "#e6e9ec"

_STEPS = (0, 95, 135, 175, 215, 255)
_FIRST_SIXTEEN = (
    "#000000", "#cd3131", "#0dbc79", "#e5e510", "#2472c8", "#bc3fbc", "#11a8cd", "#e5e5e5",
    "#666666", "#f14c4c", "#23d18b", "#f5f543", "#3b8eea", "#d670d6", "#29b8db", "#ffffff",
)  # fmt: skip


@dataclass(frozen=True)
class _Look:
    """How characters look."""

    color: str = _FOREGROUND
    bold: bool = False
    underlined: bool = False
    reversed: bool = False


def _palette(number: int) -> str:
    """Return a colour of the 256."""
    if number < 16:
        return _FIRST_SIXTEEN[number]
    if number >= 232:
        return "#" + f"{8 + 10 * (number - 232):02x}" * 3
    number -= 16
    return "#" + "".join(
        f"{_STEPS[each]:02x}" for each in (number // 36, number // 6 % 6, number % 6)
    )


def _changed(look: _Look, codes: list[int]) -> _Look:
    """Return the look after an escape sequence (ECMA-48, SGR)."""
    while codes:
        code = codes.pop(0)
        if code == 38 and codes[:1] == [5]:
            look = replace(look, color=_palette(codes[1]))
            del codes[:2]
        elif code == 38:
            look = replace(look, color="#{:02x}{:02x}{:02x}".format(*codes[1:4]))
            del codes[:4]
        elif 30 <= code <= 37:
            look = replace(look, color=_palette(code - 30))
        elif 90 <= code <= 97:
            look = replace(look, color=_palette(code - 82))
        else:
            changes = {0: _Look(), 1: replace(look, bold=True), 22: replace(look, bold=False),
                       4: replace(look, underlined=True), 24: replace(look, underlined=False),
                       7: replace(look, reversed=True), 27: replace(look, reversed=False),
                       39: replace(look, color=_FOREGROUND)}  # fmt: skip
            look = changes.get(code, look)
    return look


def _runs(line: str, look: _Look) -> tuple[list[tuple[_Look, str]], _Look]:
    """Return the parts of a line that look the same, and the look at its end."""
    runs, place = [], 0
    for match in _SGR.finditer(line):
        if match.start() > place:
            runs.append((look, line[place : match.start()]))
        place = match.end()
        if match[1] is not None:
            look = _changed(look, [int(each or 0) for each in match[1].split(";")])
    if line[place:]:
        runs.append((look, line[place:]))
    return runs, look


def draw(screen: str, columns: int, title: str) -> str:
    """Return a picture of a screen.

    :param screen: what ``tmux capture-pane -e -p`` prints: text with the sequences of its colours.
    :param title: what the picture shows, for those who do not see it.
    """
    lines = screen.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    width, height = round(columns * _WIDTH + 32), len(lines) * _HEIGHT + 28
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="{_BACKGROUND}"/>',
        '<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14" '
        'xml:space="preserve">',
    ]
    look = _Look()
    for row, line in enumerate(lines):
        column = 0
        runs, look = _runs(line, look)
        for each, text in runs:
            parts += _drawn(each, text, 16 + column * _WIDTH, 14 + row * _HEIGHT)
            column += len(text)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _drawn(look: _Look, text: str, left: float, top: int) -> list[str]:
    parts = []
    width = len(text) * _WIDTH
    color = look.color
    if look.reversed:
        parts.append(f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_HEIGHT}" '
                     f'fill="{color}"/>')  # fmt: skip
        color = _BACKGROUND
    style = ' font-weight="bold"' if look.bold else ""
    style += ' text-decoration="underline"' if look.underlined else ""
    if text.strip():
        shown = escape(text).replace(" ", "\u00a0")  # browsers drop others at the end of a text
        parts.append(f'<text x="{left:.1f}" y="{top + 14}" textLength="{width:.1f}" '
                     f'fill="{color}"{style}>{shown}</text>')  # fmt: skip
    return parts
