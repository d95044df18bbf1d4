"""TLS over other endpoints, like Twisted's ``wrapServerTLS`` and ``wrapClientTLS``.

Over eager TCP transports, OpenSSL uses the socket directly; see :mod:`twisted_net.eager.tls`. If
Twisted or pyOpenSSL are not as that module expects, TLS is Twisted's own.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from twisted_net.connection.rejection import RejectingProtocol
from twisted_net.eager.reactor_interfaces import tls_factory
from twisted_net.eager.tls_sockets import enable_tls
from twisted_net.interfaces import (
    AnyInterface,
    ClientEndpoint,
    ProtocolFactory,
    ServerEndpoint,
)
from twisted_net.tls.certificates import Certificates


class TLSServerFactory(TLSMemoryBIOFactory):
    """A TLS factory around a factory that may reject a connection. Twisted's own fails then.

    The factories of :class:`TLSServerEndpoint` also inherit from what :func:`tls_factory` returns.
    """

    # Twisted's own declares that it never returns None, although every other factory may.
    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]
        wrapped = self.wrappedFactory.buildProtocol(addr)
        if wrapped is None or isinstance(wrapped, RejectingProtocol):
            return None  # before OpenSSL makes anything: rejections must be cheap
        return self.protocol(self, wrapped)


@cache
def _rejecting(made: type[TLSMemoryBIOFactory]) -> Any:
    return type("TLSServerFactory", (TLSServerFactory, made), {"__doc__": TLSServerFactory.__doc__})


@implementer(IStreamServerEndpoint)
class TLSServerEndpoint(AnyInterface):
    """Listens as another endpoint does, with TLS.

    :param endpoint: where to listen.
    :param creator: the certificates: a :class:`~twisted_net.tls.certificates.Certificates`,
        or Twisted's ``CertificateOptions``.
    :param clock: for buffered writes; without it, the reactor.
    """

    def __init__(
        self,
        endpoint: ServerEndpoint,
        creator: IOpenSSLServerConnectionCreator | CertificateOptions,
        clock: IReactorTime | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._creator = creator
        self._clock = clock

    @property
    def certificates(self) -> Certificates | None:
        """The certificates; None if they are Twisted's ``CertificateOptions``."""
        return self._creator if isinstance(self._creator, Certificates) else None

    def listen(self, factory: ProtocolFactory) -> Deferred[Any]:
        """Listen as the endpoint does."""
        listening: Deferred[IListeningPort] = self._endpoint.listen(
            _rejecting(tls_factory())(self._creator, False, factory, clock=self._clock)
        )
        return listening.addCallback(enable_tls)


def endpoint_certificates(endpoint: ServerEndpoint) -> Certificates | None:
    """Return the certificates that an endpoint uses; None if it has none, or does not tell.

    An endpoint around another one has the ``certificates`` of that.
    """
    found = getattr(endpoint, "certificates", None)
    return found if isinstance(found, Certificates) else None


@implementer(IStreamClientEndpoint)
class TLSClientEndpoint(AnyInterface):
    """Connects as another endpoint does, with TLS.

    :param endpoint: where to connect. Its reactor may be the result of
        :func:`~twisted_net.eager.reactor_interfaces.eager_for_tls`.
    :param creator: the trusted certificates and the name to verify, as Twisted's
        ``optionsForClientTLS`` returns them.
    :param clock: for buffered writes; without it, the reactor.
    """

    def __init__(
        self,
        endpoint: ClientEndpoint,
        creator: IOpenSSLClientConnectionCreator,
        clock: IReactorTime | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._creator = creator
        self._clock = clock

    def connect(self, factory: ProtocolFactory) -> Deferred[IProtocol]:
        """Connect as the endpoint does."""
        connecting: Deferred[Any] = self._endpoint.connect(
            tls_factory()(self._creator, True, factory, self._clock)
        )
        return connecting.addCallback(lambda tls: tls.wrappedProtocol)
