"""Workers for tests that are no processes."""

from __future__ import annotations

import signal
import socket
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_net.services.workers.handoff import make_pair
from twisted_net.services.workers.settings import WorkerSettings
from twisted_net.services.workers.spawning import WorkerEnds, WorkerProcess
from twisted_net.testing import Peer, connect_peer
from twisted_net.wire.framing import JsonLines


class FakeReactor(Clock):
    """A clock that connects the supervisor's end of a channel to memory."""

    def __init__(self) -> None:
        super().__init__()
        self.peers: list[Peer] = []
        self.has_stopped = False

    def callWhenRunning(self, function: Any, *arguments: Any) -> None:
        function(*arguments)

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        function(*arguments)

    def stop(self) -> None:
        self.has_stopped = True

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        self.peers.append(connect_peer(factory))


class FakeWorker:
    """A process that was started, and what a test does in its place.

    :ivar signals: the signals that it got.
    """

    def __init__(
        self, reactor: FakeReactor, process: WorkerProcess, settings: WorkerSettings, pid: int
    ) -> None:
        self.settings = settings
        self.signals: list[str] = []
        self.pid: int | None = pid
        self._reactor = reactor
        self._process = process
        self._place = len(reactor.peers)
        self._framing = JsonLines()
        process.transport = self

    def signalProcess(self, name: str) -> None:
        if self.pid is None:
            raise ProcessExitedAlready
        self.signals.append(name)

    def tell(self, name: str, **values: Any) -> None:
        """Tell the supervisor something."""
        self._peer.send(JsonLines().encode({"tell": name, **values}))

    def send(self, message: Any) -> None:
        """Send a message as it is."""
        self._peer.send(JsonLines().encode(message))

    def heard(self) -> list[dict[str, Any]]:
        """Return what the supervisor has said since the last call."""
        return self._framing.feed(self._peer.take())

    def disconnect(self) -> None:
        """Close its end of the channel."""
        self._peer.write_eof()

    def say(self, line: str) -> None:
        """Write a line to standard error."""
        self._process.errReceived(f"{line}\n".encode())

    def end(self, status: int = 0, killed_by: int = 0) -> None:
        """End the process."""
        self.pid = None
        reason = (
            ProcessTerminated(None if killed_by else status, killed_by or None)
            if status or killed_by
            else ProcessDone(0)
        )
        self._process.processEnded(Failure(reason))

    @property
    def _peer(self) -> Peer:
        return self._reactor.peers[self._place]


class FakeSpawner:
    """Starts fake workers.

    :ivar started: all of them, in order.
    :ivar error: raised in place of the next start.
    """

    def __init__(self, reactor: FakeReactor) -> None:
        self._reactor = reactor
        self.started: list[FakeWorker] = []
        self.error: OSError | None = None
        self._handoffs: list[socket.socket] = []

    def spawn(self, process: WorkerProcess, settings: WorkerSettings) -> WorkerEnds:
        if self.error is not None:
            raise self.error
        worker = FakeWorker(self._reactor, process, settings, 1000 + len(self.started))
        self.started.append(worker)
        control, its_control = socket.socketpair()
        its_control.close()
        handoff, its = make_pair()
        self._handoffs += [handoff, its]
        return WorkerEnds(control, handoff)

    def close(self) -> None:
        """Close the sockets, for workers that a test has left running."""
        for each in self._handoffs:
            each.close()


SIGKILL = int(signal.SIGKILL)
