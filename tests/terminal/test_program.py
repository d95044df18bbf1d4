"""How ``netchat-client`` starts."""

from __future__ import annotations

import getpass
import io
import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.terminal import program
from twisted_net.terminal.flags import parse_flags


class Teletype:
    """A standard stream that is a terminal or is none."""

    def __init__(self, is_terminal: bool) -> None:
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class StartTests(SynchronousTestCase):
    """Starts that end at once, and the password."""

    def setUp(self) -> None:
        self.errors: list[str] = []
        self.patch(program, "complain", self.errors.append)
        self.terminals(True, True)
        self.patch(os, "environ", {**os.environ, "TERM": "xterm"})

    def terminals(self, input: bool, output: bool) -> None:
        self.patch(sys, "stdin", Teletype(input))
        self.patch(sys, "stdout", Teletype(output))

    def start(self, *words: str) -> int:
        return program.run_program(words)

    def password(self, *words: str) -> Any:
        return program.find_password(parse_flags(("--user", "ann", *words, "localhost")))

    def file(self, content: bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path)

    def test_without_the_extra(self) -> None:
        """In a terminal, one line says what to install."""
        self.patch(program, "find_spec", lambda name: None)
        self.assertEqual(self.start("localhost"), 1)
        (line,) = self.errors
        self.assertIn("pip install 'twisted_net[client]'", line)

    def test_a_dumb_terminal(self) -> None:
        """One line says that it cannot work there, and what can."""
        for term in ("dumb", ""):
            os.environ["TERM"] = term
            self.assertEqual(self.start("localhost"), 1)
            self.assertIn("--listen", self.errors[-1])

    def test_a_pipe_needs_no_extra(self) -> None:
        """The filter starts without; so does ``--listen`` in a terminal."""
        self.patch(program, "find_spec", lambda name: None)
        started: list[bool] = []
        self.patch(program, "_run", lambda settings, password, is_piped: started.append(is_piped))
        self.start("--listen", "localhost")
        for streams in ((False, True), (True, False), (False, False)):
            self.terminals(*streams)
            self.start("localhost")
        self.assertEqual((started, self.errors), ([True] * 4, []))

    def test_closed_streams(self) -> None:
        """A closed input is an empty pipe. What others say needs an output to go to."""
        started: list[bool] = []
        self.patch(program, "_run", lambda settings, password, is_piped: started.append(is_piped))
        for name in ("stdin", "stdout", "stderr"):
            self.patch(sys, name, None)
        self.start("localhost")
        self.assertEqual((started, self.errors, sys.stdin.read()), ([True], [], ""))
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            stream.close()
        self.patch(sys, "stdout", None)
        self.assertEqual(self.start("--listen", "localhost"), 1)
        self.assertEqual(self.errors, ["--listen: the standard output is closed"])
        sys.stdout.close()

    def test_a_terminal(self) -> None:
        """Both ends are a terminal: the client is for people."""
        started: list[bool] = []
        self.patch(program, "find_spec", lambda name: object())
        self.patch(program, "_run", lambda settings, password, is_piped: started.append(is_piped))
        self.start("localhost")
        self.assertEqual(started, [False])

    def test_a_password_from_a_file(self) -> None:
        """Is its first line, whatever that ends with."""
        for content in (b"s e:c\n", b"s e:c\r\nmore\n", b"s e:c"):
            self.assertEqual(self.password("--password-file", self.file(content)), "s e:c")

    def test_files_without_a_password(self) -> None:
        """Are named, with the reason."""
        for content, why in ((b"", "is empty"), (b"\nx\n", "is empty"), (b"\xff\n", "not UTF-8")):
            path = self.file(content)
            self.assertEqual(self.start("--user", "a", "--password-file", path, "localhost"), 1)
            self.assertIn(f"--password-file {path}: ", self.errors[-1])
            self.assertIn(why, self.errors[-1])
        self.assertEqual(self.start("--user", "a", "--password-file", "/nowhere", "localhost"), 1)
        self.assertEqual(self.errors[-1], "--password-file /nowhere: No such file or directory")

    def test_a_password_is_asked_for(self) -> None:
        """At the terminal of the user, also if the input is a pipe."""
        asked: list[str] = []

        def ask(prompt: str) -> str:
            asked.append(prompt)
            return "secret"

        self.patch(os, "open", lambda *how: os.dup(2))
        self.patch(getpass, "getpass", ask)
        self.assertEqual((self.password(), asked), ("secret", ["Password of ann: "]))
        self.patch(getpass, "getpass", lambda prompt: "")
        self.assertEqual(self.start("--user", "ann", "localhost"), 1)
        self.assertEqual(self.errors[-1], "--user ann: the password is empty")

    def test_nobody_to_ask(self) -> None:
        """The password is never read from the lines that are to be sent."""

        def refuse(*how: Any) -> int:
            raise OSError(6, "No such device or address")

        self.patch(os, "open", refuse)
        self.assertEqual(self.start("--user", "ann", "localhost"), 1)
        self.assertIn("--password-file", self.errors[-1])

    def test_interrupted(self) -> None:
        """Ctrl-C at the password ends the program with the status of SIGINT."""

        def interrupt(prompt: str) -> str:
            raise KeyboardInterrupt

        self.patch(os, "open", lambda *how: os.dup(2))
        self.patch(getpass, "getpass", interrupt)
        self.assertEqual(self.start("--user", "ann", "localhost"), 130)


class ComplainTests(SynchronousTestCase):
    """Lines on the standard error."""

    def setUp(self) -> None:
        self.errors = io.StringIO()
        self.patch(sys, "stderr", self.errors)

    def test_a_server_cannot_control_the_terminal(self) -> None:
        """Its words are one line, without escape sequences and overrides, and stay readable."""
        program.complain("h: bye \x1b[31m\x1b]0;OWNED\x07\n second line \u202e\x9b1mé")
        self.assertEqual(self.errors.getvalue(), "netchat-client: h: bye  second line é\n")

    def test_a_traceback(self) -> None:
        """Keeps its lines. What the exception says is cleaned, too."""

        class Failing:
            async def run(self) -> int:
                raise ValueError("a\x1b[2Jb")

        running = Deferred.fromCoroutine(program._supervised(Failing()))
        self.assertEqual(self.successResultOf(running), 1)
        first, *more = self.errors.getvalue().splitlines()
        self.assertEqual(first, "netchat-client: failed: Traceback (most recent call last):")
        self.assertEqual(more[-1], "netchat-client: ValueError: ab")
