"""The benchmarks' own calculations: cases, ratios, verdicts, tables and images."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import xml.etree.ElementTree as ElementTree

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import admin
from benchmarks.cases import EVERYTHING, FIGURES, QUICK, WORKS, Case, Choice, chosen
from benchmarks.goals import GOALS, goal_cases, goal_peers, judge
from benchmarks.measure import Sample
from benchmarks.objects import Census, report
from benchmarks.plot import bars, lines
from benchmarks.report import as_json, base_of, table
from benchmarks.rounds import Result


def result(case: Case, **cpu: list[float | None]) -> Result:
    """Return a result with one sample per value. None is a run that failed."""
    made = Result(case)
    for name, values in cpu.items():
        made.samples[name] = [
            None if value is None else Sample({"cpu_us": value, "p99_ms": value * 2})
            for value in values
        ]
    return made


class CaseTests(SynchronousTestCase):
    def test_every_work_has_a_case_and_known_figures(self) -> None:
        self.assertEqual({case.work for case in EVERYTHING}, set(WORKS))
        for work in WORKS.values():
            self.assertLessEqual({*work.columns, *work.ratios}, set(FIGURES))

    def test_nothing_chosen_gives_the_defaults(self) -> None:
        self.assertEqual(chosen("all", False, Choice()), list(EVERYTHING))
        self.assertEqual(chosen("all", True, Choice()), list(QUICK))

    def test_several_values_give_every_combination(self) -> None:
        cases = chosen("broadcast", False, Choice(members=[50, 500], rate=[10, 200]))
        self.assertEqual(
            [(c.members, c.rate) for c in cases], [(50, 10), (50, 200), (500, 10), (500, 200)]
        )

    def test_what_nobody_could_deliver_is_left_out(self) -> None:
        self.assertEqual(chosen("broadcast", False, Choice(members=[10_000], rate=[4000])), [])

    def test_the_cases_of_the_goals_come_once(self) -> None:
        cases = goal_cases()
        self.assertEqual(len(cases), len(set(cases)))

    def test_the_peers_of_a_goal(self) -> None:
        """Every goal finds the figures that it needs, and no program is measured without need."""
        for goal in GOALS:
            self.assertLessEqual({goal.who, goal.than or goal.who}, goal_peers(goal.case))
        named = {name for goal in GOALS for name in (goal.who, goal.than)}
        for case in goal_cases():
            self.assertIn("ours", goal_peers(case))
            self.assertLessEqual(goal_peers(case), named)
        self.assertEqual(goal_peers(GOALS[0].case), {"ours", "c", "node"})


class RatioTests(SynchronousTestCase):
    def test_ratios_are_taken_within_a_round(self) -> None:
        ratio = result(Case("echo"), ours=[1.0, 20.0, 3.0], node=[2.0, 20.0, 4.0]).ratio(
            "ours", "node", "cpu_us"
        )
        assert ratio
        self.assertEqual((ratio.median, ratio.least, ratio.most), (0.75, 0.5, 1.0))

    def test_a_round_that_failed_counts_for_neither(self) -> None:
        made = result(Case("echo"), ours=[1.0, None, 3.0], node=[2.0, 20.0, None])
        ratio = made.ratio("ours", "node", "cpu_us")
        assert ratio
        self.assertEqual((ratio.least, ratio.most), (0.5, 0.5))

    def test_ours_is_the_base_unless_it_has_no_figures(self) -> None:
        self.assertEqual(base_of(result(Case("echo"), node=[1.0], ours=[2.0])), "ours")
        self.assertEqual(base_of(result(Case("echo"), ours=[None], node=[1.0])), "node")
        self.assertIsNone(base_of(result(Case("echo"))))


class GoalTests(SynchronousTestCase):
    def test_a_goal_without_figures_is_not_judged(self) -> None:
        self.assertEqual(judge([]), [])
        self.assertEqual(judge([result(GOALS[0].case, ours=[1.0])]), [])

    def test_a_bound_that_is_kept_is_reached(self) -> None:
        verdict, other = judge([result(GOALS[0].case, ours=[1.1], c=[1.0], node=[1.2])])
        self.assertTrue(verdict.reached)  # 1.1 <= 1.15 x c
        self.assertFalse(other.reached)  # 0.92 > 0.80 x node


class ShowingTests(SynchronousTestCase):
    def test_the_table_has_a_line_a_server_and_a_note_a_fault(self) -> None:
        made = result(Case("echo", 100), ours=[1.0, 2.0], node=[2.0, 4.0], uvloop=[None, None])
        made.note("uvloop", "failed: it was not there")
        text = table(made)
        self.assertIn("0.50 (0.50-0.50)", text)
        self.assertIn("uvloop: failed: it was not there", text)

    def test_the_pictures_are_xml_and_name_the_servers(self) -> None:
        group = [
            result(Case("broadcast", 500, r), ours=[r / 10], node=[r / 5]) for r in (10, 200, 1000)
        ]
        for picture in (bars(group[0], "cpu_us"), lines(group, "p99_ms")):
            ElementTree.fromstring(picture)
            self.assertIn("twisted_net", picture)
            self.assertIn("Node", picture)

    def test_the_json_has_every_sample(self) -> None:
        made = json.loads(as_json([result(Case("echo"), ours=[1.0, None])], {"rounds": 2}))
        self.assertEqual(made["results"][0]["samples"]["ours"][0]["figures"]["cpu_us"], 1.0)
        self.assertIsNone(made["results"][0]["samples"]["ours"][1])


class ObjectsTests(SynchronousTestCase):
    def test_a_census(self) -> None:
        """A census counts new objects by type and connection, and ignores those from before."""

        class Thing:
            def __init__(self, number: int) -> None:
                self.text = f"thing {number}"

        before = [Thing(number) for number in range(100)]
        census = Census()
        after = [(Thing(number), bytearray(100)) for number in range(200)]
        count = census.take(100)
        self.assertEqual((len(before), len(after)), (100, 200))
        thing = Thing.__qualname__
        self.assertEqual([count.objects[name] for name in (thing, "bytearray")], [2, 2])
        self.assertGreaterEqual(count.objects["str"], 2)
        self.assertAlmostEqual(count.sizes["bytearray"], 2 * sys.getsizeof(after[0][1]))
        self.assertGreater(count.python, count.sizes["bytearray"])
        self.assertIn(thing, report(count))


class OperatorTests(SynchronousTestCase):
    def test_each_request_is_measured(self) -> None:
        """Every row is in the table, and all members have come."""
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            admin.main(["--connections", "200", "--rounds", "1"])
        for row in admin.ROWS:
            self.assertIn(f"{row.path} ", output.getvalue())
