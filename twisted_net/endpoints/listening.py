"""A service that listens, and closes all connections when it stops."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from errno import EADDRINUSE, errorcode
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net import TwistedNetError
from twisted_net.connection.addresses import format_address
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.eager.inherited import inheriting, take_over_lock
from twisted_net.eager.moving import release_port
from twisted_net.endpoints.descriptors import log_rarely
from twisted_net.endpoints.drain import DrainSchedule
from twisted_net.interfaces import ServerEndpoint
from twisted_net.policy.close_reasons import DRAINING
from twisted_net.tls.certificates import Certificates

_log = Logger()

DRAIN = 10.0
"""Seconds that connections have when a service stops. Thousand Island allows 15 s, Ranch 5 s."""


_PLACE = re.compile(r"^(?:.*, line \d+: |--)")

_LOCKED = "Cannot acquire lock"  # what Twisted says of a Unix socket that somebody listens on


@dataclass(frozen=True, slots=True)
class Listener:
    """An endpoint to listen on, and its label.

    :ivar endpoint: one of Twisted's server endpoints.
    :ivar label: its name for users, in the log and in errors: ``"--port 8080"``.
    :ivar certificates: those of the endpoint, if it uses TLS; the service reloads them.
    """

    endpoint: ServerEndpoint
    label: str
    certificates: Certificates | None = None


class ListenFailed(TwistedNetError):
    """A listener cannot listen. The message names it and gives the reason.

    The error of the endpoint is its ``__cause__``.

    :ivar label: what the listener is called.
    :ivar code: the name of an errno such as ``"EADDRINUSE"`` or ``"EACCES"``; ``"ENOTFOUND"`` (the
        name of the interface is unknown), or ``"EFAILED"``.
    :ivar errno: the errno itself; None if there is none.
    :ivar address: the IP address or the path of the Unix socket; empty if it is unknown, and for
        all addresses.
    :ivar port: the port; 0 if there is none, or it is unknown.
    """

    def __init__(self, label: str, cause: BaseException | None) -> None:
        super().__init__(f"{label}: {_reason(cause)}")
        self.label = label
        self.__cause__ = cause
        below = cause.socketError if isinstance(cause, CannotListenError) else cause
        number = below.errno if isinstance(below, OSError) else None
        if isinstance(below, socket.gaierror):
            number = None
        elif below == _LOCKED:
            number = EADDRINUSE
        self.errno: int | None = number
        unknown = "ENOTFOUND" if isinstance(below, socket.gaierror) else "EFAILED"
        self.code = errorcode.get(number or 0, unknown)
        self.address, self.port = _place(cause)


class StartFailed(ListenFailed, SystemExit):  # type: ignore[misc]  # code is no number here
    """A service of an application cannot listen when it starts.

    An application, such as a ``.tac`` file, has no code that could catch it: the program ends with
    the message as its one line, and status 1, in place of a traceback.
    """

    def __init__(self, label: str, cause: BaseException | None) -> None:
        super().__init__(label, cause)
        self.code = _ExitCode(self.code, str(self))


class _ExitCode(str):
    """The code of an error, which Python writes as a line when the error ends the program.

    For who catches it, it is equal to the code.
    """

    _line: str

    def __new__(cls, code: str, line: str) -> _ExitCode:
        made = super().__new__(cls, code)
        made._line = line
        return made

    def __str__(self) -> str:
        return self._line


class ListenerService(Service):
    """Listens while it runs.

    ``stopService()`` stops accepting. It closes connections one after another (``draining``), each
    once everything sent to it has been passed to the transport; many are spread over three quarters
    of ``drain`` seconds. After ``drain`` seconds it aborts the rest, and fires when all are closed.

    :param factory: makes the connections.
    :param listeners: where to listen.
    :param drain: seconds.
    :ivar ports: the ports that are listening now.
    :ivar ports_by_label: the ports by the labels of their listeners, those that have stopped too.
    :ivar is_draining: whether it has stopped accepting, and closes its connections.
    :ivar is_succeeded: whether another process accepts in its place, after an upgrade.
    """

    def __init__(
        self, factory: ConnectionFactory, listeners: Sequence[Listener], drain: float = DRAIN
    ) -> None:
        self.factory = factory
        self.listeners = listeners
        self.drain = drain
        self.ports: list[IListeningPort] = []
        self.ports_by_label: dict[str, IListeningPort] = {}
        self.is_draining = self.is_succeeded = False
        self._pending: list[Deferred[Any]] = []
        self._given_up: list[Deferred[Any]] = []
        self._inherited: dict[str, socket.socket] = {}

    @property
    def factories(self) -> Sequence[ConnectionFactory]:
        """The factories whose connections an upgrade in place moves."""
        return [self.factory, *self.factory.auxiliaries]

    @property
    def ready(self) -> bool:
        """Whether all listeners listen and the service is not stopping; for load balancers."""
        return bool(self.running) and len(self.ports) == len(self.listeners)

    @property
    def not_ready(self) -> str:
        """Why the service does not serve new clients, such as "does not listen"; empty if it does.

        After an upgrade, new clients are the other process's.
        """
        if self.is_succeeded:
            return ""
        if self.is_draining:
            return "is draining"
        return "" if self.ready else "does not listen"

    def privilegedStartService(self) -> None:
        """Listen, while the process may still use ports below 1024.

        :raises ListenFailed: a listener cannot listen; then none does.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._listen()

    def startService(self) -> None:
        """Listen, if it does not listen yet.

        :raises ListenFailed: as :meth:`privilegedStartService`.
        """
        super().startService()  # type: ignore[no-untyped-call]
        if not self.ports and not self._pending:
            self._listen()

    def stopService(self) -> Deferred[None]:
        """Stop accepting, and close every connection.

        :return: fires when all are closed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    def begin_drain(self) -> Deferred[None]:
        """Stop accepting, and close every connection, as :meth:`stopService`; but stay running.

        :return: fires when all are closed.
        """
        return Deferred.fromCoroutine(self._stop())

    def inherit(self, sockets: Mapping[str, socket.socket]) -> None:
        """Listen on the sockets of another process when it starts, and not on new ones.

        :param sockets: by the labels of the listeners. Those without a listener are closed.
        """
        known = {without_place(listener.label): listener.label for listener in self.listeners}
        for label, each in sockets.items():
            own = known.get(without_place(label))
            if own is None:
                each.close()
            else:
                self._inherited[own] = each

    def pause_accepting(self) -> None:
        """Let new clients wait in the kernel, until :meth:`resume_accepting`."""
        for port in self.ports:
            port.stopReading()  # type: ignore[attr-defined]  # all that can be passed on have it

    def resume_accepting(self) -> None:
        """Accept new clients again."""
        for port in self.ports:
            port.startReading()  # type: ignore[attr-defined]

    def take_over_paths(self) -> None:
        """Let the locks beside Unix sockets name this process: the other one has ended."""
        for port in self.ports:
            take_over_lock(port)

    def release_ports(self) -> None:
        """Give the listening sockets up, because another process has them."""
        self.is_succeeded = True
        for port in self.ports:
            release_port(port)
        self.ports.clear()

    def listen_failed_late(self, failure: ListenFailed) -> None:
        """Log that a listener failed after the start."""
        _log.error("{reason}", reason=str(failure))  # "failure" is Twisted's own name

    def listening_late(self) -> None:
        """Called when a listener begins to listen after the start. Does nothing."""

    def _listen(self) -> None:
        self.factory.accepts = True
        self.is_draining = self.is_succeeded = False
        failures: list[ListenFailed] = []
        for listener in self.listeners:
            self._listen_on(listener, failures)
        if failures:
            self._give_up()
            for port in self.ports:
                port.stopListening()
            self.ports.clear()
            raise self._as_raised(failures[0])

    def _as_raised(self, failure: ListenFailed) -> ListenFailed:
        is_starting = not getattr(self.factory.clock, "running", True)  # then others may catch it
        if self.parent is None or not is_starting:
            return failure
        return StartFailed(failure.label, failure.__cause__)

    def _listen_on(self, listener: Listener, failures: list[ListenFailed]) -> None:
        starting = waiting = True

        def listening(port: IListeningPort) -> None:
            self.ports.append(port)
            self.ports_by_label[listener.label] = port
            log_rarely(port, self.factory.clock)
            if getattr(port, "is_bound_here", True):  # else another process holds the socket
                _log.info(
                    "Listening on {where} ({label})",
                    where=format_address(port.getHost()),
                    label=listener.label,
                )
            if not starting:
                self.listening_late()

        def failed(failure: Failure) -> None:
            explained = ListenFailed(listener.label, failure.value)
            if attempt in self._given_up:  # cancelled by _give_up()
                self._given_up.remove(attempt)
            elif starting:
                failures.append(explained)
            else:
                self.listen_failed_late(explained)

        def settled(_: object) -> None:
            nonlocal waiting
            waiting = False

        with inheriting(self._inherited.pop(listener.label, None)):
            attempt = maybeDeferred(listener.endpoint.listen, self.factory)
        attempt.addCallbacks(listening, failed).addCallback(settled)
        starting = False
        if waiting:
            self._pending.append(attempt)

    def _give_up(self) -> None:
        self._given_up, self._pending = self._pending, []
        for attempt in list(self._given_up):
            attempt.cancel()

    async def _stop(self) -> None:
        self.factory.accepts = False
        self.is_draining = True
        self._give_up()
        stopping: list[Any] = [port.stopListening() for port in self.ports]
        self.ports.clear()
        await DeferredList([each for each in stopping if isinstance(each, Deferred)])
        factories = [self.factory, *self.factory.auxiliaries]
        deadline = self.factory.clock.callLater(self.drain, self._abort, factories)
        for each in self.factory.auxiliaries:
            each.close(DRAINING)
        await self._close_spread()
        for each in factories:
            await each.wait_closed()
        if deadline.active():
            deadline.cancel()

    @staticmethod
    def _abort(factories: Sequence[ConnectionFactory]) -> None:
        for each in factories:
            each.abort(DRAINING)

    async def _close_spread(self) -> None:
        """Close one after another, so that clients do not all reconnect at once."""
        clock, factory = self.factory.clock, self.factory
        closing = list(factory.connections.values())
        drain = DrainSchedule(len(closing), self.drain, clock.seconds())
        for gone, connection in enumerate(closing):
            delay = drain.wait(gone, clock.seconds())
            if delay and factory.connections:
                await deferLater(clock, delay)
            connection.close(DRAINING)


def without_place(label: str) -> str:
    """Return a label without the line of a file: it may stand in another one now."""
    return _PLACE.sub("", label)


def _place(error: BaseException | None) -> tuple[str, int]:
    """Return the address and the port that an error names."""
    if isinstance(error, CannotListenError):
        where, address = error.port, error.interface or ""
    else:
        where, address = getattr(error, "filename", None), ""
        lock = getattr(error, "filename2", None)
        if lock is not None:  # a link beside a Unix socket, to this process's id
            where = os.fsdecode(lock).removesuffix(".lock")
    if isinstance(where, int):
        return str(address), where
    return os.fsdecode(where) if isinstance(where, str | bytes) else str(address), 0


def _reason(error: BaseException | None) -> str:
    cause = error.socketError if isinstance(error, CannotListenError) else error
    if cause == _LOCKED:
        return os.strerror(EADDRINUSE)
    return str(getattr(cause, "strerror", None) or cause) or type(cause).__name__
