"""The names of users and rooms: which are valid, and which look alike.

The rules follow Unicode's UAX #31 (identifiers) and UTS #39 (security). A name has letters and
digits of one script and is normalized to NFKC. No two names may differ only in case or in letters
that look alike.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from twisted_net.chat.limits import LONGEST_NAME
from twisted_net.chat.messages import RequestError

_NAME = re.compile(r"[^\W_][\w.-]*")

# Invisible, but parts of words to Unicode: fillers, inherent vowels and variation selectors.
_INVISIBLE = re.compile("[\u115f\u1160\u17b4\u17b5\u3164\uffa0\u034f\u180b-\u180e\ufe00-\ufe0f]")

# Applied after case folding. Other lookalikes would mix scripts, or do not look that much alike.
_LOOKALIKES = str.maketrans(
    "0" "1" "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u0261\u04cf\u04bb"
    "\u051b\u051d\u03bf\u03b1\u03bd\u03c1\u03b9\u03ba\u03c7\u03b3\u03c5\u043a\u043c\u0442\u0432"
    "\u043d\u0431\u0131",
    "o" "l" "aeopcyxijsdglh"
    "qwoavpikxyukmtb"
    "h6i",
)  # fmt: skip

_TOGETHER = (
    frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "CJK", "HANGUL"}),
    frozenset({"LATIN", "CJK", "BOPOMOFO"}),
)
"""Scripts that one name may combine ("highly restrictive" in UTS #39, section 5.2)."""


def key(name: str) -> str:
    """Return the key of a name. Names that look alike have the same key."""
    if name.isascii():
        return name.lower().replace("0", "o").replace("1", "l")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return folded.translate(_LOOKALIKES)


def fold(name: str) -> str:
    """Return a name without its case. Two names are the same if their results are equal."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


@lru_cache(1024)
def nick(text: str, field: str = "nick") -> str:
    """Return the normalized name of a user.

    :raises RequestError: ``bad-name``: the text is not a valid name.
    """
    return _checked(text, "A name", field)


@lru_cache(1024)
def room(text: str, field: str = "room") -> str:
    """Return the normalized name of a room, in lower case and without the ``#`` that it may have.

    :raises RequestError: ``bad-name``: the text is not a valid name.
    """
    return _checked(fold(text.removeprefix("#")), "A room's name", field)


def _checked(text: str, what: str, field: str) -> str:
    name = unicodedata.normalize("NFKC", text)
    if len(name) > LONGEST_NAME or len(text) > 4 * LONGEST_NAME:
        raise RequestError("bad-name", f"{what} has at most {LONGEST_NAME} characters.", field)
    if not _NAME.fullmatch(name) or _INVISIBLE.search(name):
        raise RequestError(
            "bad-name", f"{what} has letters and digits, and then also . _ and -", field
        )
    if not name.isascii():
        scripts = {_script(letter) for letter in name if letter.isalpha()}
        if len(scripts) > 1 and not any(scripts <= allowed for allowed in _TOGETHER):
            raise RequestError("bad-name", f"{what} has letters of one script only.", field)
    return name


def _script(letter: str) -> str:
    # A character's Unicode name begins with its script; the standard library has no script table.
    return unicodedata.name(letter, "?").split()[0]
