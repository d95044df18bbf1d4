"""Decides who may ask the operator's view for what. Pure.

There are three ways in for a stranger, and each is closed by itself:

* Another machine. Without a token, only the loopback interface and Unix sockets are served.
* A web page that the operator visits. It can send requests to this machine, but a browser tells
  where they come from (``Origin``, ``Sec-Fetch-Site``). The header that changes need cannot be sent
  from another page, because no answer permits it (CORS), and no cookie stands for the operator.
* A name that such a page lets point here (DNS rebinding). ``Host`` must be an address, or a name
  that is known.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass

ADMIN_HEADER = "X-Netchat-Admin"
"""A change is a POST with this header, whose value is 1. A page of elsewhere may send neither this
header nor a request that changes anything without it."""

OPEN_PATHS = frozenset({"/", "/dashboard.css", "/dashboard.js", "/icon.svg"})
"""The files of the dashboard. They contain nothing of this server, so they need no token."""

PROBES = frozenset({"/healthz", "/readyz"})
"""For load balancers, which often send no ``Host`` that anybody knows, and no token."""

_HOST = re.compile(r"(?:\[([0-9a-fA-F:.%]+)\]|([^\[\]:/@?#\s]+))(?::(\d{1,5}))?\Z")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered.

    :ivar status: of HTTP.
    :ivar text: one sentence.
    """

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What of a request decides.

    :ivar hosts: the values of ``Host``.
    :ivar is_local: whether it came over loopback or a Unix socket.
    """

    method: str
    path: str
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    fetch_site: str = ""
    admin: str = ""
    authorization: str = ""
    is_local: bool = True


def find_refusal(
    facts: RequestFacts, *, token: bytes | None, names: Collection[str] = ()
) -> Refusal | None:
    """Return why a request is refused; None if it is answered.

    :param token: who asks must know it; None if there is none.
    :param names: further names of this server that ``Host`` may have.
    """
    if facts.path in PROBES:
        return None
    if len(facts.hosts) != 1:
        return Refusal(400, "A request has one Host.")
    host = _HOST.match(facts.hosts[0])
    if host is None or not _is_known(host[1] or host[2], names):
        return Refusal(403, "This is no name of the server; see --admin-host.")
    if facts.path in OPEN_PATHS:
        return None
    if _is_foreign(facts):
        return Refusal(403, "A page of elsewhere may not ask this.")
    if token is None and not facts.is_local:
        return Refusal(403, "Without a token, only this machine may ask.")
    if token is not None and not _knows(facts.authorization, token):
        return Refusal(401, "A token is needed: Authorization: Bearer TOKEN.")
    if facts.method == "POST" and facts.admin != "1":
        return Refusal(403, f"A change needs the header {ADMIN_HEADER}: 1.")
    return None


def _is_known(host: str, names: Collection[str]) -> bool:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost") or name in names:
        return True
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True  # nobody's name points here: there is none


def _is_foreign(facts: RequestFacts) -> bool:
    if facts.fetch_site not in ("", "same-origin", "none"):
        return True
    own = {f"{scheme}://{facts.hosts[0].lower()}" for scheme in ("http", "https")}
    return any(origin.lower() not in own for origin in facts.origins)


def _knows(authorization: str, token: bytes) -> bool:
    scheme, _, given = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token)
