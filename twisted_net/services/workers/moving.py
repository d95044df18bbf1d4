"""The old worker's part of an upgrade in place: it gives its connections to a new process.

Both are processes of the supervisor, which has started the new one and has passed on the socket to
it. See :mod:`twisted_net.upgrade` for what they say to each other.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress

from twisted_net.upgrade.frames import FrameSocket
from twisted_net.upgrade.program import END_SECONDS


class NewWorker:
    """A new process that the supervisor has started, to go on with this worker's connections.

    :param end: the Unix socket to it.
    :ivar pid: its process id.
    """

    def __init__(self, end: socket.socket, pid: int) -> None:
        self.frames = FrameSocket(end)
        self.pid = pid

    def end(self) -> str:
        """End it. The supervisor knows what it has said last, and how it has ended."""
        with suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        self.frames.deadline = time.monotonic() + END_SECONDS
        with suppress(EOFError, OSError):
            while True:  # until it has closed its end: it may have opened the store
                self.frames.receive()
        self.frames.close()
        return ""

    def status(self, wait: float) -> str:
        """Return nothing: only the supervisor knows how it has ended."""
        return ""

    def forget(self) -> None:
        """Close what only this process needs."""
        self.frames.close()
