"""Makes ``twisted_net/chat/unicode_names.txt`` from the data files of Unicode.

The files are in ``tests/chat/unicode-15.0.0``, complete and compressed. To move to another version
of Unicode, replace them, run ``python -m tests.chat.make_unicode_names``, and run the tests.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parent / "unicode-15.0.0"
RESULT = Path(__file__).parents[2] / "twisted_net" / "chat" / "unicode_names.txt"

_HEADER = """\
# The lookalikes and the scripts of the characters that names may have, from Unicode 15.0.0. It was
# made by tests/chat/make_unicode_names.py from confusables.txt, Scripts.txt, ScriptExtensions.txt
# and PropertyValueAliases.txt. Do not edit it.
"""

_LETTERS = ("L", "M", "N", "Pc")
"""The beginnings of the general categories of characters that a name may have."""

_DECOMPOSED = (
    range(0x1D400, 0x1D800),  # mathematical letters
    range(0x1EE00, 0x1EF00),  # mathematical Arabic letters
    range(0xF900, 0xFB00),  # compatibility ideographs
    range(0xFB00, 0xFE00),  # presentation forms
    range(0xFE70, 0x10000),  # presentation forms, and forms of another width
    range(0x2F800, 0x2FA20),  # compatibility ideographs
)
"""Characters that NFKC replaces with others, so they are not in the name that is compared."""


def read(name: str) -> str:
    """Return the text of one of Unicode's data files."""
    return lzma.decompress((SOURCES / f"{name}.txt.xz").read_bytes()).decode("utf-8-sig")


def _rows(name: str) -> Iterator[tuple[list[str], str]]:
    """Give the fields of each row of a data file, and its comment."""
    for line in read(name).split("\n"):
        row, _, comment = line.partition("#")
        if row.strip():
            yield [field.strip() for field in row.split(";")], comment.strip()


def _span(text: str) -> range:
    first, _, last = text.partition("..")
    return range(int(first, 16), int(last or first, 16) + 1)


def scripts() -> dict[int, str]:
    """Return the scripts of each character that a name may have, by their short names."""
    short = {names[2]: names[1] for names, _ in _rows("PropertyValueAliases") if names[0] == "sc"}
    found: dict[int, str] = {}
    for (span, script), comment in _rows("Scripts"):
        if comment.startswith(_LETTERS):
            found.update(dict.fromkeys(_span(span), short[script]))
    for (span, several), _ in _rows("ScriptExtensions"):
        found.update((each, several) for each in _span(span) if each in found)
    return found


def lookalikes(known: dict[int, str]) -> dict[int, str]:
    """Return what each character looks like, among those that a name may have, and that differ."""
    found = {}
    for (source, target, _), _ in _rows("confusables"):
        character = int(source, 16)
        if character in known and not any(character in each for each in _DECOMPOSED):
            found[character] = target
    return found


def make() -> str:
    """Return the text of the file."""
    known = scripts()
    licence = (SOURCES / "LICENSE").read_text().replace("\u00a9", "(c)").replace("\u2019", "'")
    lines = ["#", *(f"# {line}".rstrip() for line in licence.splitlines()), "", "[lookalikes]"]
    lines += [f"{source:X} {target}" for source, target in sorted(lookalikes(known).items())]
    lines += ["", "[scripts]"]
    ranges: list[list[int]] = []
    for character in sorted(known):
        if ranges and ranges[-1][1] == character - 1 and known[ranges[-1][0]] == known[character]:
            ranges[-1][1] = character
        else:
            ranges.append([character, character])
    lines += [f"{first:X} {last:X} {known[first]}" for first, last in ranges]
    return _HEADER + "\n".join(lines) + "\n"


if __name__ == "__main__":
    RESULT.write_text(make(), encoding="ascii")
