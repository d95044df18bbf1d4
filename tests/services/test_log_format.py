"""Tests for :mod:`twisted_net.services.log_format`."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, factory_of
from tests.services.test_options import SERVICES
from twisted_net.policy.close_reasons import KICKED
from twisted_net.services.log_format import format_json, json_observer, use_json
from twisted_net.services.starting import StartError
from twisted_net.testing import connect_peer


class FormatTests(SynchronousTestCase):
    def test_the_end_of_a_connection(self) -> None:
        """Reason, name, seconds, bytes and messages are fields of their own."""

        class Named(Recorder):
            def name_for_log(self) -> str:
                return "ann"

        seen: list[Any] = []
        factory = factory_of(Named)
        from twisted_net.connection import factory as module

        self.patch(module, "_log", Logger("here", observer=seen.append))
        peer = connect_peer(factory)
        peer.advance(90)
        peer.send(b"say hello\n")
        peer.write_eof()
        line = json.loads(format_json(seen[-1]))
        self.assertTrue(line.pop("time").endswith("Z"))
        self.assertTrue(line.pop("message").startswith("Connection 1 from 192.0.2.2:54321 ended"))
        self.assertEqual(
            line,
            {
                "level": "info",
                "namespace": "here",
                "id": 1,
                "peer": "192.0.2.2:54321",
                "reason": "peer-closed",
                "detail": "",
                "name": "ann",
                "seconds": 90.0,
                "bytes_received": 10,
                "bytes_sent": 6,
                "messages_received": 1,
                "messages_sent": 1,
            },
        )

    def test_an_end_that_needs_words(self) -> None:
        """The detail is the text itself, as in ``/ended``; only the line has it in brackets."""
        seen: list[Any] = []
        from twisted_net.connection import factory as module

        self.patch(module, "_log", Logger("here", observer=seen.append))
        peer = connect_peer(factory_of(Recorder))
        peer.protocol.close(KICKED, "go away")
        peer.advance(0)
        peer.write_eof()
        line = json.loads(format_json(seen[-1]))
        self.assertEqual((line["detail"], line["name"]), ("go away", ""))
        self.assertIn(" ended: kicked (go away), ", line["message"])

    def test_events(self) -> None:
        """A time of RFC 3339, what is plain, and nothing that is not."""
        event = {
            "log_time": 1_700_000_000.5,
            "log_level": LogLevel.warn,
            "log_namespace": "a.b",
            "log_format": "{what} was {number}",
            "what": "it",
            "number": 3,
            "object": object(),
        }
        self.assertEqual(
            json.loads(format_json(event)),
            {
                "time": "2023-11-14T22:13:20.500Z",
                "level": "warn",
                "namespace": "a.b",
                "message": "it was 3",
                "what": "it",
                "number": 3,
            },
        )
        self.assertEqual(json.loads(format_json({}))["message"], "")

    def test_a_failure(self) -> None:
        """Has its traceback, on the same line."""
        try:
            raise ValueError("no\nnewline")
        except ValueError:
            event = {"log_failure": Failure(), "log_format": "x"}  # type: ignore[no-untyped-call]
        text = format_json(event)
        self.assertEqual(text.count("\n"), 1)
        self.assertIn("ValueError: no\nnewline", json.loads(text)["traceback"])

    @given(st.dictionaries(st.text(max_size=5), st.text() | st.floats() | st.booleans()))
    def test_anything_is_one_line(self, values: dict[str, Any]) -> None:
        """Whatever the values are, even what JSON does not have."""
        event = {"log_format": "x", **{f"v{name}": value for name, value in values.items()}}
        text = format_json(event)
        self.assertEqual(text.count("\n"), 1)
        json.loads(text)

    def test_half_a_character(self) -> None:
        """Of a pair of surrogates is escaped."""
        line = json.loads(format_json({"log_format": "x", "v": "\udc80", "n": float("nan")}))
        self.assertEqual((line["v"], line["n"]), ("\\udc80", "nan"))


class FlagTests(SynchronousTestCase):
    def observe(self, flags: dict[str, Any]) -> Any:
        """Return the observer that twistd gets: it imports what makes one by its name."""
        use_json(flags)
        return namedAny(flags["logger"])()

    def test_twistd(self) -> None:
        """The log goes where twistd would write it."""
        stdout = io.StringIO()
        self.patch(sys, "stdout", stdout)
        for flags in ({"nodaemon": True}, {"nodaemon": True, "logfile": "-"}):
            self.observe(flags)({"log_format": "hello"})
        self.assertEqual([json.loads(each)["message"] for each in stdout.getvalue().splitlines()],
                         ["hello", "hello"])  # fmt: skip

    def test_a_file(self) -> None:
        """A daemon's is twistd.log, and SIGUSR1 rotates it."""
        before = signal.getsignal(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        path = os.path.abspath(self.mktemp())
        flags: dict[str, Any] = {"logfile": path}
        observer = self.observe(flags)
        self.addCleanup(observer._outFile.close)
        observer({"log_format": "hello"})
        with open(path) as file:
            self.assertEqual(json.loads(file.read())["message"], "hello")
        self.assertNotEqual(signal.getsignal(signal.SIGUSR1), signal.SIG_DFL)
        self.assertRaises(SystemExit, self.observe, {"logfile": "-"})

    def test_twist(self) -> None:
        """Has a place for it."""
        flags: dict[str, Any] = {"logFile": sys.stdout}
        use_json(flags)
        self.assertIs(flags["fileLogObserverFactory"], json_observer)

    def test_errors(self) -> None:
        """Another format, and another way to log."""
        for service in SERVICES:
            options = service.Options()
            error = self.assertRaises(StartError, options.parseOptions, ["--log-format", "xml"])
            self.assertIn("--log-format xml: must be text or json", str(error))
        for flag in ("syslog", "logger"):
            options = SERVICES[0].Options()
            options.parent = {flag: True}
            error = self.assertRaises(StartError, options.parseOptions, ["--log-format", "json"])
            self.assertIn(f"--log-format json: cannot be used with twistd's --{flag}", str(error))
