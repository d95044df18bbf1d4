"""Tests for what operators see of several workers: lists and sums."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.services.workers.admin.pages import (
    after_in,
    merge_bans,
    merge_ended,
    merge_pages,
    merge_rooms,
    number_of,
    place_of,
)
from twisted_net.services.workers.admin.sums import MetricSums


class PageTests(SynchronousTestCase):
    def test_numbers(self) -> None:
        """Each connection of each worker has a number of its own, and leads back."""
        numbers = [number_of(worker, each, 3) for each in range(1, 50) for worker in (1, 2, 3)]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual(place_of(number_of(2, 17, 3), 3), (2, 17))

    def pages(self, sort: str, limit: int) -> list[tuple[int, int]]:
        """Walk through all pages of two workers, as an operator does."""
        figures = {1: [5, 3, 3, 9], 2: [3, 8, 3]}
        found: list[tuple[int, int]] = []
        after = None
        while True:
            answers = {
                worker: self.page(sort, limit, worker, values, after)
                for worker, values in figures.items()
            }
            merged = merge_pages(answers, sort, limit, 2)
            self.assertEqual(merged["total"], 7)
            found += [(row["worker"], row["worker_id"]) for row in merged["connections"]]
            self.assertLessEqual(len(merged["connections"]), limit)
            after = merged["next"]
            if after is None:
                return found

    def page(
        self, sort: str, limit: int, worker: int, values: list[int], after: str | None
    ) -> dict[str, Any]:
        """Return a worker's page, as ``list_connections`` does."""
        rows = [{"id": each, "queued": value} for each, value in enumerate(values, 1)]
        rows.sort(key=lambda row: (0 if sort == "id" else -row[sort], row["id"]))
        if after is not None:
            figure, _, number = after_in(after, worker, 2).rpartition(":")
            least = (-int(figure or 0), int(number))
            rows = [row for row in rows if (0 if sort == "id" else -row[sort], row["id"]) > least]
        last = rows[:limit][-1] if rows else {}
        more = str(last["id"]) if len(rows) > limit else None
        return {"connections": rows[:limit], "total": len(values), "next": more}

    def test_every_connection_once(self) -> None:
        """By number and by a figure with equal values, in pages of any size."""
        for limit in range(1, 9):
            by_number = self.pages("id", limit)
            self.assertEqual(by_number, [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3), (2, 3), (1, 4)])
            by_figure = self.pages("queued", limit)
            self.assertEqual(by_figure, [(1, 4), (2, 2), (1, 1), (2, 1), (1, 2), (1, 3), (2, 3)])

    def test_a_place_before_the_first(self) -> None:
        """A page that begins there is the first one, of each worker."""
        for count in (1, 2, 5):
            for worker in range(1, count + 1):
                for number in range(3 * count):
                    own = int(after_in(str(number), worker, count))
                    self.assertGreaterEqual(own, 0)
                    self.assertGreater(number_of(worker, own + 1, count), number)
                    if own:
                        self.assertLessEqual(number_of(worker, own, count), number)
        self.assertEqual(after_in("99:0", 2, 2), "99:0")

    def test_rooms(self) -> None:
        """Members are added up."""
        rows = [
            {"name": "a", "topic": "", "members": 2},
            {"name": "b", "topic": "", "members": 3},
            {"name": "a", "topic": "t", "members": 2},
            {"name": "c", "topic": "", "members": 3},
        ]
        a, b, c = (
            {"name": "a", "topic": "t", "members": 4},
            {"name": "b", "topic": "", "members": 3},
            {"name": "c", "topic": "", "members": 3},
        )
        whole = {"rooms": [a, b, c], "total": 3, "next": None}
        self.assertEqual(merge_rooms(rows, 3, None), whole)
        self.assertEqual(merge_rooms(rows, 2, None), whole | {"rooms": [a, b], "next": "3:b"})
        self.assertEqual(merge_rooms(rows, 2, (3, "b")), whole | {"rooms": [c]})

    def test_ended(self) -> None:
        """The newest come first, no more than wanted."""
        answers = {
            1: {"ended": [{"id": 2, "time": 5.0}, {"id": 1, "time": 1.0}]},
            2: {"ended": [{"id": 1, "time": 3.0}]},
        }
        rows = merge_ended(answers, 2, 2)["ended"]
        self.assertEqual([(row["worker"], row["worker_id"]) for row in rows], [(1, 2), (2, 1)])

    def test_bans(self) -> None:
        """What all workers ban is shown once."""
        rows = [{"bans": [{"target": "a"}]}, {"bans": [{"target": "a"}, {"target": "b"}]}]
        self.assertEqual(merge_bans(rows), {"bans": [{"target": "a"}, {"target": "b"}]})


