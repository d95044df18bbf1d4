"""Options that may also stand in a file, which ``--config`` names. The command line wins."""

from __future__ import annotations

import getopt
import os
import sys
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from twisted.python import usage

from twisted_net.services.config_file import ConfigError, ConfigLine, KnownFlags, read_config


class ConfigurableOptions(usage.Options):
    """Options with a parameter ``config``, which names a file of more options.

    A flag on the command line replaces all lines of the file with the same name.

    :cvar repeatable: parameters that may be given several times.
    :cvar command_line_only: options that a file may not have: they print something and end.
    :ivar config_path: where the file is, whatever the working directory will be.
    :ivar earlier: if these are options that were parsed again, those that were parsed before.
    """

    repeatable: ClassVar[tuple[str, ...]] = ()
    command_line_only: ClassVar[tuple[str, ...]] = ("help", "version")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._places: dict[tuple[str, str | None], str] = {}
        self._words: list[str] = []
        self._texts: dict[str, str] = {}
        self.config_path: str | None = None
        self.earlier: Self | None = None

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse a command line, and the file that it names.

        :raises usage.UsageError: one of them is wrong.
        """
        words = self._words = list(sys.argv[1:] if options is None else options)
        try:
            lines = self._lines(words)
        except ConfigError as error:
            raise usage.UsageError(str(error)) from None
        for line in lines:
            value = line.value if line.name in self.repeatable else None
            self._places.setdefault((line.name, value), line.place)
        super().parseOptions([*(line.word for line in lines), *words])  # type: ignore[no-untyped-call]

    def parse_again(self) -> Self:
        """Parse the same command line again, with the file as it is now. These options stay.

        :raises usage.UsageError: something is wrong now.
        """
        again = type(self)()
        again.config_path = self.config_path
        again.earlier = self
        again.parseOptions(self._words)
        return again

    def adopt(self, flag: str, now: ConfigurableOptions) -> None:
        """Take a flag's value from options that were parsed again."""
        self[flag] = now[flag]
        self._texts[flag] = now.text(flag)

    def keep_text(self, flag: str) -> None:
        """Keep what was written, before the value replaces it."""
        self._texts[flag] = self[flag]

    def text(self, flag: str) -> str:
        """Return a flag's value as it was written, or as the default is; empty if there is none."""
        value = self._texts.get(flag, self[flag])
        return "" if value is None else str(value)

    def spell(self, flag: str, value: object = None) -> str:
        """Return a flag and its value, for users, as they have written it.

        :param value: for a repeatable flag, the one that is meant.
        :return: ``--port 80``; ``FILE, line 3: port 80`` if it stands in a file.
        """
        if value is None and f"{flag}=" in self.longOpt:
            value = self[flag]
        text = flag if value is None else f"{flag} {value}"
        shown = text if text.isprintable() else text.encode("unicode_escape").decode()
        return self.before(flag, value) + shown

    def before(self, flag: str, value: object = None) -> str:
        """Return what stands before a flag's name: dashes, or the file and the line."""
        key = str(value) if flag in self.repeatable else None
        place = self._places.get((flag, key))
        return "--" if place is None else f"{place}: "

    def _lines(self, words: Sequence[str]) -> list[ConfigLine]:
        try:
            given, _ = getopt.getopt(list(words), self.shortOpt, self.longOpt)
        except getopt.error:
            return []  # parseOptions() reports it
        names = {self._name(flag) for flag, _ in given}
        files = [value for flag, value in given if self._name(flag) == "config"]
        if not files or not names.isdisjoint(self.command_line_only):
            return []
        if len(files) > 1:
            raise ConfigError(f"--config {files[1]}: may be given once")
        if self.config_path is None:
            self.config_path = files[0] and os.path.join(os.getcwd(), files[0])
        lines = read_config(files[0], self.known_flags(), self.config_path)
        return [each for each in lines if each.name not in names]

    def _name(self, flag: str) -> str:
        # getopt has completed abbreviations; one-letter flags remain.
        name: Any = self.synonyms.get(flag.lstrip("-"), flag.lstrip("-"))
        return str(name)

    def known_flags(self) -> KnownFlags:
        """Return the flags that a file may have."""
        left_out = {*self.command_line_only, "config"}
        allowed = [each for each in self.longOpt if each.rstrip("=") not in left_out]
        return KnownFlags(
            values=[each.rstrip("=") for each in allowed if each.endswith("=")],
            switches=[each for each in allowed if not each.endswith("=")],
            repeatable=self.repeatable,
            elsewhere=left_out,
        )
