"""Listening with workers: the supervisor accepts, and workers get what it has accepted.

Both make their endpoints from the same flags, each with a view of the reactor in which the methods
that listen do something else. So every kind of endpoint works, and binding is Twisted's own.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from twisted_net.eager.inherited import take_inherited
from twisted_net.eager.reactor_interfaces import ReactorView, plain, tls_factory
from twisted_net.services.listening_sockets import EndpointT
from twisted_net.services.workers.handoff import MOST_LISTENERS, HandoffReader

_AT_ONCE = 64  # connections that are accepted in a turn: handing them over takes little

_PAUSE = 0.1  # seconds without accepting, when the kernel has no descriptor

_BOUND_ELSEWHERE = ("tcp", "tcp4", "tcp6", "unix", "systemd")
"""Kinds of endpoints that are nothing but a socket: a worker need not parse them."""

_log = Logger()

Accepted = Callable[[int, socket.socket, Any], object]


class AcceptingSockets:
    """Makes the endpoints of the supervisor. Their ports accept once they are told to.

    :ivar ports: the ports that listen, by their numbers.
    """

    def __init__(self) -> None:
        self._accepted: Accepted | None = None
        self._count = 0
        self.ports: dict[int, AcceptingPort] = {}
        self._accepts = False

    def endpoint(self, reactor: Any, kind: str, parse: Callable[[Any], EndpointT]) -> EndpointT:
        """Return the next endpoint: see :class:`ListeningSockets`."""
        number = self._count
        if number > MOST_LISTENERS:
            raise ValueError(f"more than {MOST_LISTENERS} listeners cannot be used with workers")
        self._count += 1
        return parse(_AcceptingView(reactor, lambda port: self._add(number, port)))

    def use(self, accepted: Accepted) -> None:
        """Call a function with the listener's number, each accepted socket, and its peer's address.
        The socket is the function's to close."""
        self._accepted = accepted

    def resume(self) -> None:
        """Begin to accept, or go on."""
        self._accepts = True
        for port in self.ports.values():
            port.resume()

    def pause(self) -> None:
        """Let new connections wait in the kernel."""
        self._accepts = False
        for port in self.ports.values():
            port.pause()

    def _add(self, number: int, port: Any) -> None:
        def accepted(connection: socket.socket, address: Any) -> None:
            assert self._accepted is not None
            self._accepted(number, connection, address)

        self.ports[number] = AcceptingPort(port, accepted)
        if not self._accepts:
            self.ports[number].pause()


class AcceptingPort:
    """Accepts on one of Twisted's ports, without making protocols and transports.

    :param port: the port. It reads already.
    :param accepted: called with each socket and the address of its peer.
    """

    def __init__(self, port: Any, accepted: Callable[[socket.socket, Any], object]) -> None:
        self._port = port
        self._accepted = accepted
        self._paused = False
        port.doRead = self._accept  # as the reactor calls it

    def pause(self) -> None:
        """Let new connections wait in the kernel."""
        self._paused = True
        self._port.stopReading()

    def resume(self) -> None:
        """Go on, unless the port has stopped."""
        self._paused = False
        if self._port.connected:
            self._port.startReading()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            if self._paused or not self._port.connected:
                return
            try:
                sock, address = self._port.socket.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                if error.errno == errno.EPERM:  # the firewall does not want it
                    return
                _log.warn("Connections cannot be accepted: {why}", why=error.strerror)
                self._port.stopReading()
                self._port.reactor.callLater(_PAUSE, self._go_on)
                return
            self._accepted(sock, address)

    def _go_on(self) -> None:
        if not self._paused:
            self.resume()


