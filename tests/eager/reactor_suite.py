"""Run Twisted's own tests on the ``eager`` and on the epoll reactor, and compare the results.

``python -m tests.eager.reactor_suite`` runs all of them, which takes some minutes. ``python -m
tests.eager.reactor_suite twisted.web.test twisted.test.test_tcp`` runs only these. It needs the
requirements of Twisted's own tests: ``pip install twisted[dev] twisted[all_non_platform]``, or at
least ``PyHamcrest`` and ``cython-test-exception-raiser``. Modules that cannot be imported fail on
both reactors.

Both reactors get the same tests. Each is installed as the reactor of the process, and is the only
one for tests that make a reactor of their own. A test that fails on one reactor only is run again
by itself, twice on each, because some tests are flaky.

Exit status 0: no test fails on the eager reactor only. 1: some do. 2: unknown, because a run has
crashed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted_net.eager.reactor import EagerReactor

SUITES = (
    "twisted.internet.test",
    "twisted.test.test_tcp",
    "twisted.test.test_tcp_internals",
    "twisted.test.test_ssl",
    "twisted.test.test_sslverify",
    "twisted.test.test_sni",
    "twisted.test.test_unix",
    "twisted.test.test_udp",
    "twisted.test.test_abstract",
    "twisted.test.test_amp",
    "twisted.test.test_ftp",
    "twisted.test.test_internet",
    "twisted.test.test_loopback",
    "twisted.test.test_policies",
    "twisted.test.test_process",
    "twisted.test.test_protocols",
    "twisted.test.test_socks",
    "twisted.test.test_stdio",
    "twisted.test.test_threads",
    "twisted.protocols.test",
    "twisted.protocols.haproxy.test",
    "twisted.spread.test",
    "twisted.names.test",
    "twisted.words.test",
    "twisted.mail.test",
    "twisted.web.test",
    "twisted.conch.test",
)
LIMIT = 900
"""Seconds that one suite may take."""

EAGER, STOCK = "eager", "stock"
FACTORIES = {
    EAGER: "tests.eager.reactor_suite.EPollReactor",
    STOCK: "twisted.internet.epollreactor.EPollReactor",
}


class EPollReactor(EagerReactor):
    """The eager reactor, with the name of Twisted's: some tests check it for what epoll cannot
    do."""

    __module__ = EagerReactor.__module__  # where tests that start programs install it


def run_here(which: str, suites: Sequence[str], results: Path) -> None:
    """Run ``suites`` in this process, and write the result of each test."""
    from twisted.internet.main import installReactor
    from twisted.python.reflect import namedAny

    factory = namedAny(FACTORIES[which])
    installReactor(factory())

    from twisted.internet.test.reactormixins import ReactorBuilder
    from twisted.trial.reporter import Reporter
    from twisted.trial.runner import TestLoader, TrialRunner

    ReactorBuilder._reactors = [FACTORIES[which]]
    outcomes: dict[str, str] = {}

    class Recorder(Reporter):
        def addSuccess(self, test: Any) -> None:
            super().addSuccess(test)
            outcomes.setdefault(test.id(), "passed")

        def addSkip(self, test: Any, reason: Any) -> None:
            super().addSkip(test, reason)
            outcomes.setdefault(test.id(), "skipped")

        def addFailure(self, test: Any, failure: Any) -> None:
            super().addFailure(test, failure)
            outcomes[test.id()] = str(failure.getTraceback())

        def addError(self, test: Any, error: Any) -> None:
            super().addError(test, error)
            described = getattr(error, "getTraceback", lambda: str(error))
            outcomes[test.id()] = str(described())

    tests = TestLoader().loadByNames(suites, recurse=True)
    with open(os.devnull, "w") as nowhere:
        TrialRunner(Recorder, stream=nowhere, logfile="log").run(tests)
    results.write_text(json.dumps(outcomes))


def run(which: str, suites: Sequence[str]) -> dict[str, str] | None:
    """Run ``suites`` in a separate process; return None if it crashed or timed out."""
    with tempfile.TemporaryDirectory() as place:
        results = Path(place, "results")
        root = str(Path(__file__).parents[2])
        command = [sys.executable, "-m", "tests.eager.reactor_suite", "--here", which, str(results)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *sys.path])}
        with open(Path(place, "output"), "w+") as output:
            try:
                subprocess.run(
                    [*command, *suites],
                    cwd=place,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=LIMIT,
                )
            except subprocess.TimeoutExpired:
                print(f"{which}: {' '.join(suites)} took more than {LIMIT} seconds")
            if results.exists():
                outcomes: dict[str, str] = json.loads(results.read_text())
                return outcomes
            output.seek(0)
            print(output.read()[-4000:])
            return None


def failures(outcomes: dict[str, str]) -> set[str]:
    return {test for test, how in outcomes.items() if how not in ("passed", "skipped")}


def settled(test: str) -> set[str]:
    """Return the reactors on which a test fails in both of two further runs."""
    found = set()
    for which in (STOCK, EAGER):
        again = [run(which, [test]) or {} for _ in range(2)]
        if all(failures(outcomes) or not outcomes for outcomes in again):
            found.add(which)
    return found


def compare(suite: str) -> tuple[int, int] | None:
    """Run one suite on both reactors and print the difference.

    :return: the numbers of tests that fail on the eager reactor only, and on Twisted's only.
    """
    both = {which: run(which, [suite]) for which in (STOCK, EAGER)}
    stock, eager = both[STOCK], both[EAGER]
    if stock is None or eager is None:
        print(f"{suite}: a run has died")
        return None
    bad = {STOCK: failures(stock), EAGER: failures(eager)}
    alone = {STOCK: 0, EAGER: 0}
    moody = 0
    for test in sorted(bad[STOCK] ^ bad[EAGER] | stock.keys() ^ eager.keys()):
        found = settled(test)
        if len(found) == 1:
            which = found.pop()
            alone[which] += 1
            print(f"  fails on {which} alone: {test}\n{both[which].get(test, 'not run')}")  # type: ignore[union-attr]
        else:
            moody += 1
            print(f"  fails now and then: {test}")
    skipped = {which: list(both[which].values()).count("skipped") for which in both}  # type: ignore[union-attr]
    print(
        f"{suite}: stock {len(stock)} tests, {len(bad[STOCK])} failed, {skipped[STOCK]} skipped; "
        f"eager {len(eager)} tests, {len(bad[EAGER])} failed, {skipped[EAGER]} skipped; "
        f"on eager alone {alone[EAGER]}, on stock alone {alone[STOCK]}, now and then {moody}",
        flush=True,
    )
    return alone[EAGER], alone[STOCK]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.eager.reactor_suite", description=__doc__
    )
    parser.add_argument("suite", nargs="*", help="modules, packages or tests; default: all")
    parser.add_argument("--here", nargs=2, metavar=("REACTOR", "RESULTS"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.here:
        run_here(options.here[0], options.suite, Path(options.here[1]))
        return 0
    differences = [compare(suite) for suite in options.suite or SUITES]
    if None in differences:
        return 2
    worse = sum(difference[0] for difference in differences if difference)
    print(f"Tests that fail on the eager reactor alone: {worse}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
