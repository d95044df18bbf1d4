"""The ``eager`` reactor: Twisted's epoll reactor with eager transports and a cheaper turn.

``twistd --reactor eager web``, or::

    from twisted_net.eager import reactor

    reactor.install()

``listenTCP``, ``connectTCP``, ``listenUNIX``, ``connectUNIX``, ``adoptStreamPort`` and
``adoptStreamConnection`` all make the transports of :mod:`twisted_net.eager.transports`. Each turn
first sends what the last turn wrote, then polls, then reads. Large writes are sent as soon as the
event ends, because batching does not help them.

Twisted's reactor makes a logging context for every event, so that log lines have the transport's
prefix. Here each turn has one context, which looks the prefix up when something is logged. This,
and leaving out checks that only foreign descriptors need, applies to events of eager transports
that are just "readable". All other events go through Twisted's code.

Delayed calls do not depend on the system's clock; see :mod:`twisted_net.eager.steady`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from errno import EINTR
from os import register_at_fork
from typing import Any
from weakref import ref

from twisted.internet import main, posixbase
from twisted.internet.interfaces import IReactorFDSet, IReactorSocket, IReactorTCP, IReactorUNIX
from twisted.python import log
from twisted.python.context import call
from twisted.python.context import get as context_get
from twisted.python.failure import Failure
from twisted.python.log import ILogContext
from zope.interface import implementer

from twisted_net.eager.ports import EagerServer
from twisted_net.eager.privates import require_reactor
from twisted_net.eager.reactor_interfaces import EagerCalls
from twisted_net.eager.steady import make_steady
from twisted_net.eager.transports import Eager
from twisted_net.eager.write_batch import TRANSPORTS_PER_FLUSH, WriteBatch

try:
    from select import EPOLLIN

    from twisted.internet.epollreactor import EPollReactor
except ImportError:
    raise ImportError("the eager reactor needs epoll(7), which this system does not have") from None


class _TurnContext:
    """One logging context for all events of a turn.

    Twisted keeps contexts as a stack of mappings, and reads them only when something is logged.

    :ivar selectable: the transport of the current event; None while Twisted's code makes a context
        of its own.
    """

    __slots__ = ("selectable",)

    def __init__(self) -> None:
        self.selectable: Any = None

    def __getitem__(self, key: object) -> dict[str, Any]:
        selectable = self.selectable
        if key is not ILogContext or selectable is None:
            raise KeyError(key)
        self.selectable = None
        try:
            outer = context_get(ILogContext)  # that in which the reactor runs
        finally:
            self.selectable = selectable
        return {**outer, "system": selectable.logPrefix()}


_DONE = Failure(main.CONNECTION_DONE)
"""Shared by all connections, as Twisted's are."""


class _IsEager(dict[type, bool]):
    """Whether a class is a subclass of Eager. Cached, because every event needs it."""

    def __missing__(self, cls: type) -> bool:
        found = self[cls] = issubclass(cls, Eager)
        return found


_IS_EAGER = _IsEager()


