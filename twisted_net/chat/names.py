"""The names of users and rooms: which are valid, and which look alike.

The rules follow Unicode's UAX #31 (identifiers) and UTS #39 (security). A name begins with a letter
or a digit. Letters, digits and marks follow, and the full stop, the underscore and the hyphen. They
are of one script, or of scripts that are commonly written together. A name is normalized to NFKC.
No two users have names that differ only in case or in what looks alike.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from twisted_net.chat import unicode_names
from twisted_net.chat.limits import LONGEST_NAME
from twisted_net.chat.messages import RequestError

_ASCII = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

_BESIDES = frozenset("._-")
"""What a name may have besides letters, digits and marks, but not at its beginning."""

_ONLY_LETTERS = {ord(each): None for each in _BESIDES}

# Default_Ignorable_Code_Point: nobody sees them, but words have them, says UAX #31.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)

_ADDRESS = re.compile(r"[0-9]+(\.[0-9]+){3}")

_JOINER = re.compile("[\u200c\u200d]")

_NOTICES = (
    "and", "earlier", "everybody", "everyone", "nobody", "pong", "server", "system", "the", "there",
    "welcome", "you", "your",
)  # fmt: skip
"""The words that begin a notice of the server, and the words for it. Nobody is called so: what such
a user does would look like a notice, as in ``* The topic of #lobby: ...``."""


def key(name: str) -> str:
    """Return the key of a name. Names that differ only in case have the same key."""
    return keys(name)[0]


def keys(name: str) -> tuple[str, ...]:
    """Return all keys of a name: names that look alike have one in common.

    A capital may look like another letter than its small one does: ``I`` like ``l``. So a name has
    up to two keys, of how it is written in small letters and of how it is written by its user. The
    first is that of :func:`key`.
    """
    if name.isascii():
        # The lookalikes of UTS #39 in ASCII; the others among them are in no name.
        small = name.lower().replace("0", "o").replace("1", "l").replace("m", "rn")
        return (small, keys(name.replace("I", "l"))[0]) if "I" in name else (small,)
    return _other_keys(name)


def fold(name: str) -> str:
    """Return a name without its case. Two names are the same if their results are equal."""
    if name.isascii():
        return name.lower()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return folded.replace("i\u0307", "i")  # of the Turkish capital İ


@lru_cache(4096)  # the first name of a connection is looked up several times
def _other_keys(name: str) -> tuple[str, ...]:
    written = unicodedata.normalize("NFKC", name)
    seen = [unicode_names.skeleton(_JOINER.sub("", each)) for each in (fold(name), written)]
    return tuple(dict.fromkeys(seen))


@lru_cache(1024)
def nick(text: str, field: str = "nick") -> str:
    """Return the normalized name of a user.

    :raises RequestError: ``bad-name``: the text is not a valid name.
    """
    name = _checked(text, "A name", field)
    if is_address(name):  # operators ban names and addresses with the same command
        raise RequestError("bad-name", f"{name} is an address, and not a name.", field)
    if not _NOTICE_KEYS.isdisjoint(keys(name)):
        raise RequestError("bad-name", f"Nobody is called {name}: notices begin so.", field)
    return name


def is_address(text: str) -> bool:
    """Return whether a text has the form of an IPv4 address."""
    return _ADDRESS.fullmatch(text) is not None


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
    if not _ASCII.fullmatch(name):
        wrong = _fault(name)
        if wrong:
            raise RequestError("bad-name", f"{what} has {wrong}", field)
    return name


def _fault(name: str) -> str:
    """Return what a name must have and has not; empty if there is nothing wrong with it."""
    letters = name
    if _JOINER.search(name):
        letters = _JOINER.sub("", name)
        if not all(_joins(name, found.start()) for found in _JOINER.finditer(name)):
            return "invisible joiners only where they change how its letters are written."
    valid = (
        letters[:1].isalnum()
        and all(map(_may_follow, letters))
        and not _INVISIBLE.search(letters)
        and not letters.isascii()  # an ASCII name would have matched _ASCII
    )
    if not valid:
        return "letters and digits, and then also . _ and -"
    letters = letters.translate(_ONLY_LETTERS)
    if not unicode_names.all_known(letters):
        return "letters and digits of Unicode 15.0 or earlier."
    if not unicode_names.one_writing_system(letters):
        return "letters of one script only."
    if not unicode_names.one_set_of_digits(letters):
        return "digits of one kind only."
    if unicode_names.piles_marks(letters):
        return "at most four marks on a letter, and none of them twice."
    return ""


def _may_follow(character: str) -> bool:
    """Return whether a name may go on with a character."""
    if character in _BESIDES:
        return True
    # Python's identifiers are those of UAX #31, and "a" begins one.
    return unicodedata.category(character)[0] in "LMN" and f"a{character}".isidentifier()


def _joins(name: str, place: int) -> bool:
    """Return whether a joiner stands where UAX #31 (section 2.3) and RFC 5892 allow one."""
    import idna  # takes some milliseconds, and few names have joiners

    try:
        return idna.valid_contextj(name, place)
    except ValueError:  # it is after a character that idna does not know
        return False


_NOTICE_KEYS = frozenset(each for word in _NOTICES for each in keys(word))
