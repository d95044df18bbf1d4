"""One worker, as the supervisor sees it."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.services.workers.adopted_process import AdoptedProcess
from twisted_net.services.workers.channel import (
    ControlChannel,
    adopt_channel,
    export_channel,
    open_channel,
)
from twisted_net.services.workers.handoff import Decision, hand_over, hand_successor
from twisted_net.services.workers.log_lines import WorkerLog
from twisted_net.services.workers.settings import WorkerSettings
from twisted_net.services.workers.spawning import WorkerEnds, WorkerProcess

_log = Logger()

ANSWER_SECONDS = 5.0
"""Seconds that a worker has to answer what concerns all; then it is done without it."""

HUNG_SECONDS = 60.0
"""Seconds after which a worker that does not answer is killed. gunicorn has 30."""

_REMEMBERED = 20  # lines of its standard error

_FLAGS = ("ready", "has_served", "was_stopped", "has_moved", "must_reload")


class WorkerOwner(Protocol):
    """What a worker's events go to."""

    def worker_ready(self, worker: WorkerHandle, /) -> None:
        """A worker has begun to serve."""

    def worker_ended(self, worker: WorkerHandle, status: int, /) -> None:
        """A worker's process has ended, with this status, or by minus this signal."""

    def connections_left(self, worker: WorkerHandle, addresses: list[str | None], /) -> None:
        """Connections from these addresses, which the supervisor has admitted, have ended."""

    def worker_leaving(self, worker: WorkerHandle, /) -> None:
        """A worker wants to end, and waits until it is told to stop."""

    def worker_moved(self, worker: WorkerHandle, /) -> None:
        """A worker's successor has its connections, but for those that have stayed."""

    def worker_stayed(self, worker: WorkerHandle, reason: str, /) -> None:
        """A worker goes on, because its successor cannot."""

    def metrics_known(self, worker: WorkerHandle, families: list[dict[str, Any]], /) -> None:
        """A worker has told its metrics, because it is about to end."""


class TapEnd(Protocol):
    """Gets what a worker's connection says and hears."""

    def add_line(self, text: str, /) -> None:
        """Get a line."""

    def end(self, missed: int | None = None, /) -> None:
        """There are no more.

        :param missed: how many lines did not fit; None if nobody knows.
        """


Spawn = Callable[[WorkerProcess, WorkerSettings], WorkerEnds]


