"""Tests for ``--help`` of the services, and for :mod:`twisted_net.services.help`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.services import chat, echo, idle
from twisted_net.services.help import FlagHelp, format_paragraph, format_section, help_width

CHECKOUT = Path(__file__).resolve().parents[2]

SERVICES = (echo, idle, chat)

WITHOUT_DEFAULT = {"help", "version", "help-auth", "help-auth-type"}


def help_of(service: ModuleType, width: int = 80) -> str:
    """Return a service's ``--help`` below the first line."""
    text: str = service.Options().getUsage(width)
    return text


def sections(text: str) -> dict[str, str]:
    """Return the text below each heading."""
    found = [each.partition(":\n") for each in text.split("\n\n")]
    return {heading: flags for heading, _, flags in found if flags.startswith("  ")}


class ServicesTests(SynchronousTestCase):
    """Each service's own flags."""

    def test_every_flag_has_one_place(self) -> None:
        """Every flag is in exactly one group."""
        for service in SERVICES:
            options = service.Options()
            flags = sorted(each.rstrip("=") for each in options.longOpt)
            grouped = [name for group in service.Options.groups for name in group.flags]
            self.assertEqual(sorted(grouped), flags, service.__name__)

    def test_every_flag_is_shown_once(self) -> None:
        """Every flag is shown once, below a heading, with a help text and a default."""
        for service in SERVICES:
            options = service.Options()
            below = sections(help_of(service))
            del below["Examples"]  # and the place of the guide, which follows them
            lines = "\n".join(below.values())
            entries = [
                " ".join(each.split())
                for each in re.split(r"^  (?=-)", lines, flags=re.MULTILINE)
                if each
            ]
            names = []
            for entry in entries:
                found = re.fullmatch(r"(?:-\w, )?--([\w-]+)(=\S+)? ([A-Z0-9].*[.\]])", entry)
                assert found is not None, entry
                name, value, text = found.groups()
                names.append(name)
                self.assertEqual(bool(value), f"{name}=" in options.longOpt, entry)
                shown = re.findall(r"\[default: ([^]]+)\]$", text)
                self.assertEqual(len(shown), name not in WITHOUT_DEFAULT, entry)
                default = options.defaults.get(name)
                if value and default is not None:
                    self.assertEqual(shown, [default])
            self.assertEqual(sorted(names), sorted(each.rstrip("=") for each in options.longOpt))

    def test_the_unit(self) -> None:
        """The value names of times and sizes are their units."""
        for service in SERVICES:
            text = help_of(service)
            for flag in ("idle-timeout", "handshake-timeout", "keepalive", "drain"):
                self.assertIn(f"  --{flag}=SECONDS ", text)
            for flag in ("max-message", "queue-limit", "memory-budget"):
                self.assertIn(f"  --{flag}=BYTES ", text)

    def test_it_fits(self) -> None:
        """No line is longer than the terminal is wide, and no word is split."""
        for service in SERVICES:
            words = help_of(service, 1000).split()
            self.assertIn("10.0.0.0/8,::1.", words)
            for width in (70, 80, 100):
                text = help_of(service, width)
                widest = max(text.splitlines(), key=len)
                self.assertLessEqual(len(widest), width, widest)
                self.assertEqual(text.split(), words)

    def test_help_stands_last(self) -> None:
        """The version and help come last; a service's own flags come first."""
        own = {echo: "Listening", idle: "Forwarding", chat: "Chat"}
        for service in SERVICES:
            headings = list(sections(help_of(service)))
            self.assertEqual(headings[0], own[service])
            self.assertEqual(headings[-2:], ["Help", "Examples"])
            self.assertRegex(sections(help_of(service))["Help"], r"^  --version .*\n  --help .*")

    def test_it_ends_with_examples_and_the_guide(self) -> None:
        """At the end are two command lines, and the pages that say more. These exist."""
        for service in SERVICES:
            first, second = service.Options.examples
            self.assertIn(
                f"\n\nExamples:\n  {first}\n  {second}\n\nThe guide is ", help_of(service)
            )
            last = help_of(service, 1000).splitlines()[-1]
            for path in re.findall(r"docs/[\w./]*\w", last):
                self.assertTrue((CHECKOUT / path).exists(), path)
            self.assertIn("docs/", last)

    def test_the_examples_work(self) -> None:
        """The flags of the examples are valid."""
        for service in SERVICES:
            for example in service.Options.examples:
                twistd, nodaemon, command, *flags = example.split()
                self.assertEqual(
                    (twistd, nodaemon, command), ("twistd", "-n", service.Options.command)
                )
                service.Options().parseOptions(flags)

    def test_short_flags(self) -> None:
        """Short flags come before long ones."""
        self.assertIn("\n  -p, --port=PORT ", help_of(echo))
        self.assertIn("\n  -u, --upstream=ENDPOINT ", help_of(idle))


class WidthTests(SynchronousTestCase):
    """The width of the help."""

    def width(self, columns: str) -> int:
        """Return the width for a value of ``COLUMNS``."""
        self.patch(os, "environ", {**os.environ, "COLUMNS": columns})
        return help_width()

    def test_columns(self) -> None:
        """``COLUMNS`` sets the width, within readable bounds."""
        for columns, width in (("80", 80), ("72", 72), ("300", 100), ("10", 40)):
            self.assertEqual(self.width(columns), width)

    def test_columns_that_are_no_number(self) -> None:
        """A ``COLUMNS`` that is not a number is ignored."""
        self.assertIn(self.width("wide"), range(40, 101))

    def test_it_is_the_default(self) -> None:
        """It is the default of a service's help."""
        self.width("72")
        self.assertEqual(echo.Options().getUsage(), help_of(echo, 72))


class LayoutTests(SynchronousTestCase):
    """The layout of flags and texts."""

    def test_two_columns(self) -> None:
        """The text stands beside the flag, and continues below itself."""
        text = format_section("Log", [FlagHelp("--log=FILE", "one two " * 4)], 64)
        margin = " " * 32
        self.assertEqual(text, f"Log:\n  --log=FILE{' ' * 20}one two one two one two one two")
        text = format_section("Log", [FlagHelp("--log=FILE", "one two " * 6)], 64)
        self.assertEqual(text.splitlines()[2], f"{margin}one two one two")

    def test_a_long_flag(self) -> None:
        """A long flag has its text below it."""
        flag = "--" + "x" * 30
        text = format_section("Log", [FlagHelp(flag, "one")], 80)
        self.assertEqual(text, f"Log:\n  {flag}\n{' ' * 32}one")

    def test_a_narrow_terminal(self) -> None:
        """In a narrow terminal, all texts are below their flags."""
        text = format_section("Log", [FlagHelp("--log", "one")], 40)
        self.assertEqual(text, "Log:\n  --log\n      one")

    def test_a_default_stays_on_one_line(self) -> None:
        """A short default stays on one line, and words longer than a line are not split."""
        self.assertEqual(format_paragraph("one two [default: 5]", 16), "one two\n[default: 5]")
        self.assertEqual(format_paragraph("a-b tcp:127.0.0.1:6379", 8), "a-b\ntcp:127.0.0.1:6379")
