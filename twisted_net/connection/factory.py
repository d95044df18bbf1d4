"""The factory of connections: it applies the limits, admits clients and tracks open connections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, Unpack

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from twisted_net.connection.addresses import format_address, normalize_mapped
from twisted_net.connection.ages import Ages
from twisted_net.connection.connection import Connection
from twisted_net.connection.line_batch import LineBatch
from twisted_net.connection.mistakes import check_maker
from twisted_net.connection.rejection import RejectingProtocol, RejectionLog
from twisted_net.connection.stalls import StallCheck
from twisted_net.connection.stopping import has_stopped, watch_stop
from twisted_net.connection.timers import Timers, reactor_clock
from twisted_net.connection.trusted_proxies import TrustedProxies
from twisted_net.interfaces import AnyInterface
from twisted_net.policy.admission import EXEMPT, Admission
from twisted_net.policy.budget import MemoryBudget
from twisted_net.policy.close_reasons import CLOSED, DENIED, DRAINING, HANDSHAKE, CloseReason
from twisted_net.policy.keywords import check_keywords
from twisted_net.policy.limits import LIMIT_NAMES, LimitChanges, Limits
from twisted_net.wire.text import printable

_log = Logger()
_ends = LineBatch(_log)

OnRefused: TypeAlias = Callable[[IAddress | None, CloseReason], object]
"""Is called with each client that was refused: its address, if it is known, and the reason."""


class FactorySettings(LimitChanges, total=False):
    """The keyword arguments of :class:`ConnectionFactory`, for code that passes them on."""

    clock: IReactorTime | None
    limits: Limits | None
    admission: Admission | None
    budget: MemoryBudget[Connection] | None
    log_ends: bool
    on_refused: OnRefused | None


class ConnectionObserver(Protocol):
    """Is told about the connections of a factory, as by the operator's view."""

    def handshake_completed(self, connection: Connection, /) -> None:
        """A connection's TLS handshake is done."""

    def connection_gone(self, connection: Connection, /) -> None:
        """A connection has left the factory: it has ended, or goes on as another."""

    def connection_ended(self, connection: Connection, /) -> None:
        """A connection has ended; its ``reason`` is set. It is gone already."""


_FIGURES = (
    ", {seconds} s, bytes {bytes_received} in, {bytes_sent} out, "
    "messages {messages_received} in, {messages_sent} out"
)

_Parameters = ParamSpec("_Parameters")
_Made = TypeVar("_Made", bound="ConnectionFactory")


