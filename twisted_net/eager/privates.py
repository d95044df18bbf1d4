"""All that this package uses of Twisted and pyOpenSSL beyond their public interfaces.

A private name may change with any release. So each one has a row in :data:`TABLE`. Before any is
used, a probe checks that each exists and is what we expect: methods take our arguments, attributes
have values of the type that we read or write, and the functions that should call or read them do.
If one is not as expected, the log has one warning, and the consequence depends on its group:

* ``TRANSPORTS``: :func:`~twisted_net.eager.reactor_interfaces.eager` returns the reactor itself.
  Transports and TLS are Twisted's own: everything public works as before, but slower.
* ``TLS``: the transports are eager, and TLS over them is Twisted's own.
* ``REACTOR``: the ``eager`` reactor cannot be installed. It raises an error instead of the warning.
* ``OTHERS``: the function at the end of this file that needs the name works without it, as its
  docstring says.

Undocumented names without an underscore are used in the same way, and have rows as well.
"""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pkgutil import resolve_name
from types import CodeType, NoneType
from typing import Any

from twisted.logger import Logger, LogPublisher, globalLogPublisher
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

_log = Logger()


class Group(Enum):
    """What needs a name. The value says what follows if the name is not as expected."""

    TRANSPORTS = "connections have Twisted's own transports, which are slower"
    TLS = "TLS is Twisted's own, which is slower"
    REACTOR = "the eager reactor cannot be used"
    OTHERS = "the feature that needs it is disabled"


class Kind(Enum):
    """What a name refers to."""

    METHOD = "method"
    CLASS_ATTRIBUTE = "class attribute"
    INSTANCE_ATTRIBUTE = "instance attribute"
    MODULE_NAME = "name of a module"


@dataclass(frozen=True, slots=True)
class Private:
    """One name.

    :ivar where: ``module:Class``, or ``module``.
    :ivar purpose: what we use it for.
    :ivar expects: the type of its value; for a method, the number of arguments that we pass.
    :ivar used_by: the functions that should read or call it: ``Class.function`` of the same module,
        or ``module:Class.function`` of another one.
    :ivar source: for the test that renames it in the source of Twisted's transports: a pattern for
        the places where the word is this name. Empty if the word means nothing else in any file.
    """

    name: str
    purpose: str
    expects: Any
    used_by: tuple[str, ...]
    source: str = ""
    group: Group = Group.TRANSPORTS
    kind: Kind = Kind.METHOD
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where.replace(':', '.')}.{self.name}"


def _row(name: str, purpose: str, expects: Any, *used_by: str, source: str = "") -> Private:
    return Private(name, purpose, expects, used_by, source)


def _rows(group: Group, kind: Kind, where: str, *rows: Private) -> Iterator[Private]:
    return (replace(row, group=group, kind=kind, where=where) for row in rows)


def _of_self(name: str) -> str:
    return rf"(?<=\bself\.){name}\b|(?<=self, \"){name}(?=\")"


def _own(name: str) -> str:
    return rf"{_of_self(name)}|(?m:(?<=^    ){name}(?= = |: ))"


_FD = "twisted.internet.abstract:FileDescriptor"
_POSIX = "twisted.internet.posixbase:PosixReactorBase"
_POLL = "twisted.internet.posixbase:_PollLikeMixin"

