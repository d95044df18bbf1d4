"""Reads the numbers of a service when somebody asks, from what its factory keeps anyway."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any

from twisted_net.connection.connection import Connection, State
from twisted_net.connection.lanes import bytes_sent_to, messages_sent_to
from twisted_net.endpoints.tls import endpoint_certificates
from twisted_net.web.admin.counters import Counters
from twisted_net.web.admin.slices import Slices
from twisted_net.web.admin.views import ServiceView

STATES = (State.HANDSHAKING, State.OPEN, State.CLOSING, State.DRAINING_INPUT)
"""The states of connections that a factory has."""

_IN_FILE = re.compile(r".*, line \d+: (.*)", re.DOTALL)

_state_of: Callable[[Connection], State] = attrgetter("state")
_form_of: Callable[[Connection], str] = attrgetter("form")
_bytes_received: Callable[[Connection], int] = attrgetter("bytes_received")
_messages_received: Callable[[Connection], int] = attrgetter("messages_received")


@dataclass(slots=True)
class ServiceFigures:
    """The numbers of one service. Traffic is that of open and ended connections together.

    :ivar connections: how many are open, by form and state.
    :ivar queued_bytes: what waits for slow peers.
    :ivar dropped_messages: what the overflow policy has dropped.
    """

    connections: Counter[tuple[str, str]]
    bytes_received: int
    bytes_sent: int
    messages_received: int
    messages_sent: int
    queued_bytes: int = 0
    dropped_messages: int = 0


async def read_figures(view: ServiceView) -> ServiceFigures:
    """Add up a service's numbers, in as many turns of the reactor as that takes.

    Connections may end meanwhile. The sums are those of the connections that were open in the
    beginning, and of all that had ended by then. So no sum is ever less than before.
    """
    slices, ended = Slices(view.factory.clock), _traffic_of_ended(view)
    figures = ServiceFigures(
        Counter(),
        *(ended["bytes_received"], ended["bytes_sent"]),
        *(ended["messages_received"], ended["messages_sent"]),
    )
    figures.dropped_messages = ended["dropped_messages"]
    full = [connection for each in view.factories for connection in each.full]
    async for part in slices.of([*chain(*(each.connections.values() for each in view.factories))]):
        count_connections(part, figures.connections)
        figures.bytes_received += sum(map(_bytes_received, part))
        figures.messages_received += sum(map(_messages_received, part))
        figures.bytes_sent += sum(bytes_sent_to(part))
        figures.messages_sent += sum(messages_sent_to(part))
    async for part in slices.of(full):  # only these have anything waiting
        for connection in part:
            figures.queued_bytes += connection.queued
            figures.dropped_messages += connection.missed
    return figures


def count_connections(connections: Sequence[Connection], counts: Counter[tuple[str, str]]) -> None:
    """Count connections by form and state. Those that have ended are in no state of these."""
    states = list(map(_state_of, connections))
    for form, count in Counter(map(_form_of, connections)).items():
        counts[form, "open"] += count
    if states.count(State.OPEN) < len(states):  # counting pairs takes much longer
        for connection, state in zip(connections, states, strict=True):
            if state is not State.OPEN:
                counts[connection.form, "open"] -= 1
                if state in STATES:
                    counts[connection.form, state.name.lower()] += 1


def _traffic_of_ended(view: ServiceView) -> Counter[str]:
    """Return the traffic of connections that have ended, those of earlier processes too."""
    endings = view.endings
    found = Counter(
        bytes_received=endings.bytes_received,
        bytes_sent=endings.bytes_sent,
        messages_received=endings.messages_received,
        messages_sent=endings.messages_sent,
        dropped_messages=sum(each.dropped for each in view.factories),
    )
    found.update(view.earlier.traffic)
    return found


def count_all(view: ServiceView) -> Counters:
    """Return all that a service has counted. It takes one turn, as an upgrade in place does."""
    connections = [*chain(*(each.connections.values() for each in view.factories))]
    traffic = _traffic_of_ended(view)
    traffic.update(
        bytes_received=sum(map(_bytes_received, connections)),
        bytes_sent=sum(bytes_sent_to(connections)),
        messages_received=sum(map(_messages_received, connections)),
        messages_sent=sum(messages_sent_to(connections)),
        dropped_messages=sum(full.missed for each in view.factories for full in each.full),
        compressed_bytes=view.factory.compressed_bytes,  # the earlier ones are there already
    )
    return Counters(
        Counter(accepted_by_listener(view)),
        ended_by_reason(view),
        handshakes_by_version(view),
        traffic,
    )


def open_to_end(view: ServiceView) -> int:
    """Return how many open connections will count as ended."""
    return sum(len(each) for each in view.factories if each.counts_ends)


def ended_by_reason(view: ServiceView) -> Counter[str]:
    """Return how many connections have ended for which reason."""
    found = view.earlier.endings.copy()
    for factory in view.factories:
        if factory.counts_ends:
            found.update(factory.endings)
    return found


def handshakes_by_version(view: ServiceView) -> Counter[str]:
    """Return how many TLS handshakes were completed, by version."""
    found = view.earlier.handshakes.copy()
    found.update(view.endings.handshakes)
    return found


def compressed_bytes(view: ServiceView) -> int:
    """Return the bytes of compressed WebSocket messages."""
    return view.factory.compressed_bytes + view.earlier.traffic["compressed_bytes"]


def accepted_by_listener(view: ServiceView) -> dict[str, int]:
    """Return how many connections each listener has accepted, as its port counts them."""
    ports: Mapping[str, Any] = view.service.ports_by_label
    found = view.earlier.accepted.copy()  # of listeners that are gone, too
    for label, port in ports.items():
        count = getattr(port, "sessionno", None)
        if isinstance(count, int):
            found[flag_of(label)] += count
    return dict(found)


def flag_of(label: str) -> str:
    """Return a listener's label as on a command line: a line of a file may move.

    ``chat.conf, line 3: port 8080`` is ``--port 8080``.
    """
    found = _IN_FILE.match(label)
    return label if found is None else f"--{found[1]}"


def certificate_expiries(view: ServiceView) -> dict[str, float]:
    """Return for each listener with TLS when the first of its certificates expires.

    :return: seconds since 1970, by the listener's label.
    """
    found = {}
    for listener in view.service.listeners:
        certificates = listener.certificates or endpoint_certificates(listener.endpoint)
        if certificates is not None and certificates.pairs:
            expires = min(pair.expires for pair in certificates.pairs.values())
            found[flag_of(listener.label)] = expires.timestamp()
    return found
