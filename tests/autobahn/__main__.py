"""Play the cases of the Autobahn test suite: ``python -m tests.autobahn [PATTERN...]``.

It plays them with both reactors at the same time, prints the sums and what was not good, and has
the status 0 only if everything was ``OK`` or ``INFORMATIONAL``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.autobahn.porting import SUITE

ARCHIVE = f"{SUITE}==25.10.1"
CLIENT = "autobahn[twisted]==26.10.2"
PORTER = "fissix==24.4.24"
REACTORS = ("default", "eager")
GOOD = ("OK", "INFORMATIONAL")
SECONDS = 3600
"""The most that the cases may take. All of them take some minutes."""

_HERE = Path(__file__).parent


class Suite:
    """The suite in a directory: ported, with the Python that runs it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._python = str(directory / "venv" / "bin" / "python")

    def prepare(self) -> None:
        """Download it and port it, unless that was done.

        :raises subprocess.CalledProcessError: a command has failed.
        """
        if (self._directory / "ported").exists():
            return
        _run(sys.executable, "-m", "venv", str(self._directory / "venv"))
        pip = (self._python, "-m", "pip", "--quiet", "--disable-pip-version-check")
        _run(*pip, "download", "--no-deps", "--dest", str(self._directory), ARCHIVE)
        _run(*pip, "install", CLIENT, PORTER)
        (archive,) = self._directory.glob("*.tar.gz")
        _run("tar", "-xzf", str(archive), "-C", str(self._directory))
        source = next(self._directory.glob(f"{SUITE}-*/{SUITE}"))
        unfinished = self._directory / "unfinished"
        _run(self._python, str(_HERE / "porting.py"), str(source), str(unfinished / SUITE))
        unfinished.rename(self._directory / "ported")

    def play(self, reactor: str, patterns: list[str]) -> dict[str, dict[str, str]]:
        """Play cases against a server with one of :data:`REACTORS`, and return the report.

        :raises subprocess.CalledProcessError: a pattern matches no case, or the server has died.
        """
        report = self._directory / f"{reactor}.json"
        server = subprocess.Popen(
            (sys.executable, "-P", "-m", "tests.autobahn.echo", reactor),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with server:
            assert server.stdin is not None and server.stdout is not None
            port = server.stdout.readline().strip()
            if not port:
                raise subprocess.SubprocessError(f"the server with the {reactor} reactor has died")
            _run(self._python, str(_HERE / "player.py"), port, str(report), *patterns, more=self)
            server.stdin.close()
        found: dict[str, dict[str, str]] = json.loads(report.read_text())
        return found

    @property
    def path(self) -> str:
        """Where the ported cases are."""
        return str(self._directory / "ported")


def _run(*command: str, more: Suite | None = None) -> None:
    """Run a command. Warnings are no errors here: this is not our code."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    if more is not None:
        environment["PYTHONPATH"] = more.path
    subprocess.run((*command,), check=True, env=environment, timeout=SECONDS)


def sums(reactor: str, report: dict[str, dict[str, str]], seconds: float) -> str:
    """Return the sums of a report, and what was not good."""

    def count(what: str) -> str:
        counts = Counter(each[what] for each in report.values())
        return ", ".join(f"{name} {counts[name]}" for name in sorted(counts))

    lines = [
        f"{reactor} reactor: {len(report)} cases in {seconds:.0f} s: {count('behavior')}; "
        f"closing: {count('close')}"
    ]
    lines += [
        f"  {case}: {each['behavior']} ({each['why']}); closing: {each['close']} "
        f"({each['why_close']})"
        for case, each in report.items()
        if not is_good(each)
    ]
    return "\n".join(lines)


def is_good(result: dict[str, str]) -> bool:
    """Return whether the suite has nothing against a case."""
    return result["behavior"] in GOOD and result["close"] in GOOD


def main() -> str | int:
    """Run the command, and return the exit status or an error."""
    parser = argparse.ArgumentParser(
        "python -m tests.autobahn", description="Play the cases of the Autobahn test suite."
    )
    parser.add_argument(
        "pattern", nargs="*", default=["*"], help="cases, such as 9.1.3 or '9.*'; by default all"
    )
    parser.add_argument("--keep", metavar="DIR", help="keep the suite there for the next time")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(asked.keep or temporary).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        suite = Suite(directory)

        def play(reactor: str) -> bool:
            start = time.monotonic()
            report = suite.play(reactor, asked.pattern)
            print(sums(reactor, report, time.monotonic() - start), flush=True)
            return bool(report) and all(map(is_good, report.values()))

        try:
            suite.prepare()
            with ThreadPoolExecutor(len(REACTORS)) as pool:
                good = list(pool.map(play, REACTORS))
        except subprocess.SubprocessError as error:
            return str(error)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