@implementer(IReactorFDSet, IReactorTCP, IReactorUNIX, IReactorSocket)
class EagerReactor(EagerCalls, EPollReactor):
    """An epoll reactor that sends once a turn; see the module documentation.

    :ivar batch: the transports that have bytes to send.
    """

    def __init__(self) -> None:
        make_steady(self)
        self.batch = WriteBatch(always_open=True)
        self._context = _TurnContext()
        self._soon: list[Callable[[], object]] = []
        super().__init__()
        known = ref(self)

        def forks() -> None:
            reactor = known()
            if reactor is not None:
                reactor.share_sockets()

        register_at_fork(before=forks)

    def doPoll(self, timeout: float | None) -> None:
        """Send what the last turn wrote, wait for events, and handle them.

        :param timeout: seconds to wait; None means no limit.
        """
        batch = self.batch
        if batch.waiting or batch.large:
            batch.flush(TRANSPORTS_PER_FLUSH)
            if batch.waiting:  # the rest waits until after the events that have arrived
                timeout = 0
        if self._soon:
            timeout = 0
        self._handle_events(timeout)
        if self._soon:
            self._call_those_due()

    doIteration = doPoll

    def _handle_events(self, timeout: float | None) -> None:
        try:
            events = self._poller.poll(-1 if timeout is None else timeout, len(self._selectables))
        except OSError as error:
            if error.errno == EINTR:
                return
            raise
        if not events:
            return
        context = self._context
        before = context.selectable  # a handler may run the reactor
        context.selectable = None
        try:
            call(context, self._dispatch, events)
        finally:
            context.selectable = before

    def call_soon(self, work: Callable[[], object]) -> None:
        """Call ``work`` when the events that have arrived are handled.

        ``callLater(0, work)`` calls it at the same time, but runs more code, and a busy broadcast
        asks for each message. This call cannot be cancelled.
        """
        self._soon.append(work)

    def _call_those_due(self) -> None:
        due, self._soon = self._soon, []
        for work in due:
            try:
                work()
            except Exception:
                log.err()

    def is_awaited(self) -> bool:
        """Whether anything waits for this turn to end: an event, a call that is due, or a write."""
        batch = self.batch
        return bool(
            batch.waiting
            or batch.large
            or self._soon
            or self.timeout() == 0
            or self._poller.poll(0, 1)
        )

    def _dispatch(self, events: Iterable[tuple[int, int]]) -> None:
        context = self._context
        batch = self.batch
        selectables = self._selectables
        is_eager = _IS_EAGER
        for fd, event in events:
            try:
                selectable = selectables[fd]
            except KeyError:  # an earlier event closed it
                continue
            if event == EPOLLIN and is_eager[type(selectable)]:
                context.selectable = selectable
                why: BaseException | None
                try:
                    why = selectable.doRead()
                except BaseException as error:
                    log.err()
                    why = error
                if why:
                    self._end(selectable, why)
            else:
                context.selectable = None
                log.callWithLogger(selectable, self._doReadOrWrite, selectable, fd, event)
            if batch.large:
                batch.flush_large()

    def _end(self, selectable: Any, why: BaseException) -> None:
        """End a connection whose read has failed."""
        if why is main.CONNECTION_LOST and selectable.fileno() == -1:
            why = posixbase._NO_FILEDESC
        try:
            if why is main.CONNECTION_DONE and selectable.ends_with_peer():
                selectable.connectionLost(_DONE)
                return
            self._disconnectSelectable(selectable, why, True)
        except KeyboardInterrupt:
            raise
        except BaseException:
            log.err()

    def share_sockets(self) -> None:
        """Note that a fork of this process gets every socket that is open now."""
        for selectable in self._selectables.values():
            if isinstance(selectable, EagerServer):
                selectable.is_shared = True

    def watch(self, transport: Any, fd: int) -> None:
        """Wait for a new eager transport to become readable."""
        self._poller.register(fd, EPOLLIN)
        self._reads.add(fd)
        self._selectables[fd] = transport

    def forget(self, transport: Any) -> None:
        """Do not wait for an eager transport any more, which is about to be closed."""
        fd = transport.fileno()
        if self._selectables.get(fd) is transport:
            del self._selectables[fd]
            self._reads.discard(fd)
            self._writes.discard(fd)
            self._poller.unregister(fd)

    def removeReader(self, reader: Any) -> None:
        # Called for every transport that ends, and then it is in no list any more.
        if not _IS_EAGER[type(reader)] or reader.fileno() in self._reads:
            super().removeReader(reader)

    def removeWriter(self, writer: Any) -> None:
        if not _IS_EAGER[type(writer)] or writer.fileno() in self._writes:
            super().removeWriter(writer)

    # To other code, a transport in the batch is a writer.

    def getWriters(self) -> list[Any]:
        self.batch.leave_to_poller()
        return super().getWriters()

    def removeAll(self) -> list[Any]:
        self.batch.leave_to_poller()
        return super().removeAll()


def install() -> None:
    """Install this reactor. No other reactor may be installed before.

    :raises ImportError: the reactor cannot be used; the message says why, in one line.
    """
    require_reactor()
    main.installReactor(EagerReactor())