# fmt: off
TABLE: tuple[Private, ...] = (
    # The queue of a transport, and the state that decides how it is sent.
    *_rows(Group.TRANSPORTS, Kind.INSTANCE_ATTRIBUTE, "twisted.internet.tcp:Server",
        _row("_tempDataBuffer", "the unsent pieces of the queue: we append and clear", list,
             f"{_FD}.write", f"{_FD}.writeSequence", f"{_FD}.doWrite"),
        _row("_tempDataLen", "the number of bytes in them: we update it", int, f"{_FD}.write",
             f"{_FD}.doWrite", f"{_FD}._isSendBufferFull"),
        _row("reactor", "the reactor whose batch the transport uses", object, f"{_FD}.startWriting",
             source=_of_self("reactor")),
        _row("socket", "the socket: we send, receive, and give it to OpenSSL",
             socket.socket, "Connection.doRead", "Connection.writeSomeData",
             source=_of_self("socket")),
        _row("protocol", "the protocol to deliver to", object, "Connection._dataReceived",
             "Connection.connectionLost", source=_of_self("protocol")),
        _row("server", "the port that accepted it: we set it, as Twisted does", object,
             "Server.__init__", source=_of_self("server")),
        _row("client", "the peer's address from accept(): we set it, as Twisted does", tuple,
             "Server.getPeer", source=_of_self("client")),
        _row("sessionno", "the connection's number in its port: we set it, as Twisted does", int,
             "Server.__init__", "Port.doRead"),
        _row("hostname", "the peer's host, which we compute on access", object, "Server.__init__",
             source=_of_self("hostname")),
        _row("repstr", "the transport's repr(), which we compute on access", str,
             "Server.__repr__"),
    ),
    *_rows(Group.TRANSPORTS, Kind.CLASS_ATTRIBUTE, "twisted.internet.tcp:Server",
        _row("dataBuffer", "the buffer that is being sent: we leave unsent bytes there",
             bytes, f"{_FD}.doWrite", f"{_FD}._isSendBufferFull"),
        _row("offset", "how many bytes of that buffer were sent", int, f"{_FD}.doWrite",
             source=_own("offset")),
        _row("SEND_LIMIT", "the most bytes that one send() gets", int, f"{_FD}.doWrite",
             "Connection.writeSomeData"),
        _row("bufferSize", "the bytes of one recv(), and the limit of the queue", int,
             "Connection.doRead", f"{_FD}._isSendBufferFull"),
        _row("_writeDisconnected", "whether our side is closed for writing", bool, f"{_FD}.write",
             f"{_FD}.doWrite"),
        _row("_writeDisconnecting", "whether loseWriteConnection() was called", bool,
             f"{_FD}.doWrite", f"{_FD}.loseWriteConnection"),
        _row("_aborting", "whether abortConnection() was called", bool,
             "Connection.abortConnection"),
        _row("TLS", "whether startTLS() was called: then Twisted's code writes", bool,
             "Connection.write", "Connection.writeSequence", source=_own("TLS")),
        _row("connected", "whether it is connected: we set it, as Twisted does", int,
             f"{_FD}.write", f"{_FD}.connectionLost", source=_own("connected")),
        _row("disconnected", "whether it was lost: one of the keys that instances share", int,
             f"{_FD}.connectionLost", source=_own("disconnected")),
        _row("disconnecting", "whether loseConnection() was called", int, f"{_FD}.doWrite",
             source=_own("disconnecting")),
        _row("producer", "what is paused when the queue is full", NoneType, f"{_FD}.doWrite",
             f"{_FD}._maybePauseProducer", source=_own("producer")),
        _row("producerPaused", "whether the producer is paused: doWrite() must resume it", bool,
             f"{_FD}.doWrite", f"{_FD}._maybePauseProducer"),
        _row("streamingProducer", "whether the producer pushes: Twisted calls pull producers", bool,
             f"{_FD}.doWrite", f"{_FD}._maybePauseProducer"),
        _row("logstr", "the prefix of log lines, which we compute on access", str,
             "Connection.logPrefix"),
        _row("_addressType", "IPv4Address, or IPv6Address if we set it", type, "Server.getHost",
             "Server.getPeer"),
    ),
    *_rows(Group.TRANSPORTS, Kind.METHOD, "twisted.internet.tcp:Server",
        _row("__init__", "replaced by ours, which sets the same attributes", 6),
        _row("_getLogPrefix", "returns a protocol's name in the log", 1, "Server.__init__",
             "BaseClient._connectDone"),
        _row("_closeSocket", "closes the socket, with shutdown() or a reset before", 1,
             "Connection.connectionLost"),
        _row("_maybePauseProducer", "pauses the producer if the queue is full", 0, f"{_FD}.write",
             f"{_FD}.writeSequence"),
        _row("doRead", "overridden: receives data", 0),
        _row("doWrite", "sends the rest, and calls producers: overridden for TLS", 0),
        _row("writeSomeData", "overridden for TLS: sends one buffer", 1, f"{_FD}.doWrite"),
        _row("startReading", "overridden for TLS: registers for reading with the poller", 0,
             "Server.__init__"),
        _row("stopReading", "overridden for TLS: unregisters for reading", 0,
             f"{_FD}.connectionLost", "Connection.abortConnection"),
        _row("startWriting", "overridden: registers for writing with the poller", 0, f"{_FD}.write",
             f"{_FD}.writeSequence"),
        _row("stopWriting", "overridden: unregisters for writing", 0, f"{_FD}.doWrite",
             f"{_FD}.connectionLost", "Connection.abortConnection"),
        _row("_fromConnectedSocket", "makes the transport of an adopted connection", 4,
             f"{_POSIX}.adoptStreamConnection"),
    ),
    *_rows(Group.TRANSPORTS, Kind.METHOD, "twisted.internet.tcp:Client",
        _row("__init__", "called by our connector", 5),
        _row("_connectDone", "overridden: called when the connection is established", 0,
             "BaseClient.doConnect"),
    ),
    # Ports and connectors.
    *_rows(Group.TRANSPORTS, Kind.CLASS_ATTRIBUTE, "twisted.internet.tcp:Port",
        _row("transport", "overridden: the class of its transports", type,
             "Port.doRead", source=_own("transport")),
        _row("_type", "overridden: the kind of its connections in the log", str,
             "Port._logConnectionLostMsg"),
        _row("_realPortNumber", "its port number", NoneType, "Port.startListening"),
    ),
    *_rows(Group.TRANSPORTS, Kind.INSTANCE_ATTRIBUTE, "twisted.internet.tcp:Port",
        _row("numberAccepts", "overridden: how many connections it accepts in a turn", object,
             "Port.doRead", "Port.startListening"),
    ),
    *_rows(Group.TRANSPORTS, Kind.METHOD, "twisted.internet.tcp:Port",
        _row("_buildAddr", "makes the address of a peer", 1, "Port.doRead"),
        _row("_fromListeningDescriptor", "makes the port of an adopted socket", 4,
             f"{_POSIX}.adoptStreamPort"),
    ),
    *_rows(Group.TRANSPORTS, Kind.METHOD, "twisted.internet.tcp:Connector",
        _row("_makeTransport", "overridden: makes the transport", 0, "Connector.connect"),
    ),
    *_rows(Group.TRANSPORTS, Kind.INSTANCE_ATTRIBUTE, "twisted.internet.tcp:Connector",
        _row("host", "given to the transport", str, "Connector._makeTransport",
             source=_of_self("host")),
        _row("port", "given to the transport", int, "Connector._makeTransport",
             source=_of_self("port")),
        _row("bindAddress", "given to the transport", object, "Connector._makeTransport"),
    ),
    # Unix sockets.
    *_rows(Group.TRANSPORTS, Kind.METHOD, "twisted.internet.unix:Server",
        _row("__init__", "called by our __init__", 6),
        _row("_fromConnectedSocket", "makes the transport of an adopted connection", 3,
             f"{_POSIX}.adoptStreamConnection"),
    ),
    *_rows(Group.TRANSPORTS, Kind.INSTANCE_ATTRIBUTE, "twisted.internet.unix:Server",
        _row("_sendmsgQueue", "descriptors to send: Twisted's code sends them", list,
             "Server.sendFileDescriptor", "Server.writeSomeData"),
    ),
    *_rows(Group.TRANSPORTS, Kind.METHOD, "twisted.internet.unix:Client",
        _row("__init__", "called by our __init__", 4),
    ),
    *_rows(Group.TRANSPORTS, Kind.METHOD, "twisted.internet.unix:Port",
        _row("_fromListeningDescriptor", "makes the port of an adopted socket", 3,
             f"{_POSIX}.adoptStreamPort"),
    ),
    *_rows(Group.TRANSPORTS, Kind.METHOD, "twisted.internet.unix:Connector",
        _row("_makeTransport", "overridden: makes the transport", 0, "Connector.connect"),
    ),
    *_rows(Group.TRANSPORTS, Kind.INSTANCE_ATTRIBUTE, "twisted.internet.unix:Connector",
        _row("address", "given to the transport", object, "Connector._makeTransport",
             source=_of_self("address")),
        _row("checkPID", "given to the transport", object, "Connector._makeTransport"),
    ),
    # TLS: Twisted's names.
    *_rows(Group.TLS, Kind.MODULE_NAME, "twisted.protocols.tls",
        _row("_NullAggregator", "an aggregator that does not batch: the transport does", type,
             "BufferingTLSTransport.connectionLost"),
    ),
    *_rows(Group.TLS, Kind.INSTANCE_ATTRIBUTE, "twisted.protocols.tls:BufferingTLSTransport",
        _row("_aggregator", "batches small writes: ours does not", object,
             "BufferingTLSTransport.loseConnection", "BufferingTLSTransport.writeSequence"),
        _row("_tlsConnection", "pyOpenSSL's connection, which we attach to the socket", object,
             "TLSMemoryBIOProtocol.getHandle", "TLSMemoryBIOProtocol.dataReceived"),
        _row("_appSendBuffer", "what was written before the end of the handshake", list,
             "TLSMemoryBIOProtocol._bufferedWrite", "TLSMemoryBIOProtocol._unbufferPendingWrites",
             "TLSMemoryBIOProtocol.loseConnection"),
        _row("_connectWrapped", "one of the keys that instances share", bool,
             "TLSMemoryBIOProtocol.makeConnection"),
    ),
    *_rows(Group.TLS, Kind.INSTANCE_ATTRIBUTE, "twisted.protocols.tls:TLSMemoryBIOFactory",
        _row("_creatorCallable", "makes pyOpenSSL's connection", object,
             "TLSMemoryBIOProtocol.makeConnection"),
    ),
    *_rows(Group.TLS, Kind.CLASS_ATTRIBUTE, "twisted.protocols.tls:BufferingTLSTransport",
        _row("_reason", "why the connection ended, if TLS knows", NoneType,
             "TLSMemoryBIOProtocol.connectionLost", "TLSMemoryBIOProtocol._tlsShutdownFinished"),
        _row("_handshakeDone", "whether the handshake is complete", bool,
             "TLSMemoryBIOProtocol.loseConnection", "TLSMemoryBIOProtocol.dataReceived"),
        _row("_lostTLSConnection", "whether TLS has ended", bool,
             "TLSMemoryBIOProtocol.connectionLost", "TLSMemoryBIOProtocol.registerProducer",
             "TLSMemoryBIOProtocol._tlsShutdownFinished"),
        _row("_producer", "the producer: closing waits while there is one", NoneType,
             "TLSMemoryBIOProtocol.registerProducer", "TLSMemoryBIOProtocol.loseConnection"),
        _row("_aborted", "whether abortConnection() was called: nothing is delivered", bool,
             "TLSMemoryBIOProtocol.abortConnection"),
    ),
    *_rows(Group.TLS, Kind.METHOD, "twisted.protocols.tls:BufferingTLSTransport",
        _row("_checkHandshakeStatus", "overridden: begins the handshake", 0,
             "TLSMemoryBIOProtocol.makeConnection"),
        _row("_flushSendBIO", "overridden: does nothing, because OpenSSL has sent it", 0,
             "TLSMemoryBIOProtocol._tlsShutdownFinished", "TLSMemoryBIOProtocol._flushReceiveBIO"),
        _row("_shutdownTLS", "overridden: sends close_notify after what was written", 0,
             "TLSMemoryBIOProtocol.loseConnection", "TLSMemoryBIOProtocol.abortConnection",
             "TLSMemoryBIOProtocol.unregisterProducer"),
        _row("_tlsShutdownFinished", "overridden: ends the connection when TLS has ended", 1,
             "TLSMemoryBIOProtocol._flushReceiveBIO"),
        _row("_write", "overridden: writes even while closing", 1,
             "TLSMemoryBIOProtocol.write", "TLSMemoryBIOProtocol._unbufferPendingWrites"),
        _row("_bufferedWrite", "keeps what is written during the handshake", 1,
             "TLSMemoryBIOProtocol._write"),
        _row("_unbufferPendingWrites", "writes it when the handshake is complete", 0,
             "TLSMemoryBIOProtocol.dataReceived"),
    ),
    *_rows(Group.TLS, Kind.INSTANCE_ATTRIBUTE, "twisted.internet.endpoints:_WrappingProtocol",
        _row("_wrappedProtocol", "the protocol inside a client endpoint's own", object,
             "_WrappingProtocol.connectionMade", "_WrappingProtocol.dataReceived"),
    ),
    # TLS: pyOpenSSL's names.
    *_rows(Group.TLS, Kind.MODULE_NAME, "OpenSSL._util",
        _row("ffi", "makes and reads the buffers that OpenSSL fills", object),
        _row("lib", "OpenSSL itself, as cryptography binds it", object),
    ),
    *_rows(Group.TLS, Kind.MODULE_NAME, "OpenSSL._util:lib",
        _row("SSL_read", "receives without a new buffer each time", Callable),
        _row("SSL_write", "sends without a copy", Callable),
        _row("SSL_set_fd", "attaches a connection to a socket, and detaches it", Callable),
        _row("SSL_set_bio", "moves a connection to memory buffers", Callable),
        _row("BIO_new", "makes such a buffer", Callable),
        _row("BIO_s_mem", "what kind of buffer it is", Callable),
        _row("SSL_set_mode", "sets the two modes below", Callable),
        _row("SSL_MODE_ENABLE_PARTIAL_WRITE", "lets send() take a part", int),
        _row("SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER", "lets the rest move to another address",
             int),
        _row("ERR_clear_error", "clears errors that other connections would report", Callable),
    ),
    *_rows(Group.TLS, Kind.INSTANCE_ATTRIBUTE, "OpenSSL.SSL:Connection",
        _row("_ssl", "OpenSSL's connection", object, "Connection.send", "Connection.recv"),
        _row("_socket", "the connection's socket, which we set: None for memory buffers", NoneType,
             "Connection.__getattr__"),
        _row("_into_ssl", "the input buffer, which we set: None on a socket", object,
             "Connection.bio_write"),
        _row("_from_ssl", "the output buffer, which we set: None on a socket", object,
             "Connection.bio_read"),
    ),
    *_rows(Group.TLS, Kind.METHOD, "OpenSSL.SSL:Connection",
        _row("_raise_ssl_error", "turns OpenSSL's result into pyOpenSSL's error", 2,
             "Connection.send", "Connection.recv", "Connection.do_handshake"),
    ),
    # The reactor.
    *_rows(Group.REACTOR, Kind.METHOD, "twisted.internet.epollreactor:EPollReactor",
        _row("doPoll", "overridden: runs one turn", 1),
        _row("doIteration", "overridden: mainLoop() calls it for each turn", 1,
             "twisted.internet.base:ReactorBase.mainLoop"),
        _row("_doReadOrWrite", "handles all events except reads of eager transports", 3,
             "EPollReactor.doPoll"),
        _row("_disconnectSelectable", "ends a connection whose read has failed", 3,
             f"{_POLL}._doReadOrWrite"),
    ),
    *_rows(Group.REACTOR, Kind.MODULE_NAME, "twisted.internet.posixbase",
        _row("_NO_FILEDESC", "why a connection without a descriptor ends", Exception,
             "_PollLikeMixin._doReadOrWrite"),
    ),
    *_rows(Group.REACTOR, Kind.INSTANCE_ATTRIBUTE, "twisted.internet.epollreactor:EPollReactor",
        _row("_poller", "the epoll object that we poll", object, "EPollReactor.__init__",
             "EPollReactor.doPoll", "EPollReactor._add"),
        _row("_selectables", "the selectable of each descriptor", object, "EPollReactor.__init__",
             "EPollReactor.doPoll", "EPollReactor.addReader"),
        _row("_reads", "the descriptors that are registered for reading", set,
             "EPollReactor.addReader", "EPollReactor.removeReader"),
        _row("_writes", "the descriptors that are registered for writing", set,
             "EPollReactor.addWriter", "EPollReactor.removeWriter"),
    ),
    # Others: each is for one of the functions at the end of this file.
    *_rows(Group.OTHERS, Kind.CLASS_ATTRIBUTE, "twisted.internet.tcp:Port",
        _row("_logger", "the logger that reports failed accepts", Logger, "Port.doRead",
             source=_own("_logger")),
    ),
    *_rows(Group.OTHERS, Kind.INSTANCE_ATTRIBUTE, "twisted.logger:LogPublisher",
        _row("_observers", "the observers of the log", list,
             "twisted.logger:LogPublisher.__call__", "twisted.logger:LogPublisher.addObserver"),
    ),
    *_rows(Group.OTHERS, Kind.INSTANCE_ATTRIBUTE,
         "twisted.application._client_service:_ReconnectingProtocolProxy",
        _row("_lostNotification", "tells a ClientService that its connection is lost", object,
             "_ReconnectingProtocolProxy.connectionLost"),
    ),
    *_rows(Group.OTHERS, Kind.MODULE_NAME, "OpenSSL.SSL",
        _row("_lib", "OpenSSL itself, for the key exchange groups", object),
        _row("_ffi", "the address of a context, and the copy of a session", object),
    ),
    *_rows(Group.OTHERS, Kind.MODULE_NAME, "OpenSSL.SSL:_lib",
        _row("SSL_CTX_set1_curves_list", "sets the key exchange groups", Callable),
        _row("ERR_clear_error", "clears the error for an unknown group", Callable),
        _row("SSL_session_reused", "whether a session was resumed", Callable),
        _row("i2d_SSL_SESSION", "copies a session: to bytes", Callable),
        _row("d2i_SSL_SESSION", "copies a session: from bytes", Callable),
        _row("SSL_SESSION_free", "frees the copy", Callable),
    ),
    *_rows(Group.OTHERS, Kind.INSTANCE_ATTRIBUTE, "OpenSSL.SSL:Context",
        _row("_context", "OpenSSL's context", object, "Context.set_mode"),
    ),
    *_rows(Group.OTHERS, Kind.INSTANCE_ATTRIBUTE, "OpenSSL.SSL:Session",
        _row("_session", "OpenSSL's session, which we set to a copy", object,
             "Connection.set_session"),
    ),
)
"""Every private name that is used, and every undocumented public one."""
# fmt: on


