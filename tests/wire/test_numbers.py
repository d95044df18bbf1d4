"""Numbers that people type, in every place that accepts them: :mod:`twisted_net.wire.numbers`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.chat.codecs.text_commands import parse_command
from twisted_net.chat.messages import Ban, History, Mute, RequestError
from twisted_net.endpoints.client import client_endpoint
from twisted_net.services import chat, echo
from twisted_net.services.starting import StartError
from twisted_net.store.url import store_from_url
from twisted_net.wire.numbers import parse_decimal, parse_port, parse_whole, shorten

COUNT, BYTES = 1 << 30, 1 << 40

NEVER = {
    "empty": "",
    "a word": "x",
    "a sign": "+5",
    "a minus": "-1",
    "a minus and nothing": "-0",
    "a hexadecimal": "0x10",
    "an exponent too large": "1e400",
    "an underscore": "1_000",
    "a space before": " 5",
    "a space after": "5 ",
    "a line after": "5\n",
    "a digit of another script": "\uff15",
    "a superscript": "\u00b2",
    "not a number": "nan",
    "infinity": "inf",
    "a point alone": ".",
    "two points": "1.2.3",
    "a comma": "1,5",
}
"""Texts that are not a number anywhere."""

HUGE = "9" * 10_000
"""Python's ``int`` rejects it with an error of its own, and ``float`` makes it infinite."""


def whole(name: str, least: int, most: int) -> Callable[[str], str]:
    return lambda text: f"{name}{shorten(text)}: must be a whole number from {least} to {most}"


def decimal(name: str, unit: str = "") -> Callable[[str], str]:
    what = f"a number of {unit}" if unit else "a number"
    return lambda text: f"{name}{shorten(text)}: must be {what} from 0 to {10**9}"


def flag(name: str, module: Any = echo) -> Callable[[str], Any]:
    """Return a function that passes a text to a flag."""

    def parse(text: str) -> Any:
        options = module.Options()
        options.parseOptions([f"--{name}", text])
        return options[name]

    return parse


def option(name: str, settings: str, field: str) -> Callable[[str], Any]:
    """Return a function that passes a text to an option of an endpoint string."""

    def parse(text: str) -> Any:
        made: Any = serverFromString(MemoryReactorClock(), f"net:1:{name}={text}")  # type: ignore[no-untyped-call]
        return getattr(getattr(made, settings), field)

    return parse


def bound(name: str) -> Callable[[str], Any]:
    """Return a function that passes a URL-quoted text to a store option."""

    def parse(text: str) -> Any:
        quoted = "".join(f"%{byte:02x}" for byte in text.encode())
        store: Any = store_from_url(f"memory:?{name}={quoted}", None)
        return getattr(store._bounds, name)

    return parse


CALLERS: list[tuple[Callable[[str], Any], Callable[[str], str], bool]] = [
    (flag("port"), whole("echo --port ", 0, 65535), True),
    (flag("max-connections"), whole("echo --max-connections ", 0, COUNT), True),
    (flag("queue-limit"), whole("echo --queue-limit ", 1, BYTES), True),
    (flag("history", chat), whole("chat --history ", 0, 100), True),
    (flag("idle-timeout"), decimal("echo --idle-timeout ", "seconds"), False),
    (flag("heartbeat", chat), decimal("chat --heartbeat ", "seconds"), False),
    (flag("rate"), decimal("echo --rate "), False),
    (option("idle", "_limits", "idle_timeout"), decimal("idle=", "seconds"), False),
    (option("acceptRate", "_rules", "accept_rate"), decimal("acceptRate="), False),
    (option("perAddress", "_rules", "max_per_address"), whole("perAddress=", 0, COUNT), True),
    (option("queueLimit", "_limits", "queue_limit"), whole("queueLimit=", 1, BYTES), True),
    (bound("count"), whole("count=", 1, COUNT), True),
    (bound("bytes"), whole("bytes=", 1, BYTES), True),
    (bound("age"), decimal("age=", "seconds"), False),
    (bound("rooms"), whole("rooms=", 1, COUNT), True),
    (parse_port, whole("port ", 0, 65535), True),
]  # fmt: skip
"""All callers that parse a number, the error of each for a bad one, and whether it must be
whole."""