class ConnectionFactory(Factory[Connection], AnyInterface):
    """Make the connections of one service, and keep track of the open ones.

    The short form is ``ConnectionFactory.forProtocol(Shout, idle_timeout=60)``. A factory works
    with any of Twisted's listening calls, and with several at the same time.

    :param clock: the source of time. The default is the reactor, looked up when it is first needed.
    :param limits: the limits of each connection.
    :param admission: decides which clients may connect; by default, all may. One object may serve
        several factories.
    :param budget: limits the bytes that wait for slow peers in total; one object should serve the
        whole process.
    :param log_ends: whether ends that are not notable are logged as well, if the peer has sent
        anything, and each client that is refused. Without it, only a summary of these is logged,
        once a minute.
    :param on_refused: called by :meth:`refused`.
    :param changes: single limits, by name; see :class:`~twisted_net.policy.limits.Limits`.
    :raises ValueError: if a limit is invalid; the message names it.
    :raises TypeError: if there is no such limit.
    :ivar limits: the limits of connections. It may be replaced: new connections have the new ones;
        open ones keep their idle timeouts that run, and ``max_message``, ``queue_limit`` and
        ``rate``. :meth:`change_limits` changes those of open ones too.
    :ivar connections: the open connections, by number.
    :ivar full: the open connections whose transports are full because their peers read too slowly.
    :ivar endings: the number of connections that have ended, by the code of the reason.
    :ivar dropped: the messages that the overflow policy has dropped and whose receivers were told,
        or have ended.
    :ivar accepts: set to False to reject all further connections.
    :ivar auxiliaries: the factories that belong to this one, see :meth:`belong_to`.
    :ivar counts_ends: whether the ends of its connections are of interest to operators.
    :ivar observer: is told about ends and handshakes; None, the default, costs nothing.
    :ivar trusted_proxies: the HTTP proxies in front of this server; None if there are none. Their
        own addresses have no limits: :meth:`admit_client` counts a connection as its client's.
    """

    noisy = False  # do not log the factory's start: the port's start is logged already

    def __init__(
        self,
        *,
        clock: IReactorTime | None = None,
        limits: Limits | None = None,
        admission: Admission | None = None,
        budget: MemoryBudget[Connection] | None = None,
        log_ends: bool = True,
        on_refused: OnRefused | None = None,
        **changes: Unpack[LimitChanges],
    ) -> None:
        check_keywords(type(self), changes, LIMIT_NAMES)
        self.limits = replace(limits or Limits(), **changes)
        self.connections: dict[int, Connection] = {}
        self.full: set[Connection] = set()
        self.endings: Counter[str] = Counter()
        self.dropped = 0
        self.accepts = True
        self.auxiliaries: list[ConnectionFactory] = []
        self.counts_ends = True
        self.observer: ConnectionObserver | None = None
        self.trusted_proxies: TrustedProxies | None = None
        self._admission: Admission | None = None
        self._admitted_before: dict[Connection, Admission] = {}  # by an admission that was replaced
        self.admission = admission
        self.budget = budget
        self.log_ends = log_ends
        self.on_refused = on_refused
        self._ages = Ages()
        self._rejections = RejectionLog()
        self._clock = clock
        self._last_id = 0
        self._main: ConnectionFactory | None = None
        self._host: IAddress | None = None
        self._wait_closed: list[Deferred[None]] = []

    # Declared as in Twisted, so that type checkers know which arguments the class takes.
    @classmethod
    def forProtocol(
        cls: Callable[_Parameters, _Made],
        protocol: Callable[[], Connection],
        *args: _Parameters.args,
        **kwargs: _Parameters.kwargs,
    ) -> _Made:
        """Make a factory for ``protocol``. All other arguments go to the class.

        :param protocol: a :class:`Connection` class, or any callable that makes connections.
        :raises TypeError: if it cannot make connections.
        """
        check_maker(protocol, Connection)
        factory = cls(*args, **kwargs)
        factory.protocol = protocol
        return factory

    @property
    def admission(self) -> Admission | None:
        """Decides which clients may connect; None lets all in.

        It may be changed or replaced at any time. Open connections stay, unless
        :meth:`close_denied` is called. They still count in the one that let them in.
        """
        return self._admission

    @admission.setter
    def admission(self, admission: Admission | None) -> None:
        before, self._admission = self._admission, admission
        if admission is not None:
            admission.serve(self)
        if before is None or before is admission:
            return
        for connection in self.connections.values():
            if connection.place is not None:
                self._admitted_before.setdefault(connection, before)

    def change_limits(self, **changes: Unpack[LimitChanges]) -> None:
        """Change some limits, by name, of new connections and of open ones.

        An open connection keeps ``max_message``, and an idle timeout of its own. A new idle timeout
        starts anew for all. What waits in a queue stays, even if it is more than the new limit. A
        new rate begins with a whole burst.

        :raises ValueError: if a value is invalid; then nothing changes.
        :raises TypeError: if there is no such limit.
        """
        check_keywords(self.change_limits, changes, LIMIT_NAMES)
        before, self.limits = self.limits, replace(self.limits, **changes)
        if self.limits == before:
            return
        if self.limits.stall_timeout != before.stall_timeout:
            self._stalls.end()
            del self._stalls
            if self.connections and self.limits.stall_timeout:
                self._stalls.begin()
        for connection in list(self.connections.values()):
            connection.limits_changed(before)

    def change_budget(self, budget: MemoryBudget[Connection] | None) -> None:
        """Count the bytes that wait for slow peers in another budget, or in none.

        If they are too many already, peers are closed when the next bytes have to wait.
        """
        before, self.budget = self.budget, budget
        for connection in self.connections.values():
            if before is not None:
                before.forget(connection)
            if budget is not None and connection.queued:
                budget.charge(connection, connection.queued)

    @property
    def clock(self) -> IReactorTime:
        """The clock for this factory and its connections."""
        if self._clock is None:
            self._clock = reactor_clock(None)
        return self._clock

    @clock.setter
    def clock(self, clock: IReactorTime) -> None:
        self._clock = clock

    @property
    def has_clock(self) -> bool:
        """Whether a clock was set, or the reactor was already looked up."""
        return self._clock is not None

    @property
    def opened_count(self) -> int:
        """The number of connections so far: the newest one has it as its ``id``."""
        return self._last_id

    @property
    def compressed_bytes(self) -> int:
        """The bytes of compressed WebSocket messages, each counted once for all its receivers."""
        return 0

    def age(self, number: int) -> float:
        """Return how many seconds ago a connection began: at most 0.1 s, or a 64th, too many."""
        main = self._main or self
        return main._ages.age(number, main.clock.seconds())

    def belong_to(self, main: ConnectionFactory) -> None:
        """Belong to another factory, which has none itself: both are parts of one service.

        The connections of both have numbers of one sequence. Operators see them together, and they
        end together.
        """
        self._main = main
        main.auxiliaries.append(self)

    def take_number(self) -> int:
        """Count a connection, and return its number."""
        self._last_id += 1
        return self._last_id

    @cached_property
    def timers(self) -> Timers:
        """The timeouts of this factory's connections."""
        return Timers(self.clock)

    @cached_property
    def _stalls(self) -> StallCheck:
        seconds = self.limits.stall_timeout
        return StallCheck(self.clock, self.timers, self.connections, self.full, seconds)

    def __len__(self) -> int:
        """Return the number of open connections."""
        return len(self.connections)

    def __bool__(self) -> bool:
        """Return True: a factory without connections is not false."""
        return True

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return a connection, or a protocol that rejects the client if ``addr`` may not connect.

        The result is never None, because Twisted's TLS would use None as a protocol.
        """
        if not self.accepts:
            self._refuse(addr, DRAINING)
            return self.reject(addr, DRAINING)
        now = self.clock.seconds()
        if now >= self._ages.due:
            self._ages.note(self._last_id, now)
        admission = self._admission
        made = self.make(addr) if admission is None else self._admitted(addr, admission, now)
        if made is None:
            self._refuse(addr, DENIED)
            return RejectingProtocol()
        return made

    def _admitted(self, addr: IAddress | None, admission: Admission, now: float) -> Any:
        host = _host_of(addr)
        if self.trusted_proxies is not None and self.trusted_proxies.trusts(addr):
            reason = admission.admit_proxy(host)
            host = EXEMPT
        else:
            reason = admission.admit(host, now)
        if reason is not None:
            self._reject(addr, reason, now)
            return self.reject(addr, reason)
        made = None
        try:
            made = self.make(addr)
        finally:
            if isinstance(made, Connection):
                made.place = host or ""
                if self.admission is not admission:
                    self._admitted_before[made] = admission
            else:
                admission.leave(host)
        return made

    def admit_client(self, connection: Connection, client: IAddress) -> CloseReason | None:
        """Take a connection for one of a client whose address a trusted proxy has told.

        From now on, it has and counts under that address.

        :return: None if the client may connect; otherwise the reason to close with.
        """
        connection.peer = client
        admission, place, host = self._admission, connection.place, _host_of(client)
        if admission is None or place is None or host is None:
            return None
        now = self.clock.seconds()
        before = self._admitted_before.get(connection, admission)
        if before is admission:
            reason = admission.move(place or None, host, now)
        else:
            reason = admission.admit(host, now)
            if reason is None:
                del self._admitted_before[connection]
                before.leave(place or None)
        if reason is None:
            connection.place = host
        else:
            self._reject(client, reason, now)
        return reason

    def check_client(self, client: IAddress) -> CloseReason | None:
        """Decide about one request of a client whose address a trusted proxy has told.

        :return: None if the client may send it; otherwise the reason to refuse it.
        """
        host = _host_of(client)
        if self._admission is None or host is None:
            return None
        now = self.clock.seconds()
        reason = self._admission.check(host, now)
        if reason is not None:
            self._reject(client, reason, now)
        return reason

    def make(self, addr: IAddress | None) -> Connection | None:
        """Make the connection for an admitted client. Return None to reject it after all."""
        return super().buildProtocol(addr)

    def reject(self, addr: IAddress | None, reason: CloseReason) -> Any:
        """Return a protocol that tells a client why it is rejected, and closes."""
        return RejectingProtocol(b"" if reason is DRAINING else self.rejection_message(reason))

    def rejection_message(self, reason: CloseReason) -> bytes:
        """Return what to tell a rejected client. If empty, the connection is closed silently."""
        return b""

    def refused(self, address: IAddress | None, reason: CloseReason) -> None:
        """Called for each client that is refused, for reports of abuse and the like.

        That is a client that may not connect (``denied``, ``full``, ``too-many``, ``too-fast``,
        ``draining``), or whose TLS handshake has failed (``handshake``). Each has a line in the log
        too; see ``docs/operating.rst`` for fail2ban. Override it, or pass ``on_refused``. It must
        be quick: everything else waits for it.

        :param address: the client's; None if it is unknown.
        """
        if self.on_refused is not None:
            self.on_refused(address, reason)

    def _reject(self, addr: IAddress | None, reason: CloseReason, now: float) -> None:
        self._rejections.count(reason.code, now)
        self._refuse(addr, reason)

    def _refuse(self, addr: IAddress | None, reason: CloseReason) -> None:
        """Log that a client is refused, and tell it to whoever wants to know."""
        address = None if addr is None else normalize_mapped(addr)
        if self.log_ends:
            peer = format_address(address)
            _log.debug("Connection from {peer} refused: {reason}", peer=peer, reason=reason.code)
        self._tell_refused(address, reason)

    def _tell_refused(self, address: IAddress | None, reason: CloseReason) -> None:
        try:
            self.refused(address, reason)
        except Exception:
            _log.failure("Connection from {peer}: refused() failed", peer=format_address(address))

    def send_to_all(self, message: Any, but: Connection | None = None) -> None:
        """Send ``message`` to every open connection. Over TLS, skip those still in the handshake.

        :raises LocalProtocolError: if the framing cannot carry the message.
        """
        for connection in list(self.connections.values()):
            if connection.ready and connection is not but:
                connection.send(message)

    def close(self, reason: CloseReason = CLOSED) -> None:
        """Close every open connection; see :meth:`Connection.close`."""
        for connection in list(self.connections.values()):
            connection.close(reason)

    def close_denied(self, among: Iterable[Connection] | None = None) -> int:
        """Close the open connections whose addresses may not connect any more (``denied``).

        Call it after a change of :attr:`admission` that shall hold for them, too.

        :param among: only these; by default, all.
        :return: their number.
        """
        admission = self._admission
        if admission is None:
            return 0
        denied = [
            connection
            for connection in (self.connections.values() if among is None else among)
            if connection.reason is None
            and (host := _host_of(connection.peer)) is not None
            and (host in admission.denied if connection.place == EXEMPT else admission.denies(host))
        ]
        for connection in denied:
            connection.close(DENIED)
        return len(denied)

    def admitted_by(self, admission: Admission) -> Iterator[str | None]:
        """Give the addresses of the open connections that ``admission`` has let in."""
        for connection in self.connections.values():
            place = connection.place
            if place is None:  # nobody has let it in
                continue
            if self._admitted_before.get(connection, self._admission) is admission:
                yield place or None

    def abort(self, reason: CloseReason = CLOSED) -> None:
        """Abort every open connection; see :meth:`Connection.abort`."""
        for connection in list(self.connections.values()):
            connection.abort(reason)

    def wait_closed(self) -> Deferred[None]:
        """Wait until no connection is open.

        :return: fires when the last connection has ended, or at once if none is open.
        """
        if not self.connections:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._wait_closed.append(waiting)
        return waiting

    def host(self, address: IAddress) -> IAddress:
        """Return a shared object for the address that clients connect to, to save memory."""
        if address is not self._host and address != self._host:
            self._host = address
        return self._host

    def opened(self, connection: Connection) -> int:
        """Register a new connection and return its number."""
        if self._main is None:
            number = self._last_id = self._last_id + 1
        else:
            number = self._main.take_number()
        self.connections[number] = connection
        if number == 1:
            watch_stop(self.clock)
        if self.limits.stall_timeout:
            self._stalls.begin()
        return number

    def own_end(self, failure: Failure) -> str | None:
        """Return what this process did to end a connection that its transport calls lost.

        :return: None if it was the peer, or the network.
        """
        if isinstance(failure.value, ConnectionAborted):
            return "its transport was aborted"
        if has_stopped(self.clock):
            return "the reactor has stopped"
        return None

    def continue_as(self, before: Connection, after: Connection, unread: int = 0) -> Any:
        """Let a connection of this factory go on in place of another, as after an upgrade.

        :param before: the connection so far. It may be of another factory that shares the admission
            with this one. It ends without a hook and a line in the log.
        :param after: a new connection. It gets the place that admission counts.
        :param unread: the bytes that ``before`` has received and ``after`` will receive again.
        :return: the transport, which is to be connected with ``after``.
        """
        transport, others = before.detach(), before.factory
        after.factory = self
        before.bytes_received -= unread
        main = self._main or self
        now = main.clock.seconds()
        if now >= main._ages.due:  # the connection may have gone on as another for a long time
            main._ages.note(main._last_id, now)
        after.place, before.place = before.place, None
        admission = others._admitted_before.pop(before, others.admission)
        if after.place is not None and admission is not None and admission is not self.admission:
            self._admitted_before[after] = admission
        others.forget(before)
        return transport

    # Moving to another process, as by an upgrade in place.

    def moving(self) -> Sequence[Connection]:
        """Return the connections that another process can go on with."""
        return [each for each in self.connections.values() if not each.why_it_stays()]

    def prepare_move(self) -> Deferred[None]:
        """Finish what cannot be moved: the connections are not read meanwhile.

        :return: fires when everything can be exported; may fail.
        """
        return succeed(None)

    def cancel_move(self) -> None:
        """Go on as before: no other process has gone on. Undoes :meth:`prepare_move`."""

    def give_up(self, connection: Connection) -> None:
        """Forget a connection that another process has."""
        connection.give_up()
        self.forget(connection)

    def finish_move(self) -> None:
        """Called in the old process, when the other one goes on. What has stayed is closed next."""

    def export_state(self, moving: Sequence[Connection]) -> dict[str, Any]:
        """Return what another process needs to go on with this factory, besides the connections.

        A subclass that overrides it adds its own; the same for :meth:`restore_state`.

        :param moving: the connections that follow, from :meth:`moving`.
        :return: JSON and ``bytes``, as :meth:`Connection.save_state`.
        """
        now = self.clock.seconds()
        admission = self._admission
        return {
            "last_id": self._last_id,
            "ages": self._ages.export_state(now),
            "endings": dict(self.endings),
            "dropped": self.dropped,
            "admission": None if admission is None else admission.export_state(now),
        }

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Go on where another process has stopped. Its connections follow: :meth:`adopt`."""
        now = self.clock.seconds()
        self._last_id = state["last_id"]
        self._ages.restore_state(state["ages"], now)
        self.endings.update(state["endings"])
        self.dropped += state["dropped"]
        if self._admission is not None and state["admission"] is not None:
            self._admission.restore_state(state["admission"], now)
        watch_stop(self.clock)

    def make_moved(self, addr: IAddress, state: Mapping[str, Any]) -> Connection:
        """Make the connection that goes on with one of another process.

        :param state: from :meth:`Connection.export_state`.
        """
        made = self.make(addr)
        if made is None:
            raise ValueError(f"{type(self).__name__} has made no connection")
        return made

    def adopt(self, connection: Connection, transport: Any, state: Mapping[str, Any]) -> None:
        """Let a connection of :meth:`make_moved` go on. It is never refused."""
        connection.factory = self
        self.connections[state["id"]] = connection
        if state["place"] is not None and self._admission is not None:
            self._admission.count_moved(state["place"] or None)
        if self.limits.stall_timeout:
            self._stalls.begin()
        connection.continue_on(transport, state)

    def all_adopted(self) -> None:
        """Called when the last connection of the other process was adopted."""

    def forget(self, connection: Connection) -> None:
        """Forget a connection."""
        del self.connections[connection.id]
        self.full.discard(connection)
        if self.observer is not None:
            self.observer.connection_gone(connection)

    def ended(self, connection: Connection) -> None:
        """Forget a connection that has ended; its ``reason`` is set."""
        self.forget(connection)
        place = connection.place
        if place is not None:
            connection.place = None
            admission = self._admission
            if self._admitted_before:
                admission = self._admitted_before.pop(connection, admission)
            if admission is not None:
                admission.leave(place or None)
        reason = connection.reason
        assert reason is not None
        self.note_end(connection, reason)
        if not self.connections:
            self._stalls.end()
            waiting, self._wait_closed = self._wait_closed, []
            for each in waiting:
                each.callback(None)

    def note_end(self, connection: Connection, reason: CloseReason) -> None:
        """Count an end, and log it."""
        self.endings[reason.code] += 1
        if self.observer is not None:
            self.observer.connection_ended(connection)
        if connection.refusal not in (None, DRAINING):
            return  # that was logged and told when the client was refused
        # A health check, which says nothing, would fill the log.
        if reason.notable or (self.log_ends and connection.bytes_received):
            self._log_end(connection, reason)
        if reason is HANDSHAKE:
            self._tell_refused(connection.peer, reason)

    def _log_end(self, connection: Connection, reason: CloseReason) -> None:
        level = LogLevel.info  # so that twist shows the same as twistd
        peer = format_address(connection.peer)
        name, detail = user_for_log(connection), connection.detail
        clock = self.clock
        seconds = self.age(connection.id)
        if _ends.is_usable(clock):
            number = connection.id
            text = f"Connection {number} from {peer} ended: {reason.code}"
            if detail:
                text += f" ({detail})"
            if name:
                text += f", user {name}"
            # The same as _FIGURES, in half the time.
            text += (
                f", {seconds:.1f} s, bytes {connection.bytes_received} in, "
                f"{connection.bytes_sent} out, messages {connection.messages_received} in, "
                f"{connection.messages_sent} out"
            )
            if _ends.add(clock, level, text):
                return
        _log.emit(
            level,
            "Connection {id} from {peer} ended: {reason}"
            + (" ({detail})" if detail else "")
            + (", user {name}" if name else "")
            + _FIGURES,
            id=connection.id,
            peer=peer,
            reason=reason.code,
            detail=detail,
            name=name,
            seconds=round(seconds, 1),
            bytes_received=connection.bytes_received,
            bytes_sent=connection.bytes_sent,
            messages_received=connection.messages_received,
            messages_sent=connection.messages_sent,
        )


def flush_log() -> None:
    """Write the lines about ended connections that wait for the end of the turn."""
    _ends.flush()


def user_for_log(connection: Connection) -> str:
    """Return the name of a connection's user, on one line; empty for none, or if that fails."""
    try:
        name = connection.name_for_log()
    except Exception:
        _log.failure("Connection {id}: name_for_log() failed", id=connection.id)
        return ""
    return name and printable(name)


def _host_of(address: IAddress | None) -> str | None:
    """Return an IP address as text, or None for a Unix socket, which has none."""
    return getattr(address, "host", None)