# The probe.


class Examples:
    """The objects that rows are checked on: modules, classes, and instances of some classes."""

    def holder(self, where: str) -> Any:
        """Return the module or class.

        :raises Exception: it does not exist, or cannot be imported.
        """
        return resolve_name(where)

    def instance(self, where: str) -> Any:
        """Return an instance of the class; None if making one takes too much.

        :raises Exception: it cannot be made as we expect.
        """
        make = _INSTANCES.get(where)
        return None if make is None else make()


def first_problem(rows: Iterable[Private], examples: Examples) -> str | None:
    """Return what is wrong with the first bad row, without a full stop; None if all are good."""
    for row in rows:
        try:
            wrong = _wrong_with(row, examples)
        except Exception as error:
            wrong = f"cannot be checked ({type(error).__name__}: {error})"
        if wrong:
            return f"{row} {wrong}"
    return None


@cache
def problem(group: Group) -> str | None:
    """As :func:`first_problem`, for the rows of a group. The result is cached."""
    return first_problem((row for row in TABLE if row.group is group), Examples())


@cache
def usable(group: Group) -> bool:
    """Whether every row of a group is as expected. If not, the log has a warning, once."""
    if group is Group.TLS and not usable(Group.TRANSPORTS):
        return False  # TLS needs them
    wrong = problem(group)
    if wrong is not None:
        _warn(wrong, group.value)
    return wrong is None


