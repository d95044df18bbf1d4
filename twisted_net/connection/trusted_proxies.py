"""The HTTP proxies in front of a server, which tell it who its clients are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from twisted_net.connection.addresses import format_address
from twisted_net.connection.rejection import LOG_EVERY
from twisted_net.policy.ranges import Network, Ranges, nearest_outside
from twisted_net.wire.forwarded import Forwarded, parse_forwarded
from twisted_net.wire.framing import RemoteProtocolError

_log = Logger()


class TrustedProxies:
    """The proxies whose ``X-Forwarded-For`` and ``Forwarded`` headers are believed.

    Any client can send these headers. So each proxy must set them, or add the address of its peer
    at the end, and nobody else may be in these ranges.

    :param ranges: the addresses of the proxies. They may be changed while they are in use.
    :param unix: whether the peers of Unix sockets are proxies too.
    :raises ValueError: if one is not a range; see :func:`~twisted_net.policy.ranges.parse_range`.
    :ivar malformed: the number of requests with a malformed header.
    """

    def __init__(self, ranges: Iterable[Network | str] = (), *, unix: bool = False) -> None:
        self.ranges = Ranges(ranges)
        self.unix = unix
        self.malformed = 0
        self._unlogged = 0
        self._logged_at = float("-inf")

    def trusts(self, peer: IAddress | None) -> bool:
        """Return whether the peer of a connection is one of the proxies."""
        host = getattr(peer, "host", None)
        if host is None:
            return self.unix and isinstance(peer, UNIXAddress)
        return host in self.ranges

    def read(self, peer: IAddress, head: bytes, now: float) -> Forwarded | None:
        """Return what the peer of a connection says about the client of a request.

        :param head: the head of the request.
        :param now: the current time in seconds.
        :return: None if it says nothing, or is not one of the proxies.
        :raises RemoteProtocolError: it is malformed. That is logged, at most once a minute.
        """
        if not self.trusts(peer):
            return None
        try:
            return parse_forwarded(head) or None
        except RemoteProtocolError as error:
            self._note_malformed(peer, str(error), now)
            raise

    def client(self, nodes: Sequence[str | None]) -> IAddress | None:
        """Return the address of the client that a proxy tells; its port is 0, for not known.

        :param nodes: as in :class:`~twisted_net.wire.forwarded.Forwarded`.
        :return: None if the client cannot be traced.
        """
        host = nearest_outside(nodes, self.ranges)
        if host is None:
            return None
        kind = IPv6Address if ":" in host else IPv4Address
        return kind("TCP", host, 0)

    def _note_malformed(self, peer: IAddress, why: str, now: float) -> None:
        self.malformed += 1
        self._unlogged += 1
        if 0 <= now - self._logged_at < LOG_EVERY:
            return
        _log.warn(
            "Requests of trusted proxies refused since the last line: {count}; the last one from "
            "{peer}: {why}",
            count=self._unlogged,
            peer=format_address(peer),
            why=why,
        )
        self._unlogged, self._logged_at = 0, now
