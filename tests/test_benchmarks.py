"""The benchmarks' own calculations: cases, ratios, verdicts, tables and images."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import admin, cli, frames
from benchmarks.build import HERE, BuildError, Built, build, install_ws
from benchmarks.cases import EVERYTHING, FIGURES, FORMS, QUICK, WORKS, Case, Choice, chosen
from benchmarks.goals import GOALS, goal_cases, goal_peers, judge
from benchmarks.measure import Bench, Sample, Timing
from benchmarks.objects import Census, report
from benchmarks.plot import bars, lines
from benchmarks.report import as_json, base_of, table
from benchmarks.rounds import Result
from benchmarks.servers import PEERS, Setup
from twisted_net.wire.framing import RemoteProtocolError
from twisted_net.wire.websocket import WebSocket

BUILT = Built(*[Path("/nowhere")] * 6, no_tls="")


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

    def test_cases_with_websockets(self) -> None:
        """``websocket`` is every case of that form, or a broadcast with the values chosen."""
        cases = chosen("websocket", False, Choice())
        self.assertEqual({case.form for case in cases}, {"websocket"})
        self.assertEqual({case.work for case in cases}, {"broadcast", "idle"})
        self.assertEqual(chosen("websocket", True, Choice()), cases[:1])
        self.assertEqual(
            chosen("websocket", False, Choice(rate=[20])),
            [Case("broadcast", 500, 20, form="websocket")],
        )

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


class PeerTests(SynchronousTestCase):
    def rows(self, case: Case) -> set[str]:
        return {peer.name for peer in PEERS.values() if peer.usual and peer.has_row(case)}

    def test_each_form_has_its_peers(self) -> None:
        frames = {"ours-lines", "ours-bare", "ws", "websockets", "picows"}
        every = {"ours", "c", "c-each"}
        self.assertEqual(self.rows(Case("broadcast", form="websocket")), frames | every)
        for form in ("text", "json"):
            self.assertEqual(self.rows(Case("broadcast", form=form)) & (frames | every), every)
        self.assertEqual(self.rows(Case("echo", form="websocket")), self.rows(Case("echo")))

    def test_members_speak_the_form_of_the_case(self) -> None:
        """Unless the peer's are there to be compared with."""
        bench = Bench(Setup(BUILT), None, Timing())
        for form in FORMS:
            for speaks in ("", "json"):
                case = Case("broadcast", form=form)
                command = bench.load(case, 8080, speaks).command
                for name in ("json", "websocket"):
                    self.assertIn(f"{name}={int(name == (speaks or form))}", command)

    def test_the_chat_in_c_speaks_frames(self) -> None:
        for name, style in ("c", "turn"), ("c-each", "each"):
            for form, more in ("websocket", ["websocket"]), ("text", []):
                command = PEERS[name].command(Case("broadcast", form=form), Setup(BUILT))
                self.assertEqual(command, [str(BUILT.chat), style, *more])

    def test_peers_without_tls(self) -> None:
        for name in ("c", "c-each", "ours-bare", "ws", "websockets", "picows"):
            self.assertEqual(PEERS[name].cannot(Case("broadcast", form="websocket")), "")
            self.assertIn("TLS", PEERS[name].cannot(Case("broadcast", form="websocket", tls=True)))

    def test_every_peer_has_a_colour(self) -> None:
        for name in PEERS:
            self.assertIn("<svg", bars(result(Case("echo"), **{name: [1.0]}), "cpu_us"))


class BuildTests(SynchronousTestCase):
    def test_npm_is_missing(self) -> None:
        self.patch(shutil, "which", lambda name: None)
        self.assertEqual(install_ws(BUILT), "npm is not installed")
        error = self.assertRaises(BuildError, build, Path("/nowhere"))
        self.assertIn("there is no `cc`", str(error))

    def test_npm_fails(self) -> None:
        """Its first line says why, and nothing of the checkout is changed."""
        directory = Path(self.mktemp())
        (directory / "bin").mkdir(parents=True)
        npm = directory / "bin" / "npm"
        npm.write_text("#!/bin/sh\necho 'npm error ENOTFOUND' >&2\nexit 1\n")
        npm.chmod(0o755)
        self.patch(os, "environ", {**os.environ, "PATH": f"{npm.parent.absolute()}:/bin:/usr/bin"})
        why = install_ws(replace(BUILT, directory=directory))
        self.assertEqual(why, "npm could not install it: npm error ENOTFOUND")
        self.assertTrue((directory / "ws" / "server.js").exists())
        self.assertFalse((HERE / "peers" / "ws" / "node_modules").exists())


class CommandLineTests(SynchronousTestCase):
    def refused(self, main: Callable[[Sequence[str]], int], *arguments: str) -> str:
        output = io.StringIO()
        with contextlib.redirect_stderr(output):
            error = self.assertRaises(SystemExit, main, arguments)
        self.assertEqual(error.code, 2)
        return output.getvalue().splitlines()[-1]

    def test_a_form_that_there_is_not(self) -> None:
        said = self.refused(cli.main, "broadcast", "--form", "text,xml")
        self.assertIn("no such form: xml; there are text, json, websocket", said)

    def test_a_peer_that_there_is_not(self) -> None:
        said = self.refused(cli.main, "websocket", "--peers", "ours,wss")
        self.assertIn("no such server: wss; there are ours,", said)

    def test_rounds_of_frames(self) -> None:
        said = self.refused(frames.main, "--rounds", "0")
        self.assertIn("--rounds must be at least 1, not 0", said)


class FrameTests(SynchronousTestCase):
    def test_what_hostile_clients_send(self) -> None:
        """A parser ends each with the code that the row says."""
        for row in frames.HOSTILE:
            framing = WebSocket(max_size=row.limit, window_bits=12)
            self.assertRaises(RemoteProtocolError, framing.feed, row.data())
            self.assertEqual(framing.close_code, row.code, row.title)

    def test_what_comes_first(self) -> None:
        framing = WebSocket(window_bits=12)
        error = self.assertRaises(RemoteProtocolError, framing.feed, frames.first())
        self.assertEqual((len(error.messages), framing.close_code), (1, 1002))


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