def require_reactor() -> None:
    """Check what the eager reactor needs.

    :raises ImportError: the reactor cannot be used; the message says why, in one line.
    """
    wrong = problem(Group.TRANSPORTS) or problem(Group.REACTOR)
    if wrong is not None:
        raise ImportError(f"{Group.REACTOR.value} with this Twisted: {wrong}")


def _warn(wrong: str, consequence: str) -> None:
    _log.warn(
        "twisted_net does not support this Twisted or pyOpenSSL: {wrong}. Therefore {consequence}.",
        wrong=wrong,
        consequence=consequence,
    )


def _wrong_with(row: Private, examples: Examples) -> str:
    holder = examples.holder(row.where)
    if row.kind is Kind.INSTANCE_ATTRIBUTE:
        holder = examples.instance(row.where)
    if holder is not None:
        if not hasattr(holder, row.name):
            return "does not exist"
        value = getattr(holder, row.name)
        wrong = _wrong_method(row, value) if row.kind is Kind.METHOD else ""
        if row.kind is not Kind.METHOD and not isinstance(value, row.expects):
            wrong = f"is {value!r}"
        if wrong:
            return wrong
    for name in row.used_by:
        user = name if ":" in name else f"{row.where.partition(':')[0]}:{name}"
        try:
            function = examples.holder(user)
        except AttributeError:
            return f"is not used by {user}, which does not exist"
        if not _mentions(function, row.name):
            return f"is not used by {user}"
    return ""


