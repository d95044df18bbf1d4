"""``--log-format json``: the log with one JSON object a line, for journald, Loki and the like."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from types import FrameType
from typing import Any, TextIO

from twisted.logger import FileLogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile

from twisted_net.wire.json_values import encode_json

_PLAIN = (str, int, float, bool, type(None))

_OWN = ("time", "level", "namespace", "message", "traceback")

OWN_MESSAGE, OWN_TRACEBACK = "log_message", "log_traceback"
"""Keys of an event whose message and traceback are texts already: those of a worker."""


def format_json(event: LogEvent) -> str:
    """Return an event as a JSON object on a line.

    It has ``time`` (RFC 3339), ``level``, ``namespace`` and ``message``, then the event's own
    values that are texts, numbers or booleans, and the ``traceback`` of a failure.
    """
    time = datetime.fromtimestamp(event.get("log_time") or 0, UTC)
    level = event.get("log_level") or LogLevel.info
    values: dict[str, Any] = {
        "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level.name,
        "namespace": event.get("log_namespace") or "",
        "message": event.get(OWN_MESSAGE) or formatEvent(event),
    }
    for name, value in event.items():
        if not name.startswith("log_") and name not in _OWN and type(value) in _PLAIN:
            values[name] = value.strip() if type(value) is str else value
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        values["traceback"] = failure.getTraceback()
    elif OWN_TRACEBACK in event:
        values["traceback"] = event[OWN_TRACEBACK]
    return _encode(values) + "\n"


def _encode(values: dict[str, Any]) -> str:
    try:
        return encode_json(values).decode()
    except ValueError:  # half a surrogate pair, NaN or infinity
        plain = {name: _printable(value) for name, value in values.items()}
        return encode_json(plain).decode()


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return str(value) if isinstance(value, float) else value


def json_observer(file: Any) -> FileLogObserver:
    """Return an observer that writes events to a text file."""
    return FileLogObserver(file, format_json)


def use_json(flags: MutableMapping[str, Any]) -> None:
    """Let twistd, or twist, write its log as JSON, where it would write it otherwise.

    :param flags: the program's own flags, which it has not used yet.
    :raises ValueError: one of them says that the log goes somewhere else. The text names it.
    """
    if "fileLogObserverFactory" in flags or "logFile" in flags:  # twist
        flags["fileLogObserverFactory"] = json_observer
        return
    for other in ("logger", "syslog"):
        if flags.get(other):
            raise ValueError(f"cannot be used with twistd's --{other}")
    _of_twistd.clear()
    _of_twistd.update({name: flags.get(name) for name in ("logfile", "nodaemon", "debug")})
    flags["logger"] = f"{__name__}.{make_observer.__name__}"


_of_twistd: dict[str, Any] = {}
"""The flags of twistd that say where the log is: it calls :func:`make_observer` without them."""


def make_observer() -> FileLogObserver:
    """Return the observer for twistd, after :func:`use_json`."""
    return json_observer(_log_file(_of_twistd))


def _log_file(flags: Mapping[str, Any]) -> TextIO | LogFile:
    """Open the file that twistd would write its log to."""
    name = flags.get("logfile") or ""
    in_foreground = flags.get("nodaemon") or flags.get("debug")
    if name == "-" or (in_foreground and not name):
        if not in_foreground:
            sys.exit("Daemons cannot log to stdout, exiting!")  # twistd's own words
        return sys.stdout
    file: LogFile = LogFile.fromFullPath(os.path.abspath(name or "twistd.log"))  # type: ignore[no-untyped-call]

    def rotate(number: int, frame: FrameType | None) -> None:
        from twisted.internet import reactor

        reactor.callFromThread(file.rotate)  # type: ignore[attr-defined]

    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, rotate)
    return file
