"""``docs/flags.rst`` and the ``--help`` of every program say the same."""

from __future__ import annotations

import io
import os
import re
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from tests.services.test_help import SERVICES, help_of, sections
from twisted_net import admin
from twisted_net.accounts import passwd
from twisted_net.services.live_flags import LIVE_FLAGS
from twisted_net.terminal.flags import parse_flags

PAGE = Path(__file__).resolve().parent.parent / "docs" / "flags.rst"

_HEADING = re.compile(r"^([^\n]+)\n([-~])\2{2,}$", re.MULTILINE)
_PROGRAM = re.compile(r"^\.\. program:: (.+)$", re.MULTILINE)
_OPTION = re.compile(r"^\.\. option:: (.+)\n\n((?: {3}.*\n|\n)+)", re.MULTILINE)
_SHOWN = re.compile(r"^  (-.+?)(?=  |$)", re.MULTILINE)
_FIELDS = re.compile(r"Default: (?P<default>.+?)\.(?: On reload: (?P<reload>.+)\.)?")
_DEFAULT = re.compile(r"\[default: ([^]]+)\]")
_COMMANDS = {"top", "who", "close", "tap", "drain", "reload", "upgrade"}


class Entry(NamedTuple):
    """A flag on the page.

    :ivar spelling: such as ``-p PORT, --port PORT``.
    :ivar fields: ``default`` and ``reload``: when a reload counts; if it has them.
    """

    program: str
    heading: str
    spelling: str
    fields: dict[str, str]
    text: str

    @property
    def name(self) -> str:
        """The flag without dashes."""
        found = re.search(r"--([\w-]+)", self.spelling)
        assert found is not None
        return found[1]

    def default(self, service: str) -> str | None:
        """Return the default that the page gives for a service; None if it gives none."""
        if "default" not in self.fields:
            return None
        usual, *others = self.fields["default"].split("; ")
        for other in others:
            value, _, whose = other.partition(" for ")
            if whose == service:
                return value
        return "; ".join([usual, *(each for each in others if " for " not in each)])


def entries() -> list[Entry]:
    """Return every flag on the page, in order."""
    page = PAGE.read_text()
    marks = sorted(
        (found.start(), kind, found[1])
        for kind, pattern in (("heading", _HEADING), ("program", _PROGRAM))
        for found in pattern.finditer(page)
    )
    result = []
    for found in _OPTION.finditer(page):
        last = {kind: value for place, kind, value in marks if place < found.start()}
        first, _, rest = (" ".join(each.split()) for each in found[2].partition("\n\n"))
        fields = _FIELDS.fullmatch(first.replace("``", ""))
        named = {k: v for k, v in fields.groupdict().items() if v} if fields else {}
        text = rest if fields else f"{first} {rest}".strip()
        result.append(Entry(last.get("program", ""), last["heading"], found[1], named, text))
    return result


def service_flags(service: ModuleType) -> list[tuple[str, str, str | None]]:
    """Return heading, spelling and default of each flag of a service, in the order of --help."""
    result = []
    for heading, lines in sections(help_of(service)).items():
        for each in re.split(r"^  (?=-)", lines, flags=re.MULTILINE)[1:]:
            words = " ".join(each.split())
            found = re.match(r"(?:(-\w), )?(--[\w-]+)(?:=(\S+))?", words)
            assert found is not None, words
            short, long, value = found.groups()
            names = [f"{flag} {value}" if value else flag for flag in (short, long) if flag]
            default = _DEFAULT.search(words)
            result.append((heading, ", ".join(names), default[1] if default else None))
    return result


def program_flags(*arguments: str) -> set[str]:
    """Return the flags that a program of ours shows, as the page spells them."""
    runs = {
        "netchat-admin": admin.main,
        "netchat-client": parse_flags,
        "netchat-passwd": passwd.main,
    }
    output = io.StringIO()
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "200"
    try:
        with redirect_stdout(output):
            runs[arguments[0]]([*arguments[1:], "--help"])
    except SystemExit:
        pass
    finally:
        del os.environ["COLUMNS"]
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return {_short_first(each) for each in _SHOWN.findall(output.getvalue())}


def _short_first(flag: str) -> str:
    """Return a flag as the page spells it. Since Python 3.13, its value is only shown once."""
    names = [each.split()[0] for each in flag.split(", ")]
    value = flag.split(", ")[-1].partition(" ")[2]
    names.sort(key=lambda each: each.startswith("--"))
    return ", ".join(f"{name} {value}".rstrip() for name in names)


class ServiceFlagTests(SynchronousTestCase):
    """The flags of netecho, netidle and netchat."""

    def setUp(self) -> None:
        self.entries = [entry for entry in entries() if not entry.program]

    def test_every_flag_both_ways(self) -> None:
        """Each flag of a service is there, spelled as in ``--help``, and no other."""
        found = {each.spelling for each in self.entries}
        self.assertEqual(len(found), len(self.entries))
        wanted = {flag for service in SERVICES for _, flag, _ in service_flags(service)}
        self.assertEqual(found, wanted)

    def test_groups_and_order(self) -> None:
        """They stand below the headings of ``--help``, in its order."""
        for service in SERVICES:
            wanted = [(heading, flag) for heading, flag, _ in service_flags(service)]
            names = {flag for _, flag in wanted}
            found = [(each.heading, each.spelling) for each in self.entries]
            self.assertEqual([each for each in found if each[1] in names], wanted)

    def test_defaults(self) -> None:
        """Each has the default of each service."""
        by_spelling = {each.spelling: each for each in self.entries}
        for service in SERVICES:
            name = service.__name__.rpartition(".")[2]
            for _, flag, default in service_flags(service):
                self.assertEqual(by_spelling[flag].default(f"net{name}"), default, flag)

    def test_which_are_obeyed_at_once(self) -> None:
        """Each flag that a running service obeys says so, and no other."""
        found = {each.name for each in self.entries if "reload" in each.fields}
        self.assertEqual(found, set(LIVE_FLAGS))

    def test_each_has_a_text(self) -> None:
        """None is left without a word."""
        for each in entries():
            self.assertRegex(each.text, r"^[A-Z`][^\0]{10,}\.$", each.spelling)


class ProgramFlagTests(SynchronousTestCase):
    """The flags of the other programs."""

    def on_page(self, program: str) -> set[str]:
        """Return the flags that the page has for a program, or for one of its commands."""
        return {each.spelling for each in entries() if each.program == program}

    def test_programs(self) -> None:
        """Each flag of a program is there, and no other."""
        for program in ("netchat-admin", "netchat-client", "netchat-passwd"):
            self.assertEqual(self.on_page(program), program_flags(program), program)

    def test_commands(self) -> None:
        """So is each flag of the commands of ``netchat-admin``."""
        text = PAGE.read_text()
        for command in _COMMANDS:
            found = self.on_page(f"netchat-admin {command}") | {"-h, --help"}
            if command == "top":  # the page says that it has those of ``who``, too
                found |= self.on_page("netchat-admin who")
            self.assertEqual(found, program_flags("netchat-admin", command), command)
            self.assertIn(f"**{command}**", text)
        wrong = {each.program for each in entries()} - {f"netchat-admin {c}" for c in _COMMANDS}
        self.assertEqual(wrong, {"", "netchat-admin", "netchat-client", "netchat-passwd"})