def family(name: str, kind: str, *samples: list[Any]) -> dict[str, Any]:
    return {"name": name, "help": "", "type": kind, "samples": list(samples)}


class SumTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sums = MetricSums()

    def values(self) -> dict[str, float]:
        return {sample[0]: sample[2] for each in self.sums.totals() for sample in each["samples"]}

    def test_sums(self) -> None:
        """Samples with the same labels are added up; others stand beside each other."""
        for worker, label in ((1, "x"), (2, "x"), (3, "y")):
            self.sums.add(worker, [family("n", "gauge", ["n", {"l": label}, 2.0])])
        (total,) = self.sums.totals()
        self.assertEqual(total["samples"], [["n", {"l": "x"}, 4.0], ["n", {"l": "y"}, 2.0]])

    def test_counters_do_not_fall(self) -> None:
        """What a worker has counted stays when it ends; its gauges go."""
        for worker in (1, 2):
            self.sums.add(
                worker,
                [family("c", "counter", ["c_total", {}, 5]), family("g", "gauge", ["g", {}, 5])],
            )
        self.assertEqual(self.values(), {"c_total": 10, "g": 10})
        self.sums.end(1)
        self.assertEqual(self.values(), {"c_total": 10, "g": 5})
        self.sums.add(3, [family("c", "counter", ["c_total", {}, 1])])
        self.sums.end(3)
        self.sums.end(4)  # one that was never asked
        self.assertEqual(self.values(), {"c_total": 11, "g": 5})

    def test_open_connections_end(self) -> None:
        """Those that a process had count as ended with it, so as many end as were accepted."""
        opened, ended = "twisted_net_connections", "twisted_net_connections_ended"
        for worker in (1, 2):
            states = [
                [opened, {"service": "s", "form": "text", "state": "open"}, 3],
                [opened, {"service": "s", "form": "json", "state": "closing"}, 1],
            ]
            ends = [
                [f"{ended}_total", {"service": "s", "reason": reason}, count]
                for reason, count in (("quit", 5), ("failed", 1))
            ]
            self.sums.add(
                worker, [family(opened, "gauge", *states), family(ended, "counter", *ends)]
            )
        self.sums.end(1, "failed")
        self.sums.end(3, "failed")  # one that was never asked
        self.sums.add(4, [family("c", "counter", ["c_total", {}, 5])])
        self.sums.end(4, "failed")  # it has told nothing of connections
        found = {
            sample[1].get("reason", sample[1].get("state")): sample[2]
            for each in self.sums.totals()
            for sample in each["samples"]
        }
        self.assertEqual(
            found, {"open": 3, "closing": 1, "quit": 10, "failed": 1 + 1 + 3 + 1, None: 5}
        )

    def test_the_last_value_counts(self) -> None:
        """A worker that was asked twice counts once."""
        for value in (1, 7):
            self.sums.add(1, [family("c", "counter", ["c_total", {}, value])])
        self.assertEqual(self.values(), {"c_total": 7})

    def test_what_is_no_sum(self) -> None:
        """The first certificate that expires, and what is 1 or 0."""
        expiry, ready = "twisted_net_certificate_expiry_timestamp_seconds", "twisted_net_ready"
        for worker, at in ((1, 30), (2, 20)):
            self.sums.add(
                worker,
                [family(expiry, "gauge", [expiry, {}, at]), family(ready, "gauge", [ready, {}, 1])],
            )
        self.assertEqual(self.values(), {expiry: 20, ready: 1})
