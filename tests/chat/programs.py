"""Random programs of text users, JSON programs and chat clients, compared with a model.

``python -m tests.chat.programs 20000`` runs 20,000 of them. It ends with status 0, or at the first
disagreement with the shortest program that shows it, and the command that repeats it.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.chat.operator_actions import OperatorActions

BATCH = 500
"""Programs with one seed."""

STEPS = 30
"""Actions in a program."""


class Programs(OperatorActions):
    """A program: each step is an action of somebody."""


def options(count: int) -> settings:
    """Return the settings for some programs. A failure is made as short as possible."""
    return settings(
        max_examples=count,
        stateful_step_count=STEPS,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.normal,
    )


def run_batch(number: int, count: int) -> str:
    """Run some programs. Return the disagreement with its traceback; empty if there is none."""
    try:
        run_state_machine_as_test(seed(number)(Programs), settings=options(count))
    except Exception:
        return traceback.format_exc()
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chat.programs", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=20_000, help="[default: 20000]")
    parser.add_argument("--seed", type=int, default=1, help="the first seed [default: 1]")
    parser.add_argument("--jobs", type=int, help="processes [default: as many as processors]")
    arguments = parser.parse_args()
    whole, rest = divmod(arguments.count, BATCH)
    counts = [*[BATCH] * whole, *[rest] * bool(rest)]
    began, done = time.monotonic(), 0
    with ProcessPoolExecutor(arguments.jobs) as pool:
        seeds = {
            pool.submit(run_batch, number, count): (number, count)
            for number, count in enumerate(counts, arguments.seed)
        }
        for batch in as_completed(seeds):
            number, count = seeds[batch]
            if problem := batch.result():
                pool.shutdown(wait=False, cancel_futures=True)
                print(problem, file=sys.stderr)
                sys.exit(f"Again: python -m tests.chat.programs {count} --seed {number}")
            done += count
            rate = done / (time.monotonic() - began)
            print(f"{done} of {arguments.count} programs, {rate:.0f} a second", flush=True)
    print(f"No disagreement in {done} programs of {STEPS} actions.")


if __name__ == "__main__":
    main()
