"""Tests of ``python -m benchmarks simulate``, and of the page that shows what it prints."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import fields, replace
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import cli, simulate
from benchmarks.simulation import (
    Costs,
    Outage,
    Storm,
    arrivals,
    comeback,
    outage,
    percentile,
    room,
    sums,
)
from twisted_net.policy.backoff import Backoff
from twisted_net.policy.coalescing import LONGEST_DELAY

COSTS = Costs()

PAGE = Path(__file__).resolve().parent.parent / "docs" / "scaling.rst"


class RoomTests(SynchronousTestCase):
    """One of the processes that share a room."""

    def test_few_messages(self) -> None:
        """Each message is a round of its own: known sums."""
        found = room(COSTS, 10_000, 10, 1.0, 600.0, 1)
        each = (COSTS.message + 1000 * COSTS.delivery) / 1e6
        self.assertEqual(found.members, 1000)
        self.assertApproximates(found.longest_round, each, 0.001)
        self.assertApproximates(found.busy, each, each / 5)
        self.assertApproximates(found.p50, each / 2, each / 4)
        self.assertLess(found.p99, 2.5 * each + LONGEST_DELAY)

    def test_more_processes_are_faster(self) -> None:
        """Twice the processes need half the time, for each of them."""
        found = [room(COSTS, 100_000, processes, 5.0, 60.0, 1) for processes in (10, 20, 40)]
        for more, fewer in zip(found[1:], found, strict=False):
            self.assertLess(more.p99, 0.7 * fewer.p99)
            self.assertLess(more.busy, 0.7 * fewer.busy)

    def test_too_many_messages(self) -> None:
        """A core that is not enough is busy all the time, and its queue grows with the time."""
        short, long = (room(COSTS, 100_000, 1, 500.0, seconds, 1) for seconds in (10.0, 40.0))
        self.assertGreater(short.busy, 0.99)
        self.assertGreater(long.p99, 2 * short.p99)
        self.assertLessEqual(long.busy, 1.0)

    def test_rounds_have_several_messages(self) -> None:
        """What a busy room pays for a message falls: rounds carry more of them."""
        slow, fast = (room(COSTS, 20_000, 10, rate, 60.0, 1) for rate in (10.0, 200.0))
        self.assertLess(fast.busy, 10 * slow.busy)
        self.assertGreater(fast.queue, 5)


class ComebackTests(SynchronousTestCase):
    """Clients that come back."""

    storm = Storm(clients=8000, processes=8, sample=1)

    def test_all_come_back(self) -> None:
        """Nobody is lost, whatever is against them; the tries are those that worked and others."""
        for storm in (
            self.storm,
            replace(self.storm, backlog=5),
            replace(self.storm, patience=0.3),
            replace(self.storm, jitter=False, tls=False),
            replace(self.storm, notice=(45.0, 90.0)),
        ):
            rows = comeback(COSTS, storm, 1)
            self.assertEqual(rows[-1].back, 1.0, storm)
            tries, dropped = sum(row.tries for row in rows), sum(row.dropped for row in rows)
            self.assertEqual(tries - dropped, storm.clients, storm)

    def test_it_takes_what_the_work_takes(self) -> None:
        """The cores that are left are a lower bound, and the shares of CPU add up to it."""
        storm = replace(self.storm, backlog=100_000, notice=(0.0, 1.0), load=0.5)
        rows = comeback(COSTS, storm, 1)
        work = storm.clients * (COSTS.join + COSTS.handshake) / 1e6
        self.assertGreaterEqual(rows[-1].until * storm.processes * (1 - storm.load), work)
        used, before = 0.0, 0.0
        for row in rows:
            used += (row.busy - storm.load) * (row.until - before) * storm.processes
            before = row.until
        self.assertApproximates(used, work, work / 1000)

    def test_a_machine_without_power(self) -> None:
        """Nobody tries before heartbeats have told."""
        for row in comeback(COSTS, replace(self.storm, notice=(45.0, 90.0)), 1):
            self.assertEqual(row.tries == 0, row.until <= 30 or row.until > 120, row)

    def test_a_short_backlog(self) -> None:
        """It makes a storm long, without TLS less so."""
        last = {
            (backlog, tls): comeback(COSTS, replace(self.storm, backlog=backlog, tls=tls), 1)[-1]
            for backlog in (20, 1024)
            for tls in (True, False)
        }
        self.assertGreater(last[20, True].until, 5 * last[1024, True].until)
        self.assertLessEqual(last[20, False].until, last[20, True].until)

    def test_jitter(self) -> None:
        """Without it, more attempts fail."""
        failed = [
            sum(row.dropped for row in comeback(COSTS, replace(self.storm, jitter=jitter), 1))
            for jitter in (True, False)
        ]
        self.assertGreater(failed[1], 1.5 * failed[0])

    def test_a_part_stands_for_all(self) -> None:
        """An eighth is simulated, and means the same."""
        storm = replace(self.storm, clients=40_000, processes=40)
        whole, part = (comeback(COSTS, replace(storm, sample=each), 1) for each in (1, 8))
        self.assertEqual([row.until for row in whole], [row.until for row in part])
        for one, other in zip(whole, part, strict=True):
            self.assertApproximates(one.back, other.back, 0.03)
            self.assertApproximates(one.busy, other.busy, 0.03)


class OutageTests(SynchronousTestCase):
    """Redis is away."""

    case = Outage(rate=100.0, processes=10)

    def test_nothing_is_lost(self) -> None:
        """Every message is acknowledged, once, and nothing while Redis is away."""
        rows = outage(COSTS, self.case, 1)
        for row in rows[1:5]:
            self.assertEqual((row.stored, row.redis), (0, 0.0))
            self.assertGreaterEqual(row.refused, row.sent)
        waiting = 0
        for row in rows:
            waiting += row.sent - row.stored
            self.assertEqual(row.waiting, waiting)
        self.assertLess(rows[-1].waiting, 3)

    def test_before_it(self) -> None:
        """Redis does what it is asked: the known sum."""
        row = outage(COSTS, self.case, 1)[0]
        append = COSTS.append + COSTS.subscriber * self.case.processes
        self.assertApproximates(row.redis, self.case.rate * append / 1e6, 0.001)
        self.assertLess(row.p99, 0.001)

    def test_a_longer_one(self) -> None:
        """Messages wait as long as it takes, and for the delays of their senders."""
        for away in (10.0, 20.0):
            rows = outage(COSTS, replace(self.case, away=away), 1)
            longest = max(row.p99 for row in rows)
            self.assertGreater(longest, away * 0.9)
            self.assertLess(longest, away + 2 * Backoff().longest)

    def test_rooms_to_subscribe_to(self) -> None:
        """They come before messages: with many, Redis is busy for a while."""
        few, many = (
            outage(COSTS, replace(self.case, rooms=rooms), 1)[5].redis for rooms in (10, 9000)
        )
        self.assertLess(few, 0.05)
        self.assertGreater(many, 0.3)


class SumTests(SynchronousTestCase):
    def test_known_sums(self) -> None:
        costs = replace(COSTS, memory=2000.0, kernel=3000.0, tls_memory=20_000.0, delivery=10.0)
        found = {each.name: each.each for each in sums(costs, 1000, 10, 4, 50.0, 200)}
        self.assertEqual((found["connections"], found["connections a process"]), (100, 25))
        self.assertApproximates(found["memory without TLS"], 0.0005, 1e-9)
        self.assertApproximates(found["memory with TLS"], 0.0025, 1e-9)
        self.assertEqual(found["deliveries a second"], 1000)
        self.assertApproximates(found["cores for deliveries"], 0.01, 1e-9)
        self.assertApproximates(found["heartbeats a second"], 100 / 45, 1e-9)

    def test_percentiles(self) -> None:
        values = list(range(1, 101))
        self.assertEqual([percentile(values, each) for each in (0.5, 0.99, 1.0)], [50, 99, 100])
        self.assertEqual((percentile([], 0.5), percentile([7], 0.99)), (0.0, 7))

    def test_arrivals(self) -> None:
        from random import Random

        found = list(arrivals(50.0, -10.0, 90.0, Random(1)))
        self.assertEqual(found, sorted(found))
        self.assertGreaterEqual(found[0], -10)
        self.assertLess(found[-1], 90)
        self.assertApproximates(len(found), 5000, 300)


class CommandTests(SynchronousTestCase):
    def run_main(self, *words: str) -> tuple[object, str, str]:
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                status: object = cli.main(["simulate", *words])
            except SystemExit as error:
                status = error.code
        return status, output.getvalue(), errors.getvalue()

    def test_the_same_seed(self) -> None:
        """It gives the same text, and another one gives another."""
        words = ("comeback", "--clients", "4000", "--processes", "16")
        first, again = self.run_main(*words), self.run_main(*words)
        self.assertEqual((first[0], first[1]), (0, again[1]))
        self.assertNotEqual(self.run_main(*words, "--seed", "2")[1], first[1])

    def test_costs_are_flags(self) -> None:
        for field in fields(Costs):
            self.assertEqual(field.default, getattr(COSTS, field.name))
            self.assertEqual(
                self.run_main("million", f"--{field.name.replace('_', '-')}", "3")[0], 0
            )
        self.assertIn(" 7.10 GB", self.run_main("million", "--memory", "65800")[1])

    def test_wrong_values(self) -> None:
        for words in (
            *(("nothing",), ("room", "--members", "1"), ("redis", "--rate", "0")),
            *(("room", "--delivery", "-1"), ("room", "--delivery", "x")),
        ):
            status, output, errors = self.run_main(*words)
            self.assertEqual((status, output), (2, ""), words)
            self.assertIn("error: ", errors.splitlines()[-1])


class PageTests(SynchronousTestCase):
    def test_it_shows_what_the_program_prints(self) -> None:
        """Each part stands in the page, word for word."""
        text = PAGE.read_text()
        blocks = re.findall(r"::\n\n((?:    .*\n|\n)+)", text)
        shown = {re.sub(r"^    ", "", each, flags=re.MULTILINE).strip() for each in blocks}
        for part in ("room", "comeback", "redis", "million"):
            printed = "\n".join(simulate.lines(part)).strip()
            self.assertIn(printed, shown, f"python -m benchmarks simulate {part}")
