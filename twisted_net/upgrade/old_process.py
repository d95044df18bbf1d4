"""The old process of an upgrade: starts the new code, and gives it everything; see the package."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net import TwistedNetError
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.eager.moving import export_transport
from twisted_net.endpoints.listening import ListenerService
from twisted_net.endpoints.proxied import export_proxy
from twisted_net.upgrade.frames import (
    MOST_DESCRIPTORS,
    FrameSocket,
    StateEncoder,
    UpgradeFailed,
)
from twisted_net.upgrade.held_signals import HeldSignals
from twisted_net.upgrade.new_process import STATE_VERSION
from twisted_net.upgrade.program import Successor
from twisted_net.wire.text import noun_for

_log = Logger()

START_SECONDS = 60.0
"""Seconds that the new process has to load its code and to read its flags."""

PREPARE_SECONDS = 5.0
"""Seconds that hooks and the store have to finish. Hooks that take longer stay."""

HOOK_SECONDS = 0.25
"""Seconds for which hooks that run are waited for."""

ADOPT_SECONDS = 10.0
"""Seconds that the new process has to adopt everything. Nobody is served meanwhile."""

_LOOK = 0.005  # seconds between two looks at the hooks


@dataclass(frozen=True, slots=True)
class Moved:
    """The result of an upgrade.

    :ivar pid: the new process.
    :ivar count: the connections that it has adopted.
    :ivar stayed: those that have not moved, and are about to be closed.
    :ivar unsent: the bytes that wait for their peers.
    :ivar seconds: how long nobody was served.
    """

    pid: int
    count: int
    unsent: int
    stayed: int
    seconds: float

    def log(self) -> None:
        """Log what was done."""
        stay, they = ("stays", "it is") if self.stayed == 1 else ("stay", "they are")
        _log.info(
            f"Upgrade: process {{pid}} goes on with {{count}} {noun_for(self.count, 'connection')} "
            f"and {{unsent}} unsent {noun_for(self.unsent, 'byte')} "
            f"after {{seconds}} s; {{stayed}} {stay} here until {they} closed",
            pid=self.pid,
            count=self.count,
            unsent=self.unsent,
            seconds=round(self.seconds, 3),
            stayed=self.stayed,
        )


class Upgrade:
    """One attempt to let new code go on with the services of this process.

    :param reactor: the reactor, which runs.
    :param services: by names that the new code has for them, too.
    :param start: starts the new code; may raise OSError. See :class:`NewProgram`.
    :param before_go: called with the new process's id right before it goes on. Whatever must know
        that id can be told. It is called again with this process's own if that fails.
    """

    def __init__(
        self,
        reactor: Any,
        services: Mapping[str, ListenerService],
        start: Callable[[], Successor],
        before_go: Callable[[int], object] = lambda pid: None,
        adopt_seconds: float = ADOPT_SECONDS,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self._reactor = reactor
        self._services = services
        self._start = start
        self._before_go = before_go
        self._adopt_seconds = adopt_seconds
        self._start_seconds = start_seconds
        self._moving: list[tuple[ConnectionFactory, Connection]] = []

    def start(self) -> Deferred[Moved]:
        """Begin.

        :return: fires when the new process goes on; fails with :exc:`UpgradeFailed`, and then
            nothing has changed. If it is cancelled, nothing has changed either.
        """
        return Deferred.fromCoroutine(self._run())

    async def _run(self) -> Moved:
        try:
            child = self._start()
        except OSError as error:
            raise UpgradeFailed(f"the new code cannot be started: {error}") from None
        factories = [factory for each in self._services.values() for factory in each.factories]
        began = None
        held = HeldSignals()
        try:
            await self._until_ready(child)
            held.begin()
            await deferLater(self._reactor, 0)  # a signal that came before is obeyed now
            began = time.monotonic()
            await self._prepare(factories)
            count = self._transfer(child, factories)
        except BaseException as error:
            said = child.end()  # first, because it may have opened the store
            if began is not None:
                for service in self._services.values():
                    service.resume_accepting()
                _go_on(factories)
            held.end(os.getpid())
            raise _explained(error, said) from None
        child.forget()
        held.end(child.pid)
        stayed = sum(len(factory.connections) for factory in factories) - count
        unsent = sum(connection.write_buffer_size for _, connection in self._moving)
        return Moved(child.pid, count, unsent, stayed, time.monotonic() - began)

    async def _until_ready(self, child: Successor) -> None:
        """Wait until the new process has loaded its code and waits for the state."""
        readable: Deferred[None] = Deferred()
        reader = _Reader(child.frames, readable)
        self._reactor.addReader(reader)
        readable.addTimeout(self._start_seconds, self._reactor)
        try:
            await readable
        except WaitedTooLong:
            raise UpgradeFailed(
                f"the new process was not ready within {self._start_seconds:g} s"
            ) from None
        finally:
            self._reactor.removeReader(reader)
        child.frames.deadline = time.monotonic() + self._adopt_seconds
        try:
            ready, _ = child.frames.receive()
        except (EOFError, ConnectionError):
            status = child.status(1.0)
            raise UpgradeFailed(
                "the new process ended" + (f" with {status}" if status else "")
            ) from None
        if ready["version"] != STATE_VERSION:
            raise UpgradeFailed(
                f"the new code takes states of version {ready['version']}, and not {STATE_VERSION}"
            )
        child.pid = ready["pid"]

    async def _prepare(self, factories: Sequence[ConnectionFactory]) -> None:
        """Accept and read nothing more, and let hooks and stores finish."""
        for service in self._services.values():
            service.pause_accepting()
        for factory in factories:
            for connection in list(factory.connections.values()):
                connection.pause_for_move()
        until = time.monotonic() + HOOK_SECONDS
        while time.monotonic() < until and any(
            each.is_busy for factory in factories for each in factory.connections.values()
        ):
            await deferLater(self._reactor, _LOOK)
        waits = gatherResults([each.prepare_move() for each in factories], consumeErrors=True)
        waits.addTimeout(PREPARE_SECONDS, self._reactor)
        try:
            await waits
        except WaitedTooLong:
            raise UpgradeFailed(
                f"the store has not finished within {PREPARE_SECONDS:g} s"
            ) from None

    def _transfer(self, child: Successor, factories: Sequence[ConnectionFactory]) -> int:
        """Send everything, and wait until it is adopted. The reactor does not run meanwhile.

        :return: the number of connections.
        """
        frames = child.frames
        frames.deadline = time.monotonic() + self._adopt_seconds
        try:
            moving = {factory: factory.moving() for factory in factories}
            self._send_services(frames, moving)
            count = sum(
                self._send_connections(frames, number, factory, moving[factory])
                for number, factory in enumerate(factories)
            )
            frames.send({"end": count})
            answer, _ = frames.receive()
        except (EOFError, ConnectionError):
            status = child.status(0.5)
            raise UpgradeFailed(
                "the new process ended before it had adopted everything"
                + (f": {status}" if status else "")
            ) from None
        except TimeoutError:
            raise UpgradeFailed(
                f"the new process has not adopted everything within {self._adopt_seconds:g} s"
            ) from None
        if "failed" in answer:
            raise UpgradeFailed(answer["failed"])
        self._go(child)
        return count

    def _go(self, child: Successor) -> None:
        """Let the new process go on, and wait until it does: it may have been killed just now."""
        self._before_go(child.pid)
        try:
            child.frames.send({"go": True})
            child.frames.receive()
        except (EOFError, OSError) as error:
            self._before_go(os.getpid())
            late = isinstance(error, TimeoutError)
            what = "did not go on" if late else "ended when it had adopted everything"
            raise UpgradeFailed(f"the new process {what}") from None

    def _send_services(
        self, frames: FrameSocket, moving: Mapping[ConnectionFactory, Sequence[Connection]]
    ) -> None:
        services, descriptors = [], []
        for name, service in self._services.items():
            labels = []
            for label, port in service.ports_by_label.items():
                if port in service.ports:
                    labels.append(label)
                    descriptors.append(port.fileno())  # type: ignore[attr-defined]
            states = [each.export_state(moving[each]) for each in service.factories]
            services.append({"name": name, "labels": labels, "factories": states})
        if len(descriptors) > MOST_DESCRIPTORS:
            raise UpgradeFailed(f"there are more than {MOST_DESCRIPTORS} listeners")
        frames.send({"pid": os.getpid(), "services": services}, descriptors)

    def _send_connections(
        self,
        frames: FrameSocket,
        number: int,
        factory: ConnectionFactory,
        moving: Sequence[Connection],
    ) -> int:
        """Send the connections of a factory, and return their number."""
        states: list[bytes] = []
        descriptors: list[int] = []
        encoder = StateEncoder()

        def flush() -> None:
            data = b'{"factory":%d,"connections":[%s]}' % (number, b",".join(states))
            frames.send_encoded(data, descriptors, encoder.behind)
            states.clear()
            descriptors.clear()

        count = 0
        for connection in moving:
            transport = connection.transport
            try:
                state = [
                    *(export_transport(transport), export_proxy(transport)),
                    connection.export_state(),
                ]
                states.append(encoder.encode(state))
            except Exception:
                _log.failure("Connection {id} is not moved", id=connection.id)
                continue
            descriptors.append(transport.fileno())
            self._moving.append((factory, connection))
            count += 1
            if len(states) == MOST_DESCRIPTORS:
                flush()
                encoder = StateEncoder()
        if states:
            flush()
        return count

    def finish(self) -> None:
        """Forget what has moved; the reactor goes on with what has stayed."""
        for service in self._services.values():
            service.release_ports()
        for factory, connection in self._moving:
            factory.give_up(connection)
        for service in self._services.values():
            for factory in service.factories:
                factory.accepts = False
                factory.finish_move()
                for connection in list(factory.connections.values()):
                    connection.resume_after_move()


def _go_on(factories: Sequence[ConnectionFactory]) -> None:
    """Serve everybody again: nothing has moved."""
    for factory in factories:
        factory.cancel_move()
        for connection in list(factory.connections.values()):
            connection.resume_after_move()


def _explained(error: BaseException, said: str) -> BaseException:
    """Return the error with what the new process has said last."""
    if isinstance(error, FirstError):
        error = error.subFailure.value or error
    if isinstance(error, TwistedNetError):
        return UpgradeFailed(f"{error}: {said}" if said else str(error))
    if isinstance(error, OSError):
        return UpgradeFailed(f"{error.strerror or error}: {said}" if said else str(error))
    return error


class _Reader:
    """Fires as soon as the other process has said something, or has ended."""

    def __init__(self, frames: FrameSocket, readable: Deferred[None]) -> None:
        self._frames = frames
        self._readable = readable

    def fileno(self) -> int:
        return self._frames.fileno()

    def logPrefix(self) -> str:
        return "upgrade"

    def doRead(self) -> None:
        if not self._readable.called:
            self._readable.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        self.doRead()
