"""A siege: ``python -m tests.live.siege --help``.

It runs the tests of the guard at full size and prints what they measure. By themselves they are
smaller, and silent.
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
"""How many peers there are of each kind."""

SMALL = {
    "slowloris": 1000,
    "never_read": 50,
    "silent_tls": 500,
    "connect_and_close": 2000,
    "talkers": 200,
}

_PREFIX = "SIEGE_"


def size(kind: str) -> int:
    """Give how many peers of a kind the tests shall have."""
    return int(os.environ.get(_PREFIX + kind, SMALL[kind]))


def full_size() -> bool:
    """Whether this is the command: then there is a figure to be shown, and time to take it."""
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
