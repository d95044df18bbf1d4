"""What the supervisor tells a worker before it starts: once, through a pipe, as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

CONTROL_FD, HANDOFF_FD, SETTINGS_FD = 3, 4, 5
"""The descriptors that a worker is started with, besides the standard ones."""

OLD_WORKER_FD = HANDOFF_FD
"""The socket to the old worker, if it is to go on with one: it gets that one's handoff socket."""

PYTHONPATH = "PYTHONPATH"
"""The variable in which a worker gets the supervisor's ``sys.path``."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What one worker is told.

    :ivar number: its number, from 1 on. The one that replaces it gets the same.
    :ivar workers: how many there are.
    :ivar command: the service's name.
    :ivar words: the service's flags, as the operator has written them.
    :ivar twistd: flags of ``twistd`` itself, such as ``--uid``.
    :ivar ticket_key: the key of session tickets that all workers share, in hexadecimal digits;
        empty if a file has it, or OpenSSL makes one.
    :ivar certificate: the self-signed certificate of this run and its key, in PEM form.
    :ivar python_path: ``PYTHONPATH`` as the operator has set it, for programs that it starts.
    :ivar listeners: the labels of what the supervisor listens on, by their numbers.
    :ivar succeeds: whether it goes on with the connections of another worker: an upgrade in place.
    """

    number: int
    workers: int
    command: str
    words: tuple[str, ...]
    twistd: tuple[str, ...] = ()
    ticket_key: str = ""
    certificate: tuple[str, str] | None = None
    python_path: str | None = None
    listeners: tuple[str, ...] = ()
    succeeds: bool = False

    def to_bytes(self) -> bytes:
        """Return the settings as JSON."""
        return json.dumps(asdict(self)).encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes) -> WorkerSettings:
        """Return the settings in what :meth:`to_bytes` has made."""
        values = json.loads(data)
        for name in ("words", "twistd", "listeners"):
            values[name] = tuple(values[name])
        if values["certificate"] is not None:
            values["certificate"] = tuple(values["certificate"])
        return cls(**values)


def write_settings(settings: WorkerSettings) -> int:
    """Return a descriptor from which the settings can be read, whoever writes no more."""
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        data = settings.to_bytes()
        if os.write(writing, data) < len(data):
            raise OSError("the command line is too long for a pipe")
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return reading


def read_settings(descriptor: int) -> WorkerSettings:
    """Read the settings, and close the descriptor."""
    with os.fdopen(descriptor, "rb") as file:
        return WorkerSettings.from_bytes(file.read())
