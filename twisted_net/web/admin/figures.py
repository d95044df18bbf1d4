"""Reads the numbers of a service when somebody asks, from what its factory keeps anyway."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from twisted_net.connection.connection import Connection, State
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.web.admin.views import ServiceView

STATES = (State.HANDSHAKING, State.OPEN, State.CLOSING, State.DRAINING_INPUT)
"""The states of connections that a factory has."""

_IN_FILE = re.compile(r".*, line \d+: (.*)", re.DOTALL)

_state_of: Callable[[Connection], State] = attrgetter("state")
_form_of: Callable[[Connection], str] = attrgetter("form")


@dataclass(frozen=True, slots=True)
class Traffic:
    """What has been received and sent by open and ended connections together."""

    bytes_received: int
    bytes_sent: int
    messages_received: int
    messages_sent: int


def read_traffic(view: ServiceView) -> Traffic:
    """Add up a service's traffic."""
    endings, connections = view.endings, view.factory.connections.values()
    return Traffic(
        *(
            getattr(endings, name) + _sum(name, connections)
            for name in ("bytes_received", "bytes_sent", "messages_received", "messages_sent")
        )
    )


def _sum(name: str, connections: Iterable[Connection]) -> int:
    return sum(map(attrgetter(name), connections))


def count_connections(connections: Iterable[Connection]) -> Mapping[tuple[str, str], int]:
    """Count connections by form and state."""
    found = list(connections)
    states = list(map(_state_of, found))
    counts = Counter(
        {(form, "open"): count for form, count in Counter(map(_form_of, found)).items()}
    )
    if states.count(State.OPEN) < len(states):  # counting pairs takes much longer
        for connection, state in zip(found, states, strict=True):
            if state is not State.OPEN:
                counts[connection.form, "open"] -= 1
                counts[connection.form, state.name.lower()] += 1
    return counts


def queued_bytes(factory: ConnectionFactory) -> int:
    """Return the bytes that wait for slow peers. Only those whose transports are full have any."""
    return sum(connection.queued for connection in factory.full)


def dropped_messages(factory: ConnectionFactory) -> int:
    """Return the messages that the overflow policy has dropped."""
    return factory.dropped + sum(connection.missed for connection in factory.full)


def accepted_by_listener(view: ServiceView) -> dict[str, int]:
    """Return how many connections each listener has accepted, as its port counts them."""
    ports: Mapping[str, Any] = view.service.ports_by_label
    found = {label: getattr(port, "sessionno", None) for label, port in ports.items()}
    return {flag_of(label): count for label, count in found.items() if isinstance(count, int)}


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
        certificates = listener.certificates
        if certificates is not None and certificates.pairs:
            expires = min(pair.expires for pair in certificates.pairs.values())
            found[flag_of(listener.label)] = expires.timestamp()
    return found
