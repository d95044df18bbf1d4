"""twistd, whose new code may be broken: a file says how. A test upgrades to it.

It is run as ``python upgrade_program.py FILE ARGUMENTS...``, with the arguments of twistd. With
``--workers``, each line of the file is for the next worker that is started, and may be empty. What
begins with ``supervisor-`` is for the supervisor.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any


def kill() -> None:
    """End this process, as the kernel does when there is no memory left."""
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    """Stop this process: it lives, but does nothing."""
    os.kill(os.getpid(), signal.SIGSTOP)


def waiting_file(path: Path) -> Path:
    """Return the file for whose end new code waits that is broken by ``wait``."""
    return path.with_name("wait")


def wait_until_told(path: Path) -> None:
    """Do nothing until a test allows it."""
    while waiting_file(path).exists():
        time.sleep(0.02)


def break_worker(how: str, path: Path) -> None:
    """Break the new code of a worker."""
    from twisted_net.upgrade import new_process

    wait = new_process.Succession.wait

    def wait_first(succession: Any, services: Any) -> None:
        wait_until_told(path)
        wait(succession, services)

    if how == "import":
        sys.modules["twisted_net.services.workers.making"] = None  # type: ignore[assignment]
    elif how == "flags":
        from twisted_net.services.workers import settings

        read = settings.read_settings

        def read_wrong(descriptor: int) -> settings.WorkerSettings:
            found = read(descriptor)
            return replace(found, words=(*found.words, "--unknown-flag"))

        settings.read_settings = read_wrong
    elif how == "wait":
        new_process.Succession.wait = wait_first  # type: ignore[method-assign]
    else:
        break_it(how)


def break_supervisor(how: str, path: Path) -> None:
    """Break the new code of a supervisor."""
    if how == "version":
        from twisted_net.services import reexec

        reexec.REEXEC_VERSION += 1
    elif how == "wait":
        wait_until_told(path)
    elif how == "hold" and not os.environ["TWISTED_NET_REEXEC"].endswith("trial"):
        path.with_name("held").touch()
        wait_until_told(path)
    elif how == "import":
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401
    elif how != "hold":
        break_it(how)


def break_it(how: str) -> None:
    """Break the new code."""
    from twisted_net.upgrade import new_process
    from twisted_net.upgrade.frames import FrameSocket

    send = FrameSocket.send
    adopt = new_process.Succession.adopt

    def send_then(frames: Any, message: Any, descriptors: Any = ()) -> None:
        send(frames, message, descriptors)
        if "adopted" in message:
            kill()

    def before(succession: Any, services: Any) -> int:
        (stop if how == "late" else kill)()
        return adopt(succession, services)

    if how == "version":
        new_process.STATE_VERSION += 1
    elif how == "flags":
        sys.argv.append("--unknown-flag")
    elif how == "killed-after":
        FrameSocket.send = send_then  # type: ignore[method-assign]
    else:
        new_process.Succession.adopt = before  # type: ignore[method-assign]


def main() -> None:
    """Run twistd."""
    path = Path(sys.argv.pop(1))
    how = path.read_text() if path.exists() else ""
    if how == "stopped":
        stop()
    if "--workers" in sys.argv:
        os.environ["UPGRADE_PROGRAM_HOW"] = str(path)
        sys.path.insert(0, str(Path(__file__).with_name("new_code")))
        first, _, what = how.partition("supervisor-")
        if what and not first:
            break_supervisor(what, path)
    elif how == "import":
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401
    elif how:
        break_it(how)
    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    main()