def _wrong_method(row: Private, method: Any) -> str:
    arguments = [None] * (row.expects + (not inspect.ismethod(method)))
    try:
        inspect.signature(method).bind(*arguments)
    except TypeError as error:
        return f"takes other arguments ({error})"
    if row.name == "__init__" and row.where == "twisted.internet.tcp:Server":
        more = vars(_server()).keys() - _SET_BY_SERVER
        return f"sets {', '.join(sorted(more))} as well" if more else ""
    return ""


def _mentions(function: Any, name: str) -> bool:
    """Whether the code of a function contains a name."""
    code = inspect.unwrap(getattr(function, "__func__", function)).__code__
    codes = [code]
    for each in codes:
        if name in each.co_names:
            return True
        codes += [inner for inner in each.co_consts if isinstance(inner, CodeType)]
    return False


# Instances to check. What they are made with does nothing.

_SET_BY_SERVER = {
    *("reactor", "_tempDataBuffer", "_tempDataLen", "socket", "fileno", "protocol", "connected"),
    *("server", "client", "sessionno", "hostname", "logstr", "repstr"),
}


class _Nothing:
    """A reactor, clock or transport whose methods all do nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args: None


def _server() -> Any:
    from twisted.internet import tcp

    ours, theirs = socket.socketpair()
    with ours, theirs:
        port = tcp.Port(0, _factory(), reactor=_Nothing())
        return tcp.Server(ours, _protocol(), ("", 0), port, 0, _Nothing())  # type: ignore[arg-type]


def _unix_server() -> Any:
    from twisted.internet import tcp, unix

    ours, theirs = socket.socketpair()
    with ours, theirs:
        port = tcp.Port(0, _factory(), reactor=_Nothing())
        return unix.Server(ours, _protocol(), "", port, 0, _Nothing())


def _connector() -> Any:
    from twisted.internet import tcp

    return tcp.Connector("host", 1, _factory(), 1, None, _Nothing())


def _unix_connector() -> Any:
    from twisted.internet import unix

    return unix.Connector("path", _factory(), 1, _Nothing(), 0)


def _tls_factory() -> Any:
    from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
    from twisted.protocols.tls import TLSMemoryBIOFactory
    from zope.interface import directlyProvides

    creator: Any = _Nothing()
    creator.serverConnectionForTLS = lambda protocol: _ssl_connection()
    directlyProvides(creator, IOpenSSLServerConnectionCreator)
    return TLSMemoryBIOFactory(creator, False, _factory(), _Nothing())  # type: ignore[arg-type]


def _tls() -> Any:
    from twisted.protocols.tls import BufferingTLSTransport

    tls = BufferingTLSTransport(_tls_factory(), _protocol())
    tls.makeConnection(_Nothing())
    return tls


def _ssl_context() -> Any:
    from OpenSSL import SSL

    return SSL.Context(SSL.TLS_METHOD)


def _ssl_connection() -> Any:
    from OpenSSL import SSL

    connection = SSL.Connection(_ssl_context())
    connection.set_accept_state()
    return connection


def _factory() -> Any:
    from twisted.internet.protocol import ClientFactory

    return ClientFactory()


def _protocol() -> Any:
    from twisted.internet.protocol import Protocol

    return Protocol()


_INSTANCES: dict[str, Callable[[], Any]] = {
    "twisted.internet.tcp:Server": _server,
    "twisted.internet.unix:Server": _unix_server,
    "twisted.internet.tcp:Connector": _connector,
    "twisted.internet.unix:Connector": _unix_connector,
    "twisted.protocols.tls:TLSMemoryBIOFactory": _tls_factory,
    "twisted.protocols.tls:BufferingTLSTransport": _tls,
    "OpenSSL.SSL:Connection": _ssl_connection,
    "OpenSSL.SSL:Context": _ssl_context,
    "twisted.logger:LogPublisher": LogPublisher,
    "twisted.internet.endpoints:_WrappingProtocol": lambda: resolve_name(
        "twisted.internet.endpoints:_WrappingProtocol"
    )(None, _protocol()),
}


# For the rest of the package. Each function works without the names that it does not find.


def unsent(transport: Any) -> int:
    """Return the number of bytes in a transport that the kernel has not taken yet.

    Twisted has no public count. Other transports may have one, as ``unsent_bytes``. Without
    either, the result is 0.

    :param transport: one of Twisted's, or TLS or another wrapper around one.
    """
    transport = _below_wrappers(transport)
    count = getattr(transport, "unsent_bytes", None)
    if isinstance(count, int):
        return count
    try:
        waiting: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    except (AttributeError, TypeError):
        return 0
    return waiting


def send_position(transport: Any) -> tuple[int, int]:
    """Return the identity of the buffer that a transport is sending, and the offset in it.

    While both stay the same, the peer has taken nothing; over TLS, nothing else tells that. If the
    transport has no such buffer, the result is always the same.

    :param transport: as in :func:`unsent`.
    """
    transport = _below_wrappers(transport)
    buffer = getattr(transport, "dataBuffer", None)
    offset = getattr(transport, "offset", 0)
    return (0, 0) if buffer is None else (id(buffer), offset)


def unsent_bytes(transport: Any) -> bytes:
    """Return the bytes that the kernel has not taken yet from a plain transport."""
    queued = b"".join(transport._tempDataBuffer)
    rest: bytes = transport.dataBuffer[transport.offset :]
    return bytes(rest) + queued


def drop_unsent(transport: Any) -> None:
    """Empty the buffers of a plain transport."""
    transport._tempDataBuffer = []
    transport._tempDataLen = 0
    transport.dataBuffer, transport.offset = b"", 0


def is_ending(transport: Any) -> bool:
    """Return whether a plain transport closes, aborts, or has descriptors to send."""
    return bool(
        transport.disconnecting
        or transport._aborting
        or getattr(transport, "_broken", False)
        or getattr(transport, "_sendmsgQueue", ())
    )


def inner_protocol(protocol: Any) -> Any | None:
    """Return the protocol that one of Twisted's passes everything on to; None if it has none.

    That is the protocol inside a wrapper, such as TLS, or inside the protocol that Twisted's client
    endpoints insert. If Twisted renames the attribute of the latter, the result is None for those.
    """
    inner = getattr(protocol, "wrappedProtocol", None)
    return getattr(protocol, "_wrappedProtocol", None) if inner is None else inner


def log_of_port(port: Any) -> Logger | None:
    """Return the logger with which a port reports failed accepts; None if it cannot be found."""
    logger = getattr(port, "_logger", None)
    if isinstance(logger, Logger):
        return logger
    from twisted.internet import tcp

    if isinstance(port, tcp.Port):
        _known("_logger")
    return None


def set_log_of_port(port: Any, logger: Logger) -> None:
    """Replace the logger that :func:`log_of_port` has returned."""
    port._logger = logger


@cache
def log_observers() -> Sequence[Any]:
    """Return the observers of Twisted's log, as a list that stays current.

    If they cannot be found, it is empty.
    """
    return globalLogPublisher._observers if _known("_observers") else []


def hold_back_loss(proxy: Any) -> Callable[[], None] | None:
    """Keep a ``ClientService`` from hearing that the connection it is preparing is lost.

    :param proxy: what the service has passed to its ``prepareConnection``.
    :return: a function that ends this; None if it cannot be held back.
    """
    if not _known("_lostNotification"):
        return None
    told, proxy._lostNotification = proxy._lostNotification, lambda reason: None

    def resume() -> None:
        proxy._lostNotification = told

    return resume


def limit_groups(context: Any, choices: Iterable[bytes]) -> bool:
    """Limit key exchange to the first of these lists of groups that OpenSSL knows.

    pyOpenSSL can only set a single curve. OpenSSL itself can set a list.

    :param context: a context of pyOpenSSL.
    :return: False if the groups stay OpenSSL's own.
    """
    if not all(map(_known, ("_lib", "SSL_CTX_set1_curves_list", "ERR_clear_error", "_context"))):
        return False
    from OpenSSL import SSL

    lib: Any = SSL._lib  # type: ignore[attr-defined]
    for groups in choices:
        if lib.SSL_CTX_set1_curves_list(context._context, groups) == 1:
            return True
        lib.ERR_clear_error()
    return False


def context_address(context: Any) -> int | None:
    """Return the address of OpenSSL's context; None with an unknown pyOpenSSL."""
    if not all(map(_known, ("_ffi", "_context"))):
        return None
    from OpenSSL import SSL

    ffi: Any = SSL._ffi  # type: ignore[attr-defined]
    return int(ffi.cast("uintptr_t", context._context))


