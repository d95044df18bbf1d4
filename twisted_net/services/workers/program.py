"""What a worker runs: ``twistd``, with the supervisor's command line.

It is started by the supervisor only: ``python -m twisted_net.services.workers.program``.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from twisted_net.services.early_signals import leave_endings_to_system, note_signals
from twisted_net.services.workers.settings import (
    OLD_WORKER_FD,
    PYTHONPATH,
    SETTINGS_FD,
    WorkerSettings,
    read_settings,
)
from twisted_net.services.workers.this_process import become_worker
from twisted_net.upgrade.new_process import UPGRADE_VARIABLE

_OBSERVER = "twisted_net.services.workers.log_lines.make_worker_observer"


def twistd_arguments(settings: WorkerSettings) -> list[str]:
    """Return the command line of ``twistd`` in a worker."""
    own = ["twistd", "--nodaemon", "--pidfile=", "--logger", _OBSERVER]
    return [*own, *settings.twistd, settings.command, *settings.words]


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Handle a signal that is the supervisor's."""


def main() -> None:
    """Run a worker until it ends."""
    settings = read_settings(SETTINGS_FD)
    become_worker(settings)
    if settings.python_path is None:
        os.environ.pop(PYTHONPATH, None)
    else:
        os.environ[PYTHONPATH] = settings.python_path
    # Ctrl-C goes to all processes of a terminal. The supervisor tells when it is time to stop.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is sent to all processes of a service must not end the workers. SIGHUP is obeyed later.
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, _do_nothing)
    note_signals()
    leave_endings_to_system()
    if settings.succeeds:
        # Once it has the connections, it must close them in good order; see WorkerEnd.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        os.environ[UPGRADE_VARIABLE] = f"{OLD_WORKER_FD},{os.dup(2)}"
    sys.argv = twistd_arguments(settings)
    from twisted.scripts.twistd import run

    run()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    # "python -m" runs this file under another name; what is known must be known once.
    from twisted_net.services.workers import program

    program.main()