def errors(texts: dict[str, str]) -> Iterator[tuple[Callable[[str], Any], str, str, str]]:
    for parse, line, is_whole in CALLERS:
        for kind, text in texts.items():
            yield parse, kind, text, line(text)
        for text in ("1.5", ".5", "5.", "1e3") if is_whole else ():
            yield parse, "a fraction", text, line(text)


class CallersTests(SynchronousTestCase):
    """Flags, options of endpoint strings and of stores, and ports."""

    def test_what_is_no_number_is_told_in_one_line(self) -> None:
        """An error is one short line with the flag or option, the value and the reason."""
        for parse, kind, text, line in errors(NEVER | {"huge": HUGE}):
            error = self.assertRaises((ValueError, StartError), parse, text)
            told = str(error).removeprefix("net")
            for command in ("echo", "chat"):
                told = told.replace(f"{command}: --", f"{command} --", 1)
            self.assertEqual(told, line, kind)
            self.assertNotIn("\n", told)
            self.assertLess(len(told), 200)

    def test_numbers(self) -> None:
        """All callers accept the same numbers."""
        for parse, _, is_whole in CALLERS:
            self.assertEqual(parse("7"), 7)
            self.assertEqual(parse("0" * 10_000 + "7"), 7)
            if not is_whole:
                for text, number in (("7.25", 7.25), ("7.", 7), ("0007.50", 7.5)):
                    self.assertEqual(parse(text), number)

    def test_ports_of_clients(self) -> None:
        """Ports of clients must be valid integers."""
        reactor = MemoryReactorClock()
        for port in (0, -1, 65536, 1.5, True, None, *NEVER.values(), HUGE, int("9" * 4000)):
            error = self.assertRaises(ValueError, client_endpoint, reactor, ("chat.example", port))
            self.assertEqual(
                str(error), f"port {shorten(repr(port))}: must be a whole number from 1 to 65535"
            )

    def test_commands(self) -> None:
        """Commands with a bad number answer with their usage."""
        for text in (*NEVER.values(), HUGE, "100000000", "1.5"):
            if text.strip() not in ("", "5"):
                for command in ("/history", "/ban ann", "/mute ann"):
                    error = self.assertRaises(RequestError, parse_command, f"{command} {text}")
                    self.assertEqual(error.code, "usage")
        self.assertEqual(parse_command("/history 99999999"), History(limit=99999999))
        self.assertEqual(parse_command("/ban ann 0 why"), Ban("ann", 0, "why"))
        self.assertEqual(parse_command("/mute ann 007"), Mute("ann", 7))


class ParsersTests(SynchronousTestCase):
    @given(st.integers(0, 10**30), st.integers(0, 10**15), st.integers(0, 10**30))
    def test_whole_numbers_within_their_bounds(self, number: int, least: int, most: int) -> None:
        if least <= number <= most:
            self.assertEqual(parse_whole(str(number), least, most), number)
        else:
            self.assertRaises(ValueError, parse_whole, str(number), least, most)

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Any text is either a number in ASCII digits or an error of one line."""
        for parse, allowed in ((parse_whole, "0123456789"), (parse_decimal, "0123456789.eE+-")):
            try:
                parse(text, 0, 10**9)
            except ValueError as error:
                self.assertNotIn("\n", str(error))
            else:
                self.assertEqual(text.strip(allowed), "")

    def test_bounds_of_decimals(self) -> None:
        self.assertEqual(parse_decimal("0.5", 0.5, 2), 0.5)
        self.assertEqual(parse_decimal("2", 0.5, 2), 2)
        self.assertEqual(parse_decimal("1e3", 0, 1e9), 1000)
        self.assertEqual(parse_decimal("2.5E-1", 0, 1e9), 0.25)
        for text, line in (
            ("0.4", "must be a number of kilos from 0.5 to 2"),
            ("2.1", "must be a number of kilos from 0.5 to 2"),
        ):
            error = self.assertRaises(ValueError, parse_decimal, text, 0.5, 2, "kilos")
            self.assertEqual(str(error), line)