def prefer_reason(tls: Any, reason: Exception) -> None:
    """Let a TLS transport tell its protocol this reason if it fails, in place of OpenSSL's.

    With an unknown Twisted, OpenSSL's is told.
    """
    if usable(Group.TLS) and getattr(tls, "_reason", reason) is None:
        tls._reason = Failure(reason)


def is_resumed(connection: Any) -> bool:
    """Whether a connection of pyOpenSSL has resumed a session; False with an unknown pyOpenSSL."""
    if not usable(Group.TLS) or not all(map(_known, ("_lib", "SSL_session_reused"))):
        return False
    from OpenSSL import SSL

    lib: Any = SSL._lib  # type: ignore[attr-defined]
    return bool(lib.SSL_session_reused(connection._ssl))


def make_resumable(session: Any) -> None:
    """Replace the OpenSSL session of a pyOpenSSL session by a copy.

    OpenSSL forbids to resume a session whose connection was lost without close_notify. That was
    demanded by TLS 1.0 (RFC 2246, 7.2.1), and no longer is (RFC 5246, 7.2.1). A copy knows nothing
    of it. With an unknown pyOpenSSL, the session stays as it is.
    """
    names = ("_lib", "_ffi", "i2d_SSL_SESSION", "d2i_SSL_SESSION", "SSL_SESSION_free", "_session")
    if not all(map(_known, names)):
        return
    from OpenSSL import SSL

    lib: Any = SSL._lib  # type: ignore[attr-defined]
    ffi: Any = SSL._ffi  # type: ignore[attr-defined]
    size = lib.i2d_SSL_SESSION(session._session, ffi.NULL)
    if size > 0:
        data = ffi.new("unsigned char[]", size)
        lib.i2d_SSL_SESSION(session._session, ffi.new("unsigned char **", data))
        copy = lib.d2i_SSL_SESSION(ffi.NULL, ffi.new("unsigned char **", data), size)
        if copy != ffi.NULL:
            session._session = ffi.gc(copy, lib.SSL_SESSION_free)


@cache
def _known(name: str) -> bool:
    """Whether the rows of ``OTHERS`` with this name are as expected; see :func:`usable`."""
    rows = [row for row in TABLE if row.group is Group.OTHERS and row.name == name]
    wrong = first_problem(rows, Examples())
    if wrong is not None:
        _warn(wrong, Group.OTHERS.value)
    return wrong is None


def _below_wrappers(transport: Any) -> Any:
    while issubclass(type(transport), ProtocolWrapper):  # whatever class it says that it is of
        transport = transport.transport
    return transport
