"""Listening with TLS, as Twisted's ``wrapServerTLS``, before any factory."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from twisted_net.transport.refusing import RefusedProtocol


class TLSServerFactory(TLSMemoryBIOFactory):
    """TLS before a factory that may refuse a connection; Twisted's own fails where it does."""

    # Twisted's own promises to refuse nobody, although every other factory may.
    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]
        wrapped = self.wrappedFactory.buildProtocol(addr)
        if wrapped is None or isinstance(wrapped, RefusedProtocol):
            return None  # before anything of OpenSSL's is made: a refusal is to cost nothing
        return self.protocol(self, wrapped)


@implementer(IStreamServerEndpoint)
class TLSServerEndpoint:
    """Listens as another endpoint does, with TLS.

    :param endpoint: where.
    :param creator: the certificates: a :class:`~twisted_net.transport.certificates.Certificates`,
        or Twisted's ``CertificateOptions``.
    :param clock: for buffered writes; without it, the reactor's.
    """

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        creator: IOpenSSLServerConnectionCreator,
        clock: IReactorTime | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._creator = creator
        self._clock = clock

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; as every endpoint does."""
        return self._endpoint.listen(
            TLSServerFactory(self._creator, False, factory, clock=self._clock)
        )
