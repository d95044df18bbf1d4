"""A service that listens, and that has closed every connection when it has stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from twisted_net.endpoints.descriptors import log_rarely
from twisted_net.endpoints.drain import DrainSchedule
from twisted_net.interfaces import ServerEndpoint
from twisted_net.policy.close_reasons import DRAINING
from twisted_net.tls.certificates import Certificates

_log = Logger()

DRAIN = 10.0
"""Seconds that connections have when a service stops. Thousand Island gives 15 s, Ranch 5 s."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Where to listen.

    :ivar endpoint: one of Twisted's server endpoints.
    :ivar label: what a person calls it, for the log and for errors: ``"--port 8080"``.
    :ivar certificates: those that it uses, if it does; for who runs it to look after them.
    """

    endpoint: ServerEndpoint
    label: str
    certificates: Certificates | None = None


class ListenFailed(TwistedNetError):
    """A listener cannot listen. The message names it and says why."""


class ListenerService(Service):
    """Listens while it runs.

    ``stopService()`` stops accepting, closes one connection after another (``draining``) once what
    it was sent is with it, spread over three quarters of ``drain`` seconds where they are many,
    aborts after ``drain`` seconds those that are still there, and fires when none is.

    :param factory: makes the connections.
    :param listeners: where to listen.
    :param drain: seconds.
    :ivar ports: what listens now.
    """

    def __init__(
        self, factory: ConnectionFactory, listeners: Sequence[Listener], drain: float = DRAIN
    ) -> None:
        self.factory = factory
        self.listeners = listeners
        self.drain = drain
        self.ports: list[IListeningPort] = []
        self._pending: list[Deferred[Any]] = []
        self._given_up: list[Deferred[Any]] = []

    @property
    def ready(self) -> bool:
        """Whether it listens wherever it is to, and is not stopping: may a balancer send more?"""
        return bool(self.running) and len(self.ports) == len(self.listeners)

    def privilegedStartService(self) -> None:
        """Listen, while ports below 1024 can still be had.

        :raises ListenFailed: one of the listeners cannot; none listens then.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._listen()

    def startService(self) -> None:
        """Listen, if that has not happened yet.

        :raises ListenFailed: as :meth:`privilegedStartService`.
        """
        super().startService()  # type: ignore[no-untyped-call]
        if not self.ports and not self._pending:
            self._listen()

    def stopService(self) -> Deferred[None]:
        """Stop accepting, and close every connection.

        :return: fires when the last one is closed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    def listen_failed_late(self, failure: ListenFailed) -> None:
        """A listener that did not say at once whether it can listen has said no."""
        _log.error("{reason}", reason=str(failure))  # "failure" is Twisted's own name

    def _listen(self) -> None:
        self.factory.accepts = True
        failures: list[ListenFailed] = []
        for listener in self.listeners:
            self._listen_on(listener, failures)
        if failures:
            self._give_up()
            for port in self.ports:
                port.stopListening()
            self.ports.clear()
            raise failures[0]

    def _listen_on(self, listener: Listener, failures: list[ListenFailed]) -> None:
        starting = waiting = True

        def listening(port: IListeningPort) -> None:
            self.ports.append(port)
            log_rarely(port, self.factory.clock)
            _log.info(
                "Listening on {where} ({label})",
                where=format_address(port.getHost()),
                label=listener.label,
            )

        def failed(failure: Failure) -> None:
            explained = ListenFailed(f"{listener.label}: {_reason(failure.value)}")
            if attempt in self._given_up:  # which was ours to say
                self._given_up.remove(attempt)
            elif starting:
                failures.append(explained)
            else:
                self.listen_failed_late(explained)

        def settled(_: object) -> None:
            nonlocal waiting
            waiting = False

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
        self._give_up()
        stopping: list[Any] = [port.stopListening() for port in self.ports]
        self.ports.clear()
        await DeferredList([each for each in stopping if isinstance(each, Deferred)])
        deadline = self.factory.clock.callLater(self.drain, self.factory.abort, DRAINING)
        await self._close_spread()
        await self.factory.wait_closed()
        if deadline.active():
            deadline.cancel()

    async def _close_spread(self) -> None:
        """Close one after another, so that the clients do not all come back at once."""
        clock, factory = self.factory.clock, self.factory
        closing = list(factory.connections.values())
        drain = DrainSchedule(len(closing), self.drain, clock.seconds())
        for gone, connection in enumerate(closing):
            delay = drain.wait(gone, clock.seconds())
            if delay and factory.connections:
                await deferLater(clock, delay)
            connection.close(DRAINING)


def _reason(error: BaseException | None) -> str:
    cause = error.socketError if isinstance(error, CannotListenError) else error
    return str(getattr(cause, "strerror", None) or cause) or type(cause).__name__
