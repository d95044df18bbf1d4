"""Pages of connections: which, in what order, and where the next page begins."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Any, TypeAlias

from twisted_net.connection.addresses import format_address
from twisted_net.connection.connection import Connection
from twisted_net.connection.lanes import bytes_sent_to, messages_sent_to
from twisted_net.web.admin.endings import Ended, tls_version
from twisted_net.web.admin.slices import Slices
from twisted_net.web.admin.views import ServiceView
from twisted_net.wire.text import printable

USUAL_LIMIT, MOST = 100, 1000

_Figures: TypeAlias = Callable[[Sequence[Connection]], list[int]]


def _attribute(name: str) -> _Figures:
    read = attrgetter(name)
    return lambda connections: list(map(read, connections))


SORTS: dict[str, _Figures | None] = {
    "id": None,
    "queued": _attribute("queued"),
    "bytes_received": _attribute("bytes_received"),
    "bytes_sent": bytes_sent_to,
    "messages_received": _attribute("messages_received"),
    "messages_sent": messages_sent_to,
}
"""The orders of a page: by number, the oldest first, or by a figure, the largest first."""

_id: Callable[[Connection], int] = attrgetter("id")


@dataclass(frozen=True, slots=True)
class Query:
    """Which connections are wanted.

    :ivar room: only those in this room; empty for all.
    :ivar sort: one of :data:`SORTS`.
    :ivar after: where the page before ended: its figure and its number; None for the first page.
    """

    room: str = ""
    sort: str = "id"
    limit: int = USUAL_LIMIT
    after: tuple[int, int] | None = None


def parse_query(arguments: dict[str, str]) -> Query:
    """Return the query of a request's arguments.

    :raises ValueError: one of them is wrong; the text names it.
    """
    _check_names(arguments, "room", "sort", "limit", "after")
    sort = arguments.get("sort", "id")
    if sort not in SORTS:
        raise ValueError(f"sort: must be one of {', '.join(SORTS)}, not {sort!r}")
    after = None
    if "after" in arguments:
        figure, _, number = arguments["after"].rpartition(":")
        after = (_whole("after", figure or "0"), _whole("after", number))
    return Query(arguments.get("room", ""), sort, _limit(arguments), after)


def parse_room_query(arguments: dict[str, str]) -> tuple[int, tuple[int, str] | None]:
    """Return how many rooms are wanted, and the members and the name of the last one before.

    :raises ValueError: one of the arguments is wrong; the text names it.
    """
    _check_names(arguments, "limit", "after")
    after = None
    if "after" in arguments:
        members, _, name = arguments["after"].partition(":")
        after = (_whole("after", members), name)
    return _limit(arguments), after


def _check_names(arguments: dict[str, str], *known: str) -> None:
    for name in arguments:
        if name != "service" and name not in known:
            names = ", ".join(("service", *known))
            raise ValueError(f"{printable(name)[:40]}: is unknown here; there are {names}")


def _limit(arguments: dict[str, str]) -> int:
    limit = _whole("limit", arguments.get("limit", str(USUAL_LIMIT)))
    if not 1 <= limit <= MOST:
        raise ValueError(f"limit: must be from 1 to {MOST}, not {limit}")
    return limit


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(f"{name}: must be a whole number, not {text[:40]!r}")
    return int(text)


async def list_connections(
    view: ServiceView, query: Query
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of a service's connections, and where the next page begins, if there is one."""
    slices = Slices(view.factory.clock)
    connections = await _members(view, query.room, slices) if query.room else view.connections()
    read = SORTS[query.sort]
    if read is None:
        start = 0 if query.after is None else bisect_right(connections, query.after[1], key=_id)
        found: Sequence[Connection] = connections[start : start + query.limit + 1]
    else:
        found = await _largest(slices, connections, query, read)
    rows = [connection_row(view, each) for each in found[: query.limit]]
    if len(found) <= query.limit:
        return rows, None
    last = found[query.limit - 1]
    return rows, f"{last.id}" if read is None else f"{read([last])[0]}:{last.id}"


async def _members(view: ServiceView, room: str, slices: Slices) -> list[Connection]:
    """Return the connections in a room, by their numbers."""
    found: list[Connection] = []
    async for part in slices.of(view.members(room)):
        found += sorted(part, key=_id)
        found.sort(key=_id)  # two sorted parts are merged
    return found


