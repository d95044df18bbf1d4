"""The reactor methods that listen and connect, making eager transports.

The ``eager`` reactor has them, and :func:`eager` adds them to Twisted's own reactors.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import UnsupportedAddressFamily
from twisted.internet.interfaces import IConnector, IListeningPort
from twisted.internet.posixbase import PosixReactorBase
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import directlyProvides, providedBy

from twisted_net.eager.inherited import adopt_port, adopt_unix_port, take_inherited
from twisted_net.eager.ports import (
    EagerConnector,
    EagerPort,
    EagerServer,
    EagerUNIXConnector,
    EagerUNIXPort,
    EagerUNIXServer,
)
from twisted_net.eager.privates import Group, usable
from twisted_net.eager.tls_sockets import EagerTLSConnector, EagerTLSPort


class EagerCalls:
    """The stream methods of a reactor, making eager transports. The arguments are Twisted's."""

    @property
    def _for(self) -> Any:
        """The reactor that the transports use."""
        return self

    def listenTCP(
        self, port: Any, factory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        listening = take_inherited()
        if listening is not None:
            return adopt_port(EagerPort, listening, factory, self._for)
        return _started(EagerPort(port, factory, backlog, interface, self._for))

    def connectTCP(
        self, host: str, port: Any, factory: Any, timeout: float = 30.0, bindAddress: Any = None
    ) -> IConnector:
        return _begun(EagerConnector(host, port, factory, timeout, bindAddress, self._for))

    def listenUNIX(
        self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: Any = 0
    ) -> IListeningPort:
        listening = take_inherited()
        if listening is not None:
            lock = bool(wantPID)
            return adopt_unix_port(EagerUNIXPort, listening, factory, self._for, mode, lock)
        return _started(EagerUNIXPort(address, factory, backlog, mode, self._for, wantPID))

    def connectUNIX(
        self, address: Any, factory: Any, timeout: float = 30, checkPID: Any = 0
    ) -> IConnector:
        return _begun(EagerUNIXConnector(address, factory, timeout, self._for, checkPID))

    def listenSSL(
        self,
        port: Any,
        factory: Any,
        contextFactory: Any,
        backlog: int = 50,
        interface: str = "",
    ) -> IListeningPort:
        reactor = self._for
        tls = tls_factory()(contextFactory, False, factory, reactor)
        listening = take_inherited()
        if listening is not None:
            return adopt_port(EagerTLSPort, listening, tls, reactor)
        return _started(EagerTLSPort(port, tls, backlog, interface, reactor))

    def connectSSL(
        self,
        host: str,
        port: Any,
        factory: Any,
        contextFactory: Any,
        timeout: float = 30,
        bindAddress: Any = None,
    ) -> IConnector:
        reactor = self._for
        tls = tls_factory()(contextFactory, True, factory, reactor)
        return _begun(EagerTLSConnector(host, port, tls, timeout, bindAddress, reactor))

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: Any, factory: Any
    ) -> IListeningPort:
        reactor = self._for
        if addressFamily == socket.AF_UNIX:
            return _started(
                EagerUNIXPort._fromListeningDescriptor(reactor, fileDescriptor, factory)
            )
        _check(addressFamily)
        return _started(
            EagerPort._fromListeningDescriptor(reactor, fileDescriptor, addressFamily, factory)
        )

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        reactor = self._for
        if addressFamily == socket.AF_UNIX:
            return EagerUNIXServer._fromConnectedSocket(fileDescriptor, factory, reactor)
        _check(addressFamily)
        return EagerServer._fromConnectedSocket(fileDescriptor, addressFamily, factory, reactor)


class ReactorView(EagerCalls):
    """A reactor whose stream methods are replaced. Everything else is passed on to it."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        directlyProvides(self, providedBy(reactor))

    @property
    def _for(self) -> Any:
        return self._reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


class _TLSView(ReactorView):
    """A view whose TCP clients can also run TLS on the socket."""

    def connectTCP(
        self, host: str, port: Any, factory: Any, timeout: float = 30.0, bindAddress: Any = None
    ) -> IConnector:
        return _begun(EagerTLSConnector(host, port, factory, timeout, bindAddress, self._for))


def tls_factory() -> Any:
    """Return ``EagerTLSFactory``, or Twisted's ``TLSMemoryBIOFactory`` if that cannot be used.

    Both take the same arguments, and work over any transport.
    """
    if not usable(Group.TLS):
        return TLSMemoryBIOFactory
    from twisted_net.eager.tls import EagerTLSFactory

    return EagerTLSFactory


def plain(reactor: Any) -> Any:
    """Return the reactor that was passed to :func:`eager`, for its clock for example."""
    return reactor._reactor if isinstance(reactor, ReactorView) else reactor


def eager(reactor: Any) -> Any:
    """Return ``reactor`` with stream methods that make eager transports, if that is possible.

    Pass the result to any endpoint or service. ``reactor`` itself is returned if its stream
    methods are its own: the ``eager`` reactor already makes eager transports, and a reactor that is
    not built from Twisted's usual parts keeps its own. ``reactor`` itself is also returned if
    Twisted is not as :mod:`~twisted_net.eager.privates` expects; the log then has a warning.
    """
    if _has_stock_calls(reactor) and usable(Group.TRANSPORTS):
        return ReactorView(reactor)
    return reactor


def eager_for_tls(reactor: Any) -> Any:
    """As :func:`eager`, for TCP connections on which a :func:`tls_factory` will be the client."""
    actual = plain(reactor)
    has_calls = isinstance(actual, EagerCalls) or (
        _has_stock_calls(actual) and usable(Group.TRANSPORTS)
    )
    return _TLSView(actual) if has_calls else reactor


def _has_stock_calls(reactor: Any) -> bool:
    cls = type(reactor)
    return isinstance(reactor, PosixReactorBase) and all(
        getattr(cls, name) is getattr(PosixReactorBase, name) for name in _CALLS
    )


_CALLS = (
    "listenSSL",
    "connectSSL",
    "listenTCP",
    "connectTCP",
    "listenUNIX",
    "connectUNIX",
    "adoptStreamPort",
    "adoptStreamConnection",
)


def _started(port: Any) -> Any:
    port.startListening()
    return port


def _begun(connector: Any) -> Any:
    connector.connect()
    return connector


def _check(family: Any) -> None:
    if family not in (socket.AF_INET, socket.AF_INET6):
        raise UnsupportedAddressFamily(family)
