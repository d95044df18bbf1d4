"""Move the connections of a factory in memory to another factory, as an upgrade does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from twisted_net.connection.factory import ConnectionFactory
from twisted_net.testing import Peer
from twisted_net.upgrade.frames import StateEncoder, decode_state


def copied(state: Any) -> Any:
    """Return a state as it arrives in another process."""
    encoder = StateEncoder()
    data = encoder.encode(state)
    return decode_state(data, b"".join(encoder.behind))


@contextmanager
def movable() -> Iterator[None]:
    """Let transports in memory count as such that can be moved."""
    with patch("twisted_net.connection.connection.can_move", lambda transport: True):
        yield


def _release(transport: Peer) -> None:
    """Let the old process forget a transport, which the new one goes on with."""
    transport.producer = None


def move_all(peers: Iterable[Peer], old: ConnectionFactory, new: ConnectionFactory) -> list[str]:
    """Let a new factory go on with the connections of an old one.

    :return: why connections have stayed, which are aborted.
    """
    by_connection = {peer.protocol: peer for peer in peers}
    adopted = []
    with movable():
        moving = old.moving()
        stays = [each.why_it_stays() for each in old.connections.values() if each not in moving]
        new.restore_state(copied(old.export_state(moving)))
        states = [copied(each.export_state()) for each in moving]
    for before, state in zip(moving, states, strict=True):
        peer = by_connection[before]
        with patch("twisted_net.connection.connection.release", _release):
            old.give_up(before)
        after = new.make_moved(peer.getPeer(), state)
        peer.protocol = after
        new.adopt(after, peer, state)
        adopted.append(after)
    new.all_adopted()
    for each in adopted:
        each.resume_after_move()
    old.abort()
    return stays
