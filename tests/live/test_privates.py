"""Behaviour with a Twisted or pyOpenSSL whose private names differ.

For each row of :data:`twisted_net.eager.privates.TABLE`, a copy of the sources has another name
instead, everywhere, so that only our code does not find it. Then :mod:`tests.live.privates_program`
runs with this copy.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import OpenSSL
from twisted.trial.unittest import SynchronousTestCase

import twisted
from tests.live.harness import PATIENCE, script
from twisted_net.eager.privates import TABLE, Group, Private

AT_A_TIME = 2
"""Programs that run at the same time."""

TRANSPORTS = [
    f"twisted/internet/{name}.py" for name in ("abstract", "tcp", "unix", "_newtls", "base")
]
"""The files in which :attr:`Private.source` is searched."""


@cache
def sources(package: str) -> dict[str, str]:
    """Return the sources of ``twisted`` or ``OpenSSL`` without tests, by path."""
    top = Path((OpenSSL if package == "OpenSSL" else twisted).__file__ or "").parent
    found = {}
    for path in sorted(top.rglob("*.py")):
        relative = path.relative_to(top.parent)
        if not {"test", "plugins"} & set(relative.parts):
            found[str(relative)] = path.read_text()
    return found


CHANGED = {
    "twisted.internet.tcp:Server": (
        "tcp.py",
        (
            "        self.sessionno = sessionno\n",
            "        self.sessionno = self.more = sessionno\n",
        ),
    ),
    "twisted.internet.tcp:Client": (
        "tcp.py",
        (
            "bindAddress, connector, reactor=None):",
            "bindAddress, connector, reactor=None, *, more):",
        ),
        (
            "Client(self.host, self.port, self.bindAddress, self, self.reactor)",
            "Client(self.host, self.port, self.bindAddress, self, self.reactor, more=0)",
        ),
    ),
    "twisted.internet.unix:Server": (
        "unix.py",
        ("client, server, sessionno, reactor):", "client, server, sessionno, reactor, *, more):"),
    ),
    "twisted.internet.unix:Client": (
        "unix.py",
        ("connector, reactor=None, checkPID=0):", "connector, reactor=None, checkPID=0, *, more):"),
    ),
}
"""Classes without a name of their own: what is replaced in their file."""


def renamed(row: Private) -> dict[str, str]:
    """Return the files that change when a name is renamed."""
    if row.where == "OpenSSL._util:lib":
        return _without_in_util(row.name)
    if row.where == "OpenSSL.SSL:_lib":
        return _without_in_ssl(row.name)
    if row.name == "__init__":
        name, *replacements = CHANGED[row.where]
        path = f"twisted/internet/{name}"
        text = sources("twisted")[path]
        for old, new in replacements:
            assert text.count(old) == 1, (row, old)
            text = text.replace(old, new)
        return {path: text}
    package = row.where.split(".")[0]
    files = sources(package)
    pattern = row.source or rf"\b{row.name}\b"
    if package == "OpenSSL":
        pattern = rf"(?<!binding\.){pattern}"  # which is cryptography's
    changed = _substituted(pattern, row.name, files, TRANSPORTS if row.source else files)
    if row.where == "OpenSSL._util":  # Twisted imports from it too
        pattern = rf"(?<=OpenSSL\._util import ){row.name}\b"
        changed |= _substituted(pattern, row.name, sources("twisted"), sources("twisted"))
    assert changed, row
    return changed


def _substituted(
    pattern: str, name: str, files: dict[str, str], paths: Iterable[str]
) -> dict[str, str]:
    changed = {path: re.sub(pattern, f"renamed_{name}", files[path]) for path in paths}
    return {path: text for path, text in changed.items() if text != files[path]}


# Names of OpenSSL itself belong to a C library. They are hidden only where our code looks for them.

HIDING = """
class Hiding:
    def __getattr__(self, name):
        if name == {name!r}:
            raise AttributeError(name)
        return getattr(real_lib, name)
