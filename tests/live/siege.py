"""Run the tests of the guard at full size: ``python -m tests.live.siege --help``.

It prints what they measure. Under trial, the same tests are smaller, and print nothing.
"""

from __future__ import annotations

import argparse
import os
import sys

FULL = {
    "slowloris": 1000,
    "never_read": 200,
    "silent_tls": 500,
    "connect_and_close": 20_000,
    "talkers": 1000,
}
"""The number of peers of each kind."""

SMALL = {
    "slowloris": 1000,
    "never_read": 50,
    "silent_tls": 500,
    "connect_and_close": 2000,
    "talkers": 200,
}

_PREFIX = "SIEGE_"


def size(kind: str) -> int:
    """Return the number of peers of a kind in the tests."""
    return int(os.environ.get(_PREFIX + kind, SMALL[kind]))


def full_size() -> bool:
    """Whether this is the command, which measures and prints figures."""
    return _PREFIX in os.environ


def tell(figure: str) -> None:
    """Print a figure, if this is the command."""
    if full_size():
        print(f"\n      {figure}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.live.siege", description=__doc__)
    for kind, count in FULL.items():
        flag = "--" + kind.replace("_", "-")
        parser.add_argument(flag, type=int, default=count, metavar="N", help=f"[default: {count}]")
    parser.add_argument("--reactor", metavar="NAME", help="the servers' reactor: LIVE_REACTOR")
    parser.add_argument("tests", nargs="*", default=["tests.live.test_guard"])
    arguments = parser.parse_args()
    os.environ[_PREFIX] = "1"
    for kind in FULL:
        os.environ[_PREFIX + kind] = str(getattr(arguments, kind))
    if arguments.reactor:
        os.environ["LIVE_REACTOR"] = arguments.reactor
    os.execv(sys.executable, [sys.executable, "-m", "twisted.trial", *arguments.tests])


if __name__ == "__main__":
    main()
