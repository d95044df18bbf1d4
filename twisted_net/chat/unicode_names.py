"""What Unicode's data files say of the characters in names: lookalikes and scripts.

The data are those of Unicode 15.0, in ``unicode_names.txt`` beside this file. They are read when
the first name comes that is not ASCII. General categories, decompositions and the properties of
identifiers come from Python's own ``unicodedata``, whose version may be another. A character that
either of them does not know is in no name.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from functools import cache, lru_cache

_ALSO_ALIKE = str.maketrans(
    "\u0262\u0274\u0280\u0299\u029c\u029f\u1d00\u1d05\u1d07\u1d0a\u1d0b\u0138\u1d0d\u028d\u1d18"
    "\u1d1b\ua730\ua7af\u03c7",
    "gnrbhladejkkmmptfqx",
)
"""What else looks alike to us: small capitals and small letters, as a name in small capitals looks
like it in capitals; and the Greek chi. For Unicode, some Cyrillic letters look like Latin small
capitals only."""

_COMMON = frozenset({"Zyyy", "Zinh"})
"""The scripts of characters that are written with any script, such as digits."""

_WRITING_SYSTEMS = {
    "Hani": "Hani Hanb Jpan Kore",
    "Hira": "Hira Jpan",
    "Kana": "Kana Jpan",
    "Hang": "Hang Kore",
    "Bopo": "Bopo Hanb",
}
"""The writing systems that scripts of East Asia belong to (UTS #39, section 5.1)."""

_WITH_LATIN = frozenset({"Hanb", "Jpan", "Kore"})
"""The writing systems in which a name may also have Latin letters ("highly restrictive")."""


class Data:
    """The data, ready to be looked up.

    :ivar lookalikes: what a character looks like, for :meth:`str.translate`.
    """

    def __init__(self, text: str) -> None:
        self.lookalikes: dict[int, str] = {}
        self._starts: list[int] = []
        self._spans: list[tuple[int, frozenset[str]]] = []  # the last character, and the scripts
        lookalikes, _, scripts = text.partition("[lookalikes]\n")[2].partition("[scripts]\n")
        for line in lookalikes.split("\n"):
            if line:
                source, *target = line.split(" ")
                self.lookalikes[int(source, 16)] = "".join(chr(int(each, 16)) for each in target)
        self.lookalikes |= {source: chr(target) for source, target in _ALSO_ALIKE.items()}
        known: dict[str, frozenset[str]] = {}  # few sets, shared by many spans
        for line in scripts.split("\n"):
            if line:
                first, last, names = line.split(" ", 2)
                if names not in known:
                    systems = (_WRITING_SYSTEMS.get(name, name) for name in names.split())
                    known[names] = frozenset(" ".join(systems).split())
                self._starts.append(int(first, 16))
                self._spans.append((int(last, 16), known[names]))

    def scripts(self, character: str) -> frozenset[str]:
        """Return the scripts of a character; none if the data do not know it."""
        place = bisect_right(self._starts, ord(character)) - 1
        if place < 0 or ord(character) > self._spans[place][0]:
            return frozenset()
        return self._spans[place][1]


@cache
def _data() -> Data:
    from importlib import resources  # takes a millisecond, and few chats need it at the start

    file = resources.files("twisted_net.chat") / "unicode_names.txt"
    return Data(file.read_text(encoding="ascii"))


def load() -> None:
    """Read the data now, for a process that cannot do it later."""
    _data()


def is_loaded() -> bool:
    """Return whether the data were read."""
    return bool(_data.cache_info().currsize)


@lru_cache(4096)
def scripts(character: str) -> frozenset[str]:
    """Return the scripts of a character; none if the data do not know it."""
    return _data().scripts(character)


def skeleton(text: str) -> str:
    """Return what a text looks like: texts that look alike have the same skeleton.

    It is the skeleton of UTS #39, section 4, without the case. Its own skeleton is the same.
    """
    lookalikes = _data().lookalikes
    while True:
        seen = unicodedata.normalize("NFD", text).translate(lookalikes).casefold()
        seen = unicodedata.normalize("NFD", seen)
        if seen == text:
            return text
        text = seen


def all_known(text: str) -> bool:
    """Return whether the data know all characters of a text."""
    return all(map(scripts, text))


def one_writing_system(text: str) -> bool:
    """Return whether a text is of one script, or of scripts that are commonly written together.

    It is so if the text is "highly restrictive" in UTS #39, section 5.2.
    """
    found = set(map(scripts, text))
    known = [each for each in found if each.isdisjoint(_COMMON)]
    if not known or frozenset.intersection(*known):
        return True
    others = [each for each in known if "Latn" not in each]
    return bool(_WITH_LATIN.intersection(*others))


def one_set_of_digits(text: str) -> bool:
    """Return whether all decimal digits of a text are of one set (UTS #39, section 5.3)."""
    digits: Iterable[str] = filter(str.isdecimal, text)
    return len({ord(digit) - unicodedata.decimal(digit) for digit in digits}) <= 1


def piles_marks(text: str) -> bool:
    """Return whether a mark follows itself, or five follow each other (UTS #39, section 5.4)."""
    last, count = "", 0
    for character in unicodedata.normalize("NFD", text):
        if unicodedata.category(character) != "Mn":
            last, count = "", 0
        elif character == last or count == 4:
            return True
        else:
            last, count = character, count + 1
    return False
