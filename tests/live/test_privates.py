"""What happens with a Twisted or pyOpenSSL whose private names are others.

For each row of :data:`twisted_net.eager.privates.TABLE`, the name is renamed in a copy of the
sources, everywhere, so that only we miss it. Then :mod:`tests.live.privates_program` runs there.
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
"""The files in which :attr:`Private.source` is looked for."""


@cache
def sources(package: str) -> dict[str, str]:
    """Give the source files of ``twisted`` or ``OpenSSL`` but for tests, by their paths."""
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
"""How a class is made, which has no name of its own: what is replaced in its file."""


def renamed(row: Private) -> dict[str, str]:
    """Give the files that differ where a name is another one."""
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
    if row.where == "OpenSSL._util":  # from which Twisted imports as well
        pattern = rf"(?<=OpenSSL\._util import ){row.name}\b"
        changed |= _substituted(pattern, row.name, sources("twisted"), sources("twisted"))
    assert changed, row
    return changed


def _substituted(
    pattern: str, name: str, files: dict[str, str], paths: Iterable[str]
) -> dict[str, str]:
    changed = {path: re.sub(pattern, f"renamed_{name}", files[path]) for path in paths}
    return {path: text for path, text in changed.items() if text != files[path]}


# Names of OpenSSL itself are a C library's. They are hidden where we look for them, and from
# nobody else.

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
    """Make a directory with the packages, of which nothing but some files is copied."""
    for package in {path.split("/")[0] for path in changed}:
        top = Path((OpenSSL if package == "OpenSSL" else twisted).__file__ or "").parent
        real = {str(parent) for path in changed for parent in Path(path).parents}
        for name in sorted(each for each in real if each.split("/")[0] == package):
            _link_all(top.parent / name, root / name, real | changed.keys(), root)
    for path, text in changed.items():
        (root / path).write_text(text)


def _link_all(original: Path, directory: Path, but: set[str], root: Path) -> None:
    """Link what is in a directory, compiled files too, except for what will be there itself."""
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
    """Run Python with the packages that are in a directory."""
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


class RenamedTests(SynchronousTestCase):
    """One name is another one."""

    def outcomes(
        self, rows: list[Private], *arguments: str
    ) -> Iterator[tuple[Private, subprocess.CompletedProcess[str]]]:
        """Run a program once for every row, with a copy in which its name is another one."""
        top = Path(self.mktemp()).resolve()

        def outcome(number: int) -> subprocess.CompletedProcess[str]:
            make_copy(top / str(number), renamed(rows[number]))
            return run(top / str(number), *arguments)

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            yield from zip(rows, pool.map(outcome, range(len(rows))), strict=True)

    def check(self, group: Group) -> list[tuple[Private, dict[str, Any]]]:
        """Run the program for each row of a group, and give what it has printed."""
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
        """Check that there was one warning, and that it names the row's name."""
        self.assertEqual(len(result["warnings"]), 1, (str(row), result["warnings"]))
        self.assertIn(row.name, result["warnings"][0])

    def test_transports(self) -> None:
        """Transports and TLS are Twisted's own, with one warning that names it."""
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
        """All else is eager, and one warning says what is left out."""
        for row, result in self.check(Group.OTHERS):
            self.assert_warned(row, result)
            self.assertNotIn("twisted.", json.dumps(result["found"]), row)

    def test_the_reactor(self) -> None:
        """``--reactor eager`` ends with one line that names it. Nothing else is touched."""
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
        """As a check of the check: with the sources as they are, all is eager."""
        root = Path(self.mktemp()).resolve()
        path = "twisted/internet/tcp.py"
        make_copy(root, {path: sources("twisted")[path] + "\n"})
        result = json.loads(run(root, "-m", "tests.live.privates_program").stdout)
        self.assertEqual((result["warnings"], result["failures"]), ([], []))
        self.assertNotIn("twisted.", json.dumps(result["found"]))
