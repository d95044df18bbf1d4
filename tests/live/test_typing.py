"""A user's program under type checkers without a plugin for zope.interface."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

PROGRAM = Path(__file__).resolve().parent.parent / "typed_program.py"

MISSPELT = {
    "idle_timeout=60": "idle_timout=60",
    "timeout=3": "tmeout=3",
    "history=20": "histry=20",
    "max_message=4096": "max_mesage=4096",
    "alpn=[": "aln=[",
}


class TypingTests(SynchronousTestCase):
    """:mod:`tests.typed_program`, and a copy with misspelt keywords."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir()
        # Outside the checkout, so that the installed package is checked, as for users.
        self.program = self.directory / "program.py"
        self.program.write_text(PROGRAM.read_text())
        (self.directory / "mypy.ini").write_text("[mypy]\n")  # and thus no plugin

    def misspell(self) -> None:
        """Misspell the program's keywords."""
        text = self.program.read_text()
        for right, wrong in MISSPELT.items():
            self.assertEqual(text.count(right), 1, right)
            text = text.replace(right, wrong)
        self.program.write_text(text)

    def check(self, *command: str) -> tuple[int, str]:
        """Run a type checker on the program."""
        done = subprocess.run(
            [*command, self.program.name], cwd=self.directory, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    def mypy(self) -> tuple[int, str]:
        """Run mypy, and allow calls of Twisted's unannotated functions."""
        command = (sys.executable, "-m", "mypy", "--strict", "--untyped-calls-exclude=twisted")
        return self.check(*command, "--config-file=mypy.ini")

    def pyright(self) -> tuple[int, str]:
        """Run pyright."""
        program = shutil.which("pyright")
        if program is None:
            raise SkipTest("pyright is not installed: npm install pyright")
        return self.check(program, "--pythonpath", sys.executable)

    def assertFound(self, output: str) -> None:
        """Check that each misspelt keyword is an error."""
        for wrong in MISSPELT.values():
            self.assertIn(f'"{wrong.partition("=")[0]}"', output)

    def test_mypy(self) -> None:
        """The program is clean under ``mypy --strict``."""
        status, output = self.mypy()
        self.assertEqual((status, output), (0, "Success: no issues found in 1 source file\n"))

    def test_mypy_misspelt(self) -> None:
        """Misspelt keywords are errors."""
        self.misspell()
        status, output = self.mypy()
        self.assertEqual(status, 1)
        self.assertFound(output)

    def test_pyright(self) -> None:
        """The program is clean under pyright."""
        status, output = self.pyright()
        self.assertEqual(status, 0, output)

    def test_pyright_misspelt(self) -> None:
        """Misspelt keywords are errors."""
        self.misspell()
        status, output = self.pyright()
        self.assertEqual(status, 1)
        self.assertFound(output)