"""


def _without_in_util(name: str) -> dict[str, str]:
    files = sources("OpenSSL")
    text = files["OpenSSL/_util.py"] + HIDING.format(name=name)
    changed = {"OpenSSL/_util.py": f"{text}\nreal_lib, lib = lib, Hiding()\n"}
    for path, text in files.items():
        if "lib as _lib" in text:
            changed[path] = text.replace("lib as _lib", "real_lib as _lib")
    return changed


def _without_in_ssl(name: str) -> dict[str, str]:
    text = re.sub(r"\b_lib\b", "real_lib", sources("OpenSSL")["OpenSSL/SSL.py"])
    return {"OpenSSL/SSL.py": f"{text}{HIDING.format(name=name)}\n_lib = Hiding()\n"}


def make_copy(root: Path, changed: dict[str, str]) -> None:
    """Make a directory with the packages, in which only the changed files are copies."""
    for package in {path.split("/")[0] for path in changed}:
        top = Path((OpenSSL if package == "OpenSSL" else twisted).__file__ or "").parent
        real = {str(parent) for path in changed for parent in Path(path).parents}
        for name in sorted(each for each in real if each.split("/")[0] == package):
            _link_all(top.parent / name, root / name, real | changed.keys(), root)
    for path, text in changed.items():
        (root / path).write_text(text)


def _link_all(original: Path, directory: Path, but: set[str], root: Path) -> None:
    """Link the content of a directory, including compiled files, except what is replaced."""
    compiled = directory / "__pycache__"
    compiled.mkdir(parents=True, exist_ok=True)
    for each in original.iterdir():
        if each.name == "__pycache__":
            for file in each.iterdir():
                module = str((directory / file.name.split(".")[0]).relative_to(root))
                if f"{module}.py" not in but:
                    (compiled / file.name).symlink_to(file)
        elif str((directory / each.name).relative_to(root)) not in but:
            (directory / each.name).symlink_to(each)


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the packages of a directory."""
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


class RenamedTests(SynchronousTestCase):
    """One name is renamed."""

    def outcomes(
        self, rows: list[Private], *arguments: str
    ) -> Iterator[tuple[Private, subprocess.CompletedProcess[str]]]:
        """Run a program for every row, with a copy in which its name is renamed."""
        top = Path(self.mktemp()).resolve()

        def outcome(number: int) -> subprocess.CompletedProcess[str]:
            make_copy(top / str(number), renamed(rows[number]))
            return run(top / str(number), *arguments)

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            yield from zip(rows, pool.map(outcome, range(len(rows))), strict=True)

    def check(self, group: Group) -> list[tuple[Private, dict[str, Any]]]:
        """Run the program for each row of a group, and return what it printed."""
        results = []
        rows = [row for row in TABLE if row.group is group]
        for row, done in self.outcomes(rows, "-m", "tests.live.privates_program"):
            self.assertEqual(done.returncode, 0, f"{row}: {done.stderr}")
            result = json.loads(done.stdout)
            self.assertEqual(result["failures"], [], row)
            results.append((row, result))
        self.assertTrue(results)
        return results

    def assert_warned(self, row: Private, result: dict[str, Any]) -> None:
        """Check that there was one warning, which names the name."""
        self.assertEqual(len(result["warnings"]), 1, (str(row), result["warnings"]))
        self.assertIn(row.name, result["warnings"][0])

    def test_transports(self) -> None:
        """Transports and TLS are Twisted's own, with one warning that names the name."""
        for row, result in self.check(Group.TRANSPORTS):
            self.assert_warned(row, result)
            self.assertNotIn("twisted_net", json.dumps(result["found"]), row)

    def test_tls(self) -> None:
        """TLS is Twisted's own, over eager transports."""
        for row, result in self.check(Group.TLS):
            self.assert_warned(row, result)
            for name, kinds in result["found"].items():
                if name.startswith("tls "):
                    tls, *kinds = kinds
                    self.assertEqual(tls, "twisted.protocols.tls.BufferingTLSTransport", row)
                self.assertEqual([kind.split(".")[0] for kind in kinds], ["twisted_net"], row)

    def test_others(self) -> None:
        """Everything else is eager, and one warning says what is left out."""
        for row, result in self.check(Group.OTHERS):
            self.assert_warned(row, result)
            self.assertNotIn("twisted.", json.dumps(result["found"]), row)

    def test_the_reactor(self) -> None:
        """``--reactor eager`` ends with one line with the name. Everything else works."""
        for row, result in self.check(Group.REACTOR):
            self.assertEqual(result["warnings"], [], row)
            self.assertNotIn("twisted.", json.dumps(result["found"]), row)
        rows = [row for row in TABLE if row.group is Group.REACTOR]
        rows.append(next(row for row in TABLE if row.name == "_tempDataLen"))
        twistd = [script("twistd"), "-n", "--pidfile=", "--reactor", "eager", "netecho"]
        for row, done in self.outcomes(rows, *twistd, "--port", "0"):
            self.assertEqual(done.returncode, 1, row)
            lines = (done.stdout + done.stderr).splitlines()
            self.assertEqual(len(lines), 1, lines)
            self.assertIn("--reactor eager", lines[0])
            self.assertIn(row.name, lines[0])

    def test_nothing_renamed(self) -> None:
        """With unchanged sources, everything is eager."""
        root = Path(self.mktemp()).resolve()
        path = "twisted/internet/tcp.py"
        make_copy(root, {path: sources("twisted")[path] + "\n"})
        result = json.loads(run(root, "-m", "tests.live.privates_program").stdout)
        self.assertEqual((result["warnings"], result["failures"]), ([], []))
        self.assertNotIn("twisted.", json.dumps(result["found"]))
