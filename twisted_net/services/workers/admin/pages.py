"""Makes one list of the lists of several workers. Pure.

A connection of a worker has a number there, from 1 on. Among all workers its number is that times
their count, plus the worker's own number less 1: so numbers are different, and those of later
connections are larger, as without workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def number_of(worker: int, number: int, count: int) -> int:
    """Return the number among all workers of a worker's connection."""
    return number * count + worker - 1


def place_of(number: int, count: int) -> tuple[int, int]:
    """Return the worker, and the number there, of a connection."""
    return number % count + 1, number // count


def with_worker(row: Row, worker: int, count: int) -> Row:
    """Return a row about a worker's connection as one about a connection of all."""
    own = row["id"]
    return {**row, "id": number_of(worker, own, count), "worker": worker, "worker_id": own}


def after_in(after: str, worker: int, count: int) -> str:
    """Return where a page begins in one worker's list, if this is where it begins in all lists."""
    figure, colon, number = after.rpartition(":")
    own = (int(number) - (worker - 1)) // count
    return f"{figure}{colon}{max(0, own)}"  # before the first one, it is below 0


def merge_pages(
    answers: Mapping[int, dict[str, Any]], sort: str, limit: int, count: int
) -> dict[str, Any]:
    """Return one page of the same page of each worker.

    :param answers: by worker.
    :param sort: the figure by which they are sorted; ``id`` is the number.
    """
    rows = [
        with_worker(row, worker, count)
        for worker, answer in answers.items()
        for row in answer["connections"]
    ]
    by_number = sort == "id"
    rows.sort(key=lambda row: (0 if by_number else -row[sort], row["id"]))
    total = sum(answer["total"] for answer in answers.values())
    is_more = len(rows) > limit or any(answer["next"] for answer in answers.values())
    rows = rows[:limit]
    after = None
    if is_more and rows:
        last = rows[-1]
        after = str(last["id"]) if by_number else f"{last[sort]}:{last['id']}"
    return {"connections": rows, "total": total, "next": after}


def merge_rooms(rows: Sequence[Row], limit: int, after: tuple[int, str] | None) -> dict[str, Any]:
    """Return a page of the rooms of all workers, those with most members first.

    :param rows: all rooms of all workers.
    :param after: the members and the name of the last room of the page before.
    """
    rooms: dict[str, Row] = {}
    for row in rows:
        room = rooms.setdefault(row["name"], {**row, "members": 0})
        room["members"] += row["members"]
        room["topic"] = room["topic"] or row["topic"]
    found = sorted(rooms.values(), key=lambda row: (-row["members"], row["name"]))
    if after is not None:
        place = (-after[0], after[1])
        found = [row for row in found if (-row["members"], row["name"]) > place]
    page = found[:limit]
    more = f"{page[-1]['members']}:{page[-1]['name']}" if len(found) > limit else None
    return {"rooms": page, "total": len(rooms), "next": more}


def merge_ended(
    answers: Mapping[int, dict[str, Any]], most: int, count: int
) -> dict[str, list[Row]]:
    """Return the last connections of all workers that have ended, the newest first."""
    rows = [
        with_worker(row, worker, count)
        for worker, answer in answers.items()
        for row in answer["ended"]
    ]
    return {"ended": sorted(rows, key=lambda row: -row["time"])[:most]}


def merge_bans(answers: Sequence[dict[str, Any]]) -> dict[str, list[Row]]:
    """Return what is banned on any worker, once."""
    bans: dict[str, Row] = {}
    for answer in answers:
        for row in answer["bans"]:
            bans.setdefault(row["target"], row)
    return {"bans": list(bans.values())}
