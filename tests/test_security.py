"""What ``docs/security.rst`` says about flags and limits is true."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.test_deployment import parse_flags
from twisted_net.chat.limits import ChatLimits
from twisted_net.chat.session import MOST_FAILURES
from twisted_net.policy.limits import DEFAULT_LIMITS
from twisted_net.services.chat import Options
from twisted_net.web.bounded_request import MOST_BODY
from twisted_net.web.refusals import REFUSED_A_SECOND
from twisted_net.web.request_head import MAX_HEAD
from twisted_net.wire.framing import MAX_DEPTH
from twisted_net.wire.websocket import MAX_FRAGMENTS

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "security.rst").read_text()

WORDS = re.sub(r"\s+", " ", TEXT)

SWITCHES = {"allow-plain-login", "allow-expired"}


class SecurityPageTests(SynchronousTestCase):
    def test_flags(self) -> None:
        """Each flag exists, and those that set a limit are there."""
        options = Options()
        known = {each.rstrip("=") for each in options.longOpt}
        named = set(re.findall(r"--([a-z][a-z0-9-]+)", TEXT))
        self.assertEqual(named - known, set())
        limits = {
            name
            for group in Options.groups
            if group.heading in ("Who may connect", "Messages and queues", "Timeouts")
            for name in group.flags
        }
        self.assertEqual(limits - named, set())

    def test_defaults(self) -> None:
        """Each default in parentheses is that of the flag."""
        options = Options()
        found = re.findall(r"``--([a-z-]+)`` \(([^()]+)\)", WORDS)
        self.assertGreater(len(found), 20)
        for name, text in found:
            default = options.defaults.get(name)
            if name in options.repeatable or name == "admin":
                self.assertEqual(text, "none")
            elif name in SWITCHES:
                self.assertEqual((text, options[name]), ("off", 0))
            elif name == "max-connections":
                self.assertEqual((text[:8], default), ("what the", None))
            elif text == "off":
                self.assertEqual(default, "0", name)
            else:
                self.assertEqual(text.split()[0], default, name)

    def test_the_example(self) -> None:
        """The flags that it recommends are accepted."""
        (line,) = re.findall(r"^ {7}(--.*)$", TEXT, re.MULTILINE)
        options = parse_flags(line.split())
        self.assertGreater(options["max-per-address"], 0)

    def test_limits_without_a_flag(self) -> None:
        limits, chat = DEFAULT_LIMITS, ChatLimits()
        for said in (
            f"reads nothing at all for {limits.stall_timeout:g} seconds",
            f"at most {REFUSED_A_SECOND} a second, that are told why",
            f"in at most {chat.rooms} rooms at a time, and at most {chat.all_rooms:,} rooms have",
            f"nests at most {MAX_DEPTH} deep",
            f"at most {MAX_HEAD // 1024} KiB, its body {MOST_BODY // 1024} KiB.",
            f"at most {MAX_FRAGMENTS:,} fragments",
            "and the fifth closes the connection",
        ):
            self.assertIn(said, WORDS)
        self.assertEqual(MOST_FAILURES, 5)
