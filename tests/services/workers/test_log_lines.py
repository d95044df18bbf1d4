"""Tests for :mod:`twisted_net.services.workers.log_lines`."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

from twisted.logger import Logger, LogLevel, capturedLogs, eventAsText, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.services.log_format import format_json, json_observer
from twisted_net.services.workers.log_lines import WorkerLog


class WorkerLogTests(SynchronousTestCase):
    def line(self, text: str, **values: Any) -> bytes:
        """Return the line that a worker writes for an event."""
        out = StringIO()
        with capturedLogs() as events:
            Logger(namespace="a.b").emit(values.pop("level", LogLevel.info), text, **values)
        json_observer(out)({**events[0], "log_time": 1000.25})
        return out.getvalue().encode()

    def heard(self, line: bytes) -> Any:
        """Return the event of this process."""
        with capturedLogs() as events:
            WorkerLog(2).add(line)
        (event,) = events
        return event

    def test_as_text(self) -> None:
        """The worker's number stands before the message; time, level and place are its own."""
        event = self.heard(self.line("{n} {{x}}", n=3, level=LogLevel.warn))
        self.assertEqual(formatEvent(event), "[worker 2] 3 {x}")
        self.assertEqual((event["log_namespace"], event["log_level"]), ("a.b", LogLevel.warn))
        self.assertEqual(event["log_time"], 1000.25)

    def test_as_json(self) -> None:
        """The object is as the worker has written it, with one more field."""
        line = self.line("{n} x", n=3, who="me")
        found = json.loads(format_json(self.heard(line)))
        self.assertEqual(found, {**json.loads(line), "worker": 2})

    def test_failures(self) -> None:
        """Their tracebacks are kept in both forms."""
        failure = Failure(ZeroDivisionError("x"))
        line = self.line("failed", log_failure=failure, level=LogLevel.critical)
        event = self.heard(line)
        self.assertIn("ZeroDivisionError", eventAsText(event))
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(json.loads(format_json(event)), {**json.loads(line), "worker": 2})

    def test_braces(self) -> None:
        """What a worker logs is not formatted a second time."""
        line = b'{"message":"{log_source} {0} {worker}","level":"info"}'
        self.assertEqual(formatEvent(self.heard(line)), "[worker 2] {log_source} {0} {worker}")

    def test_what_is_no_event(self) -> None:
        """It is shown as it is, without control characters."""
        for line in (b"print", b"[1]", b'{"message":1}', b'{"a', b'"text"'):
            self.assertEqual(formatEvent(self.heard(line)), f"[worker 2] {line.decode()}")
        shown = formatEvent(self.heard(b"\x1b[1m\xff"))
        self.assertNotIn("\x1b", shown)
        with capturedLogs() as events:
            WorkerLog(2).add(b"  ")
        self.assertEqual(events, [])

    def test_own_keys_stay(self) -> None:
        """A field cannot replace what belongs to this process."""
        line = b'{"message":"x","level":"nonsense","worker":9,"log_source":1,"time":"never"}'
        event = self.heard(line)
        self.assertEqual((event["worker"], event["log_level"]), (2, LogLevel.info))
