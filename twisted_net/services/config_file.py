"""Reads ``--config`` files: a flag on each line, as ``name = value``.

``configparser`` and ``tomllib`` do not tell in which line a value stands, and an error has to name
it. So this module splits the lines itself.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from difflib import get_close_matches
from typing import NamedTuple

from twisted_net.wire.numbers import shorten

LARGEST_CONFIG = 1 << 20
"""The most bytes in a file. A device such as ``/dev/zero`` has no end."""

_SWITCH = {
    **dict.fromkeys(("yes", "true", "on", "1"), True),
    **dict.fromkeys(("no", "false", "off", "0"), False),
}
"""The values that ``configparser`` takes for booleans."""


class ConfigError(ValueError):
    """A file cannot be used. The text has its path, the line, and the reason."""


class KnownFlags(NamedTuple):
    """The flags that a file may have, without the dashes.

    :ivar values: flags with a value.
    :ivar switches: flags without one, which are ``yes`` or ``no`` in a file.
    :ivar repeatable: flags with a value that may be given several times.
    :ivar elsewhere: flags that are on the command line only.
    """

    values: Collection[str]
    switches: Collection[str]
    repeatable: Collection[str]
    elsewhere: Collection[str]


class ConfigLine(NamedTuple):
    """A flag in a file.

    :ivar place: the file and the line, for errors.
    :ivar value: the text of the value; None for a switch that is on.
    """

    place: str
    name: str
    value: str | None

    @property
    def word(self) -> str:
        """The flag as on a command line."""
        return f"--{self.name}" if self.value is None else f"--{self.name}={self.value}"


def read_config(path: str, known: KnownFlags, place: str | None = None) -> list[ConfigLine]:
    """Return the flags of a file, in order, without the switches that are off.

    Empty lines, and lines that begin with ``#`` or ``;``, are comments.

    :param path: the file, as the user has written it.
    :param place: where it is, if the working directory may have changed since.
    :raises ConfigError: the file cannot be read, or a line is wrong.
    """
    try:
        # Without O_NONBLOCK, a FIFO that nobody writes to would block the start for ever.
        with open(place or path, "rb", opener=_without_waiting) as file:
            data = file.read(LARGEST_CONFIG + 1) or b""
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from None
    except ValueError:  # open() refuses NUL characters
        raise ConfigError(f"--config {path!r}: a path cannot have a NUL character") from None
    if len(data) > LARGEST_CONFIG:
        raise ConfigError(f"--config {path}: must have at most {LARGEST_CONFIG} bytes")
    return parse_config(path, data, known)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def parse_config(path: str, data: bytes, known: KnownFlags) -> list[ConfigLine]:
    """Return the flags of a file's content: see :func:`read_config`."""
    found: list[ConfigLine] = []
    first: dict[str, int] = {}
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        place = f"{path}, line {number}"
        try:
            line = raw.decode().strip()
        except UnicodeDecodeError:
            raise ConfigError(f"{place}: must be UTF-8 text") from None
        if not line or line[0] in "#;":
            continue
        entry = _parse_line(place, line, known)
        if entry.name in first and entry.name not in known.repeatable:
            raise ConfigError(f"{place}: {entry.name}: is in line {first[entry.name]} already")
        first.setdefault(entry.name, number)
        if entry.name in known.switches:
            if not _switch(entry):
                continue
            entry = ConfigLine(place, entry.name, None)
        found.append(entry)
    return found


def _parse_line(place: str, line: str, known: KnownFlags) -> ConfigLine:
    if line.startswith("["):
        raise ConfigError(f"{place}: {line}: there are no sections, only lines of name = value")
    name, equals, value = (part.strip() for part in line.partition("="))
    if not equals:
        name = name.split()[0]
    _check_name(place, name, known)
    if not equals:
        wanted = "yes" if name in known.switches else "value"
        raise ConfigError(f"{place}: {name}: must be {name} = {wanted}")
    if "\0" in value:
        raise ConfigError(f"{place}: {name}: a value cannot have a NUL character")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        raise ConfigError(f"{place}: {name}: write the value without quotes")
    return ConfigLine(place, name, value)


def _check_name(place: str, name: str, known: KnownFlags) -> None:
    names = {*known.values, *known.switches}
    if name in names:
        return
    if name in known.elsewhere:
        raise ConfigError(f"{place}: {name}: only on the command line")
    close = get_close_matches(name.strip("-").replace("_", "-").lower(), sorted(names), 1, 0.7)
    hint = f"did you mean {close[0]}?" if close else "see --help"
    # A line that is no flag may be anything, even a password: only its first word is shown.
    shown = shorten((name.split() or ["="])[0])
    raise ConfigError(f"{place}: {shown}: unknown flag; {hint}")


def _switch(entry: ConfigLine) -> bool:
    assert entry.value is not None
    on = _SWITCH.get(entry.value.lower())
    if on is None:
        raise ConfigError(f"{entry.place}: {entry.name} = {entry.value}: must be yes or no")
    return on
