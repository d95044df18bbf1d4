"""twistd, whose new code may be broken: a file says how. A test upgrades to it.

It is run as ``python upgrade_program.py FILE ARGUMENTS...``, with the arguments of twistd.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any


def kill() -> None:
    """End this process, as the kernel does when there is no memory left."""
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    """Stop this process: it lives, but does nothing."""
    os.kill(os.getpid(), signal.SIGSTOP)


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
    if how == "import":
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401
    if how:
        break_it(how)
    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    main()
