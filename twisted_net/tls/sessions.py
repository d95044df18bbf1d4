"""Resuming TLS sessions as a client, and seeing whether a session was resumed."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from OpenSSL import SSL

from twisted_net.eager.privates import is_resumed, make_resumable

MOST_SERVERS = 100
"""Servers whose sessions are kept, by default."""


class TLSSessions:
    """The sessions that a client has with servers, for :func:`~twisted_net.connect`.

    Pass the same object to several connections: those after the first resume the session of the one
    before, if its server allows that. That saves a round trip with TLS 1.2, and the server a
    signature. A session is resumed only with the same server name, CAs, certificate, application
    protocols and versions, because a resumed session does not verify the certificate again.

    :param most: servers whose latest session is kept; the oldest are dropped.
    """

    def __init__(self, most: int = MOST_SERVERS) -> None:
        self._most = most
        self._servers: dict[Hashable, _Server] = {}

    def __len__(self) -> int:
        return len(self._servers)

    def connection(self, server: Hashable, creator: Any, protocol: Any) -> SSL.Connection:
        """Return a new connection that resumes the latest session with a server.

        :param server: what connections that may share a session have in common.
        :param creator: makes the connection, if it is the first: a session belongs to the OpenSSL
            context in which it began, so that later ones use the same creator.
        """
        known = self._servers.pop(server, None) or _Server(creator)
        self._servers[server] = known
        while len(self._servers) > self._most:
            del self._servers[next(iter(self._servers))]
        return known.connect(protocol)


class _Server:
    """The latest connection to a server, and what makes the next.

    The session is taken from the connection when it is needed: with TLS 1.3, servers send further
    ones at any time.
    """

    def __init__(self, creator: Any) -> None:
        self._creator = creator
        self._latest: SSL.Connection | None = None

    def connect(self, protocol: Any) -> SSL.Connection:
        connection: SSL.Connection = self._creator.clientConnectionForTLS(protocol)
        session = self._session()
        if session is not None:
            make_resumable(session)
            connection.set_session(session)
        self._latest = connection
        return connection

    def _session(self) -> SSL.Session | None:
        """Return the session to resume.

        After a handshake that failed, there is none: what this session lets fail must not fail
        for ever.
        """
        if self._latest is None or not self._latest.get_peer_finished():
            return None
        return self._latest.get_session()


def session_reused(transport: Any) -> bool:
    """Whether a connection has resumed an earlier TLS session, on either side of it.

    :param transport: a protocol's transport, after the handshake.
    :return: False without TLS too.
    """
    find = getattr(transport, "getHandle", None)
    handle = None if find is None else find()
    return isinstance(handle, SSL.Connection) and is_resumed(handle)