class WorkerHandle:
    """A process that serves connections.

    :param number: its number.
    :param clock: the reactor.
    :ivar ready: whether it serves. It is not any more once it was told to stop.
    :ivar has_served: whether it has ever served.
    :ivar was_stopped: whether it was told to stop.
    :ivar started_at: when it was started, by the clock.
    :ivar complaints: the last lines of its standard error.
    :ivar places: the addresses of its connections that the supervisor has admitted.
    :ivar taps: where the lines of its taps go, by their numbers.
    :ivar connections: its open connections, as of its last answer.
    :ivar predecessor: the worker whose connections it goes on with.
    :ivar successor: the new process that is to go on with its connections.
    :ivar has_moved: whether a successor has them. It closes what has stayed, and ends.
    :ivar stayed: the addresses of those that have stayed, which the supervisor has admitted, until
        they are among its :attr:`places` again.
    :ivar must_reload: whether it is to read its files again once it serves.
    :ivar status: how its process has ended.
    :ivar adopted: the metrics that it has taken over from its predecessor.
    """

    def __init__(
        self,
        number: int,
        clock: Any,
        owner: WorkerOwner,
        predecessor: WorkerHandle | None = None,
    ) -> None:
        self.number = number
        self.ready = self.has_served = self.was_stopped = self.has_ended = False
        self.predecessor = predecessor
        self.successor: WorkerHandle | None = None
        self.has_moved = self.must_reload = False
        self.status = 0
        self.stayed: Counter[str | None] = Counter()
        self.adopted: list[dict[str, Any]] = []
        self.started_at = clock.seconds()
        self.complaints: deque[str] = deque(maxlen=_REMEMBERED)
        self.places: Counter[str | None] = Counter()
        self.taps: dict[int, TapEnd] = {}
        self.connections = 0
        self._clock = clock
        self._owner = owner
        self._log = WorkerLog(number)
        self._process = WorkerProcess(self._log.add, self._complain, self._ended)
        self._handoff: socket.socket | None = None
        self._channel = ControlChannel(self._told, self._asked, self._lost)
        self._ping: Deferred[Any] | None = None
        self._asked_at = 0.0
        self._is_late = self._is_killed = False
        self._wait_ready: list[Deferred[bool]] = []
        self._wait_ended: list[Deferred[None]] = []

    def __repr__(self) -> str:
        return f"<Worker {self.number}, pid {self.pid}>"

    @property
    def pid(self) -> int | None:
        """The process id; None if it has ended."""
        return self._process.pid

    @property
    def may_take(self) -> bool:
        """Whether it may get a connection now."""
        return self.ready and not self._is_late

    @property
    def is_gone(self) -> bool:
        """Whether its process has ended, or is about to: nobody hears it any more."""
        return self.has_ended or self._channel.is_lost

    @property
    def why_it_is_lost(self) -> str:
        """Why new code of the supervisor could not go on with it; empty if it can.

        As a rule, it is about to end.
        """
        if self.pid is None or self._channel.is_lost:
            return "it ends"
        return self._channel.why_it_stays()

    @property
    def lifetime(self) -> float:
        """The seconds since it was started."""
        return float(self._clock.seconds() - self.started_at)

    def start(self, spawn: Spawn, settings: WorkerSettings) -> None:
        """Start the process.

        :raises OSError: it cannot be started.
        """
        ends = spawn(self._process, settings)
        self._handoff = ends.handoff
        open_channel(self._clock, ends.control, self._channel)

    def take(
        self, connection: socket.socket, listener: int, decision: Decision, host: str | None
    ) -> bool:
        """Give it a connection. The supervisor's own descriptor stays open.

        :return: False if it has no room, or is gone.
        """
        if self._handoff is None:
            return False
        try:
            return hand_over(self._handoff, connection, listener, decision, host)
        except OSError:  # it dies; its end will be heard soon
            self.ready = False
            return False

    def pass_on(self, successor: WorkerHandle) -> bool:
        """Give it the socket to its successor, which was started: it gives that one everything.

        :return: False if it has no room, or is gone.
        """
        end, successor._handoff = successor._handoff, None
        if end is None or self._handoff is None:
            return False
        with end:
            try:
                passed = hand_successor(self._handoff, end, successor.pid or 0)
            except OSError:
                return False
        if passed:
            self.successor = successor
        return passed

    def succeed(self) -> None:
        """Take the place of the predecessor: what it would have got comes here from now on."""
        before = self.predecessor
        assert before is not None
        self._handoff, before._handoff = before._handoff, None
        before.ready = False
        before.was_stopped = before.has_moved = True
        self.connections, before.connections = before.connections, 0

    def check(self) -> None:
        """Find out whether it answers. Called once a second.

        One that has not answered the last time gets no connections until it does.
        """
        if not self.has_served:
            return
        if self._ping is not None:
            self._is_late = True
            if not self._is_killed and self._clock.seconds() - self._asked_at >= HUNG_SECONDS:
                self._is_killed = True
                _log.error("Worker {worker} hangs; it is killed", worker=self.number)
                self.signal(signal.SIGKILL)
            return
        self._asked_at = self._clock.seconds()
        self._ping = self.ask("ping").addCallbacks(self._answered, self._unanswered)

    def ask(self, name: str, **values: Any) -> Deferred[Any]:
        """Ask it: see :meth:`ControlChannel.ask`."""
        return self._channel.ask(name, **values)

    def tell(self, name: str, **values: Any) -> None:
        """Tell it: see :meth:`ControlChannel.tell`."""
        self._channel.tell(name, **values)

    def wait_ready(self) -> Deferred[bool]:
        """Wait until it serves. Fires with False if it ends before."""
        if self.has_served or self.has_ended:
            return succeed(self.has_served)
        waiting: Deferred[bool] = Deferred()
        self._wait_ready.append(waiting)
        return waiting

    def wait_ended(self) -> Deferred[None]:
        """Wait until its process has ended."""
        if self.has_ended:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._wait_ended.append(waiting)
        return waiting

    def stop(self) -> None:
        """Let it close its connections, and end."""
        self.ready = False
        if self.was_stopped:
            return
        self.was_stopped = True
        self.tell("stop")
        if not self.has_served and self.predecessor is None:  # else it may have connections
            self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.signal(number)

    def reload(self, *, config: bool = True) -> Deferred[Any]:
        """Let it read its files again, as soon as it serves.

        It is asked, and gets no SIGHUP: who asks all workers logs one line, and not each of them.

        :param config: whether also the ``--config`` file.
        :return: fires when it has read them, or will; fails with :exc:`ChannelError`.
        """
        self.must_reload = not self.has_served
        return self.ask("reload", config=config) if self.has_served else succeed(None)

    def _not_reloaded(self, failure: Failure) -> None:
        if not self.is_gone:
            why = failure.getErrorMessage()
            _log.error("Worker {worker} goes on as before: {why}", worker=self.number, why=why)

    # Going on after the supervisor has become new code.

    def export_state(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return what :meth:`adopt` needs. Nothing changes.

        :param keep: returns the number that a descriptor will have.
        :raises ValueError: its line cannot be moved now.
        """
        return {
            "number": self.number,
            "pid": self.pid,
            "channel": export_channel(self._channel, keep),
            "handoff": None if self._handoff is None else keep(self._handoff.fileno()),
            "output": self._process.export_state(keep),
            "lifetime": self.lifetime,
            "complaints": list(self.complaints),
            "places": list(self.places.items()),
            "connections": self.connections,
            **{name: getattr(self, name) for name in _FLAGS},
        }

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Know what was known of a worker that runs; :meth:`adopt` follows."""
        for name in _FLAGS:
            setattr(self, name, state[name])
        self.started_at -= state["lifetime"]
        self.complaints.extend(state["complaints"])
        self.places.update(dict(state["places"]))
        self.connections = state["connections"]

    def adopt(self, state: Mapping[str, Any]) -> None:
        """Hear the worker, and hand connections to it."""
        if state["handoff"] is not None:
            self._handoff = socket.socket(fileno=state["handoff"])
            self._handoff.set_inheritable(False)
        os.set_inheritable(state["channel"]["descriptor"], False)
        adopt_channel(self._clock, state["channel"], self._channel)
        pipes = self._process.restore_state(state["output"])
        AdoptedProcess(self._clock, self._process, state["pid"], pipes).watch()

    # What it does.

    def _told(self, name: str, values: dict[str, Any]) -> None:
        if name == "ready":
            self.has_served = True
            self.ready = not self.was_stopped
            self.adopted = values.get("metrics", [])
            self._owner.worker_ready(self)
            if self.must_reload:
                self.reload().addErrback(self._not_reloaded)
            self._tell_ready(True)
        elif name == "moved":
            self.has_moved = True
            self.stayed = Counter(values["stayed"])
            self._owner.worker_moved(self)
        elif name == "not-moved":
            self._owner.worker_stayed(self, values["reason"])
        elif name == "left":
            self._owner.connections_left(self, values["addresses"])
        elif name == "leaving":
            self._owner.worker_leaving(self)
        elif name == "final":
            self._owner.metrics_known(self, values["metrics"])
        elif name == "tap-line" and values["tap"] in self.taps:
            self.taps[values["tap"]].add_line(values["text"])
        elif name == "tap-ended" and values["tap"] in self.taps:
            self.taps.pop(values["tap"]).end(values.get("missed"))

    def _asked(self, name: str, values: dict[str, Any]) -> Any:
        raise ValueError(f"a worker asks for {name}")

    def _answered(self, values: dict[str, Any]) -> None:
        self._ping = None
        self._is_late = False
        self.connections = values["connections"]

    def _unanswered(self, failure: Failure) -> None:
        self._ping = None

    def _complain(self, line: bytes) -> None:
        self.complaints.append(line.decode(errors="replace"))
        if self.has_served:
            self._log.add_text(line)

    def _lost(self) -> None:
        self.ready = False  # its process will end, too

    def _ended(self, status: int) -> None:
        self.ready = False
        self.has_ended = True
        self.status = status
        if self._handoff is not None:
            self._handoff.close()
            self._handoff = None
        self._channel.abort()
        taps, self.taps = self.taps, {}
        for tap in taps.values():
            tap.end()
        self._owner.worker_ended(self, status)
        self._tell_ready(False)
        waiting, self._wait_ended = self._wait_ended, []
        for each in waiting:
            if not each.called:  # else who has waited gave up
                each.callback(None)

    def _tell_ready(self, serves: bool) -> None:
        waiting, self._wait_ready = self._wait_ready, []
        for each in waiting:
            each.callback(serves)


def describe_end(status: int) -> str:
    """Say how a process has ended."""
    if status >= 0:
        return f"has ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