class _AcceptingView(ReactorView):
    """A reactor whose ports accept for workers."""

    def __init__(self, reactor: Any, made: Callable[[Any], object]) -> None:
        super().__init__(plain(reactor))
        self._made = made

    def _accepting(self, port: Any) -> Any:
        self._made(port)
        return port

    def listenTCP(self, *arguments: Any, **more: Any) -> IListeningPort:
        port: IListeningPort = self._accepting(plain(self).listenTCP(*arguments, **more))
        return port

    def listenSSL(
        self, port: Any, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        return self.listenTCP(port, factory, backlog, interface)  # TLS is the workers' work

    def listenUNIX(self, *arguments: Any, **more: Any) -> IListeningPort:
        port: IListeningPort = self._accepting(plain(self).listenUNIX(*arguments, **more))
        return port

    def adoptStreamPort(self, *arguments: Any, **more: Any) -> IListeningPort:
        port: IListeningPort = self._accepting(plain(self).adoptStreamPort(*arguments, **more))
        return port


class HandedSockets:
    """Makes the endpoints of a worker. One handoff socket serves all its ports.

    :ivar ports: the ports that listen, by the numbers that the supervisor has for them.
    :ivar inherited: the handoff socket of an old worker; None if this one has not succeeded one.
    :ivar reader: reads the handoff socket, as soon as the worker serves.
    """

    def __init__(self) -> None:
        self._count = 0
        self.ports: dict[int, HandedPort] = {}
        self.inherited: socket.socket | None = None
        self.reader: HandoffReader | None = None

    def endpoint(self, reactor: Any, kind: str, parse: Callable[[Any], EndpointT]) -> EndpointT:
        """Return the next endpoint: see :class:`ListeningSockets`."""
        number = self._count
        self._count += 1

        def made(factory: Any) -> HandedPort:
            passed = take_inherited()  # another name of the same socket for each port
            if self.inherited is None:
                self.inherited = passed
            elif passed is not None:
                passed.close()
            port = self.ports[number] = HandedPort(factory, self)
            return port

        if kind in _BOUND_ELSEWHERE:
            endpoint: Any = HandedEndpoint(made)
            return endpoint  # type: ignore[no-any-return]
        return parse(_HandedView(reactor, made))


@implementer(IListeningPort)
class HandedPort:
    """Stands for a socket that the supervisor holds.

    An upgrade in place treats it as any port: it pauses, passes on and gives up the handoff socket.

    :param sockets: has the handoff socket.
    :ivar factory: makes the protocols.
    :ivar sessionno: the connections so far.
    """

    is_bound_here = False
    connected = True

    def __init__(self, factory: Any, sockets: HandedSockets) -> None:
        self.factory = factory
        self.sessionno = 0
        self._sockets = sockets
        factory.doStart()

    @property
    def socket(self) -> Any:
        """What an upgrade closes in the old process; None until the worker serves."""
        return self._sockets.reader

    def fileno(self) -> int:
        return -1 if self._sockets.reader is None else self._sockets.reader.fileno()

    def startReading(self) -> None:
        if self._sockets.reader is not None:
            self._sockets.reader.start()

    def stopReading(self) -> None:
        if self._sockets.reader is not None:
            self._sockets.reader.pause()

    def startListening(self) -> None:
        """The supervisor listens."""

    def stopListening(self) -> Deferred[None]:
        factory, self.factory = self.factory, None
        if factory is not None:
            factory.doStop()
        return succeed(None)

    def getHost(self) -> Any:
        """Return an address that says nothing: only the supervisor knows it."""
        return IPv4Address("TCP", "0.0.0.0", 0)


@implementer(IStreamServerEndpoint)
class HandedEndpoint:
    """Listens for what the supervisor accepts.

    :param made: makes the port.
    """

    def __init__(self, made: Callable[[Any], HandedPort]) -> None:
        self._made = made

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        return succeed(self._made(protocolFactory))


class _HandedView(ReactorView):
    """A reactor that listens for what the supervisor accepts."""

    def __init__(self, reactor: Any, made: Callable[[Any], HandedPort]) -> None:
        super().__init__(plain(reactor))
        self.listen_handed = made

    def listenTCP(
        self, port: Any, factory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        return self.listen_handed(factory)

    def listenSSL(
        self, port: Any, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        return self.listen_handed(tls_factory()(contextFactory, False, factory, plain(self)))

    def listenUNIX(
        self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: Any = 0
    ) -> IListeningPort:
        return self.listen_handed(factory)

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: Any, factory: Any
    ) -> IListeningPort:
        return self.listen_handed(factory)