async def _largest(
    slices: Slices,
    connections: Sequence[Connection],
    query: Query,
    read: _Figures,
) -> list[Connection]:
    """Return the connections of a page, and one more if there is one.

    :param connections: of those with the same figure, the one with the lower number comes first.
    """
    wanted, least = query.limit + 1, -1
    found: list[Connection] = []
    values: list[int] = []
    async for part in slices.of(connections):
        figures = read(part)
        if max(figures) <= least:
            continue
        places = _first_places(part, figures, query, least)
        found = [*found, *(part[place] for place in places)]
        values = [*values, *(figures[place] for place in places)]
        order = sorted(range(len(found)), key=values.__getitem__, reverse=True)[:wanted]
        found, values = [found[place] for place in order], [values[place] for place in order]
        if len(found) == wanted:
            least = values[-1]
    return found


def _first_places(
    part: Sequence[Connection], figures: Sequence[int], query: Query, least: int
) -> list[int]:
    """Return the places of all that may be on the page, and of few others.

    :param least: they have more than this.
    """
    if query.after is None:
        candidates: Sequence[int] = figures
        places: Sequence[int] = range(len(figures))
    else:
        most, number = query.after
        places = [
            place
            for place, value in enumerate(figures)
            if least < value < most or (least < value == most and part[place].id > number)
        ]
        candidates = [figures[place] for place in places]
    if len(candidates) > query.limit:
        # Sorting numbers is faster than sorting connections, of which only a few are needed.
        enough = sorted(candidates, reverse=True)[query.limit]
    else:
        enough = least
    bound = max(least, enough)
    above = [place for place, value in zip(places, candidates, strict=True) if value > bound]
    if bound == least:
        return above
    equal = (place for place, value in zip(places, candidates, strict=True) if value == bound)
    return sorted([*above, *islice(equal, query.limit + 1 - len(above))])


async def list_rooms(
    view: ServiceView, limit: int, after: tuple[int, str] | None
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of the rooms, those with most members first, and where the next page begins.

    :param after: the members and the name of the last room of the page before.
    """
    place = None if after is None else (-after[0], after[1])
    found: list[tuple[int, str, str]] = []
    async for part in Slices(view.factory.clock).of(view.rooms()):
        rooms = [(-len(room.users), room.name, room.topic) for room in part]
        found += [room for room in rooms if place is None or room[:2] > place]
        found = sorted(found)[: limit + 1]
    rows = [
        {"name": name, "topic": topic, "members": -members}
        for members, name, topic in found[:limit]
    ]
    return rows, f"{rows[-1]['members']}:{rows[-1]['name']}" if len(found) > limit else None


def connection_row(view: ServiceView, connection: Connection) -> dict[str, Any]:
    """Return what a page shows of a connection."""
    return {
        "id": connection.id,
        "service": view.name,
        "peer": format_address(connection.peer),
        **view.describe(connection),
        "form": connection.form,
        "state": connection.state.name.lower(),
        "seconds": round(connection.factory.age(connection.id), 1),
        "bytes_received": connection.bytes_received,
        "bytes_sent": connection.bytes_sent,
        "messages_received": connection.messages_received,
        "messages_sent": connection.messages_sent,
        "queued": connection.queued,
    }


def connection_details(view: ServiceView, connection: Connection) -> dict[str, Any]:
    """Return all that is known about a connection."""
    reason = connection.reason
    return connection_row(view, connection) | {
        "host": format_address(connection.host),
        "tls": tls_version(connection.transport),
        "unsent": connection.write_buffer_size,
        "missed": connection.missed,
        "is_full": connection.is_full,
        "is_paused": connection.is_paused,
        "idle_timeout": connection.factory.limits.idle_timeout
        if connection.idle_timeout is None
        else connection.idle_timeout,
        "closing": None if reason is None else reason.code,
    }


def ended_row(view: ServiceView, ended: Ended) -> dict[str, Any]:
    """Return what is shown of a connection that has ended."""
    return {
        "id": ended.id,
        "service": view.name,
        "peer": format_address(ended.peer),
        "name": ended.name,
        "form": ended.form,
        "reason": ended.reason,
        "detail": ended.detail,
        "time": ended.at,
        "seconds": round(ended.seconds, 1),  # as in the log
        "bytes_received": ended.bytes_received,
        "bytes_sent": ended.bytes_sent,
        "messages_received": ended.messages_received,
        "messages_sent": ended.messages_sent,
    }
