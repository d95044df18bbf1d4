"""The worker's end: it takes connections, and does what the supervisor says."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from errno import EMFILE, ENFILE
from types import FrameType
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorCore
from twisted.logger import Logger

from twisted_net.connection.factory import ConnectionFactory
from twisted_net.eager.reactor_interfaces import eager
from twisted_net.policy.close_reasons import DRAINING, FAILED, PEER_RESET
from twisted_net.services.live_flags import ReloadError
from twisted_net.services.starting import NamedService
from twisted_net.services.workers.channel import ChannelError, ControlChannel, open_channel
from twisted_net.services.workers.dispatcher import bare_host
from twisted_net.services.workers.handoff import Decision, HandedConnection, HandoffReader
from twisted_net.services.workers.moving import NewWorker
from twisted_net.services.workers.pool import WORKER_END_SECONDS
from twisted_net.services.workers.settings import CONTROL_FD, HANDOFF_FD
from twisted_net.services.workers.shared_admission import SharedAdmission
from twisted_net.services.workers.sockets import HandedSockets
from twisted_net.upgrade.frames import UpgradeFailed
from twisted_net.upgrade.old_process import Moved, Upgrade

_log = Logger()

_LEAVE_SECONDS = 2.0
"""Seconds that the supervisor has to say that a worker may end."""

_GATHER = 0.005
"""Seconds for which ended connections are gathered, so that short ones cost less. For as long,
their places are not free."""


class OperatorAnswers(Protocol):
    """Answers what operators ask through the supervisor."""

    def start(self) -> None:
        """Begin to observe the service."""

    def stop(self) -> None:
        """Stop observing."""

    async def answer(self, name: str, values: dict[str, Any], /) -> Any:
        """Return a JSON value.

        :raises ChannelError: it cannot be answered.
        """

    async def metrics(self) -> list[dict[str, Any]]:
        """Return the metrics."""

    def told(self, name: str, values: dict[str, Any], /) -> None:
        """Do what the supervisor says about a tap."""


def adopt(reactor: Any, handed: HandedConnection, factory: Any) -> None:
    """Serve a connection.

    :raises OSError: the peer has gone.
    """
    # Twisted asks for the peer, too, but leaves its copy of the socket unclosed if it has gone.
    with socket.socket(fileno=os.dup(handed.descriptor)) as connection:
        connection.getpeername()
    eager(reactor).adoptStreamConnection(handed.descriptor, handed.family, factory)


class WorkerEnd:
    """Connects a service of this process with the supervisor.

    In place of the service manager, the supervisor is told when the service is ready.

    :param reactor: the reactor.
    :param sockets: the ports of the service.
    :param admission: that of the service.
    """

    def __init__(self, reactor: Any, sockets: HandedSockets) -> None:
        self._reactor = reactor
        self._sockets = sockets
        self._service: NamedService | None = None
        self._admission: SharedAdmission | None = None
        self._answers: OperatorAnswers | None = None
        self._channel = ControlChannel(self._told, self._asked, self._lost)
        self._gone: list[str | None] = []
        self._is_stopping = self._is_leaving = self._has_begun = False
        self._moving: Deferred[None] | None = None  # while an upgrade runs

    def serve(
        self,
        service: NamedService,
        admission: SharedAdmission,
        answers: OperatorAnswers | None,
    ) -> None:
        """Serve with a service.

        :param answers: answers what operators ask, if they can.
        """
        self._service = service
        self._admission = admission
        self._answers = answers
        service.manager = self
        service.takes_second_signal = service.upgrades_in_place = False
        self._reactor.callWhenRunning(self._connect)

    def left(self, address: str | None) -> None:
        """Tell, soon, that a connection has ended which the supervisor has admitted."""
        if not self._gone:
            self._reactor.callLater(_GATHER, self._tell_left)
        self._gone.append(None if address is None else bare_host(address))

    def tell(self, name: str, **values: Any) -> None:
        """Tell the supervisor something."""
        self._channel.tell(name, **values)

    # In place of the service manager.

    def ready(self, describe: Callable[[], str]) -> None:
        """Begin to take connections."""
        if not self._has_begun:
            self._reactor.callWhenRunning(self._begin)

    def reloading(self) -> AbstractContextManager[None]:
        """The supervisor says so."""
        return nullcontext()

    def stopping(self, status: str, seconds: float) -> None:
        """The supervisor knows."""

    def close(self) -> None:
        """Nothing is left to be told."""

    def stop(self) -> None:
        """Serve what was passed on, close all connections, and end. More than once is as once."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self._stay()
        self._take_all()
        Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        """Stop the service, tell what it has counted, and end."""
        service = self._service
        assert service is not None
        try:
            # Not with the reactor's own end: what is told then would not be sent any more.
            leave: Any = service.disownServiceParent if service.parent else service.stopService
            await maybeDeferred(leave)
            self._tell_left()
            if self._answers is not None:
                self._channel.tell("final", metrics=await self._answers.metrics())
                self._answers.stop()
            if not self._channel.is_lost:
                await self._channel.flushed()
        except Exception:
            _log.failure("The worker could not stop in good order")
        reactor: IReactorCore = self._reactor
        reactor.stop()

    def _connect(self) -> None:
        os.set_inheritable(CONTROL_FD, False)
        if self._sockets.inherited is None:
            os.set_inheritable(HANDOFF_FD, False)
        # systemd sends SIGTERM to all processes of a service, and the supervisor tells us, too.
        signal.signal(signal.SIGTERM, self._terminated)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # see the program
        open_channel(self._reactor, socket.socket(fileno=CONTROL_FD), self._channel)

    def _begin(self) -> None:
        if self._is_stopping or self._has_begun:
            return
        self._has_begun = True
        inherited = self._sockets.inherited
        handoff = socket.socket(fileno=HANDOFF_FD) if inherited is None else inherited
        handoff.setblocking(False)
        reader = HandoffReader(self._reactor, handoff, self._take, self._succeeded)
        self._sockets.reader = reader
        reader.start()
        if self._answers is not None:
            self._answers.start()
        if inherited is None or self._answers is None:
            self._channel.tell("ready")
        else:
            Deferred.fromCoroutine(self._tell_adopted(self._answers))

    async def _tell_adopted(self, answers: OperatorAnswers) -> None:
        """Say that it serves, and what it has taken over: the old worker has counted it too."""
        try:
            metrics = await answers.metrics()
        except Exception:
            _log.failure("The metrics cannot be told")
            metrics = []
        self._channel.tell("ready", metrics=metrics)

    def _take_all(self) -> None:
        if self._sockets.reader is not None:
            self._sockets.reader.take_all()

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._leave)

    def _leave(self) -> None:
        """End once the supervisor hands over nothing more, or does not answer."""
        if not self._is_stopping and not self._is_leaving:
            self._is_leaving = True
            self._stay()
            self._channel.tell("leaving")
            self._reactor.callLater(_LEAVE_SECONDS, self.stop)

    def _take(self, handed: HandedConnection) -> None:
        port = self._sockets.ports.get(handed.listener)
        admission = self._admission
        assert admission is not None
        admission.decide(handed.decision)
        try:
            if port is not None and port.factory is not None:  # else it has just stopped listening
                port.sessionno += 1
                adopt(self._reactor, handed, port.factory)
        except OSError as error:
            self._count_unserved(handed.decision, error)
        finally:
            admission.settle(handed.host)

    def _count_unserved(self, decision: Decision, error: OSError) -> None:
        """Count a connection whose peer has gone before it came here: it counts as accepted."""
        assert self._admission is not None and self._service is not None
        if decision.refusal is not None:
            self._admission.refused[decision.refusal.code] += 1
        else:
            reason = FAILED if error.errno in (EMFILE, ENFILE) else PEER_RESET
            self._service.factory.endings[reason.code] += 1

    def _tell_left(self) -> None:
        gone, self._gone = self._gone, []
        if gone:
            self._channel.tell("left", addresses=gone)

    # An upgrade in place.

    def _succeeded(self, descriptor: int, pid: int) -> None:
        """Give all connections to a new process."""
        end = socket.socket(fileno=os.dup(descriptor))
        service = self._service
        assert service is not None
        if self._is_stopping or self._is_leaving or self._moving is not None or not service.ready:
            self._channel.tell("not-moved", reason="the worker ends")
            end.close()
            return
        self._moving = Deferred.fromCoroutine(self._move(service, NewWorker(end, pid)))

    async def _move(self, service: NamedService, successor: NewWorker) -> None:
        attempt = Upgrade(self._reactor, {service.command: service}, lambda: successor)
        try:
            moved = await attempt.start()
        except (UpgradeFailed, CancelledError) as error:
            why = str(error) or "the worker ends"
        except Exception:
            _log.failure("The upgrade has failed")
            why = "the old worker made a mistake; its log says more"
        else:
            attempt.finish()
            self._has_moved(service, moved)
            return
        self._moving = None
        self._channel.tell("not-moved", reason=why)

    def _has_moved(self, service: NamedService, moved: Moved) -> None:
        """End, when what has stayed is closed."""
        moved.log()
        self._sockets.reader = None
        places = [
            connection.place or None
            for factory in self._factories()
            for connection in factory.connections.values()
            if connection.place is not None
        ]
        assert self._admission is not None
        self._tell_left()
        self._channel.tell("moved", count=moved.count, stayed=self._admission.keep(places))
        self._moving = None
        self.stop()

    def _stay(self) -> None:
        """Go on with the connections, if an upgrade runs: something else comes first."""
        if self._moving is not None:
            self._moving.cancel()

    # The supervisor.

    def _told(self, name: str, values: dict[str, Any]) -> None:
        service = self._service
        assert service is not None
        if name == "stop":
            self.stop()
        elif name == "abort":
            for factory in self._factories():
                factory.abort(DRAINING)
        elif name == "drain":
            self._stay()
            self._take_all()
            service.begin_drain()
        elif name.endswith("-tap") and self._answers is not None:
            self._answers.told(name, values)
        elif name == "ticket-key":
            for listener in service.listeners:
                if listener.certificates is not None:
                    listener.certificates.use_ticket_key(bytes.fromhex(values["key"]))

    def _asked(self, name: str, values: dict[str, Any]) -> Any:
        assert self._service is not None
        if name == "ping":
            return {"connections": sum(map(len, self._factories()))}
        if name == "reload":
            return self._reload(values["config"])
        if self._answers is None:
            raise ChannelError(404, "There is no operator's view.")
        return Deferred.fromCoroutine(self._answers.answer(name, values))

    def _reload(self, config: bool) -> dict[str, Any]:
        """Read the files again. The supervisor logs what has changed, once for all workers."""
        assert self._service is not None
        try:
            return {"done": self._service.reload("", config=config)}
        except ReloadError as error:
            raise ChannelError(400, str(error)) from None

    def _factories(self) -> list[ConnectionFactory]:
        assert self._service is not None
        return [self._service.factory, *self._service.factory.auxiliaries]

    def _lost(self) -> None:
        assert self._service is not None
        # Nobody else would kill it if it hangs. The kernel does, whatever Python does then.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, self._service.drain + WORKER_END_SECONDS)
        if not self._is_stopping and self._service.running:  # else this process is about to end
            _log.error("The supervisor is gone: this worker closes its connections, and ends")
            self.stop()
