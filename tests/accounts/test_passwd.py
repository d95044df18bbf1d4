"""Tests for :mod:`twisted_net.accounts.passwd`, the program ``netchat-passwd``."""

from __future__ import annotations

import getpass
import io
import os
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.accounts.test_password_file import CHEAP
from twisted_net.accounts import hashes
from twisted_net.accounts.hashes import PasswordHash
from twisted_net.accounts.passwd import main
from twisted_net.accounts.password_file import read_accounts


class Terminal(io.TextIOWrapper):
    """A standard input that is a terminal."""

    def isatty(self) -> bool:
        return True


class PasswdCase(SynchronousTestCase):
    """Tests that run the program in this process, with a cheap hash."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.patch(hashes, "DEFAULT_COST", CHEAP)

    def run_program(self, *words: str, typed: bytes | list[str] = b"") -> tuple[int, str, str]:
        """Run it. Return status, output and errors, with ``FILE`` for the path.

        :param typed: what standard input has, or the answers of somebody at a terminal.
        """
        out, errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", errors)
        if isinstance(typed, bytes):
            self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed)))
        else:
            answers = iter(typed)
            self.patch(sys, "stdin", Terminal(io.BytesIO()))
            self.patch(getpass, "getpass", lambda prompt: next(answers))
        try:
            status = main([str(self.path) if each == "FILE" else each for each in words])
        except SystemExit as ended:
            assert isinstance(ended.code, int)
            status = ended.code
        shown = [each.getvalue().replace(str(self.path), "FILE") for each in (out, errors)]
        return status, shown[0], shown[1]

    def password(self, name: bytes) -> PasswordHash:
        """Return the hash of an account."""
        secret = read_accounts(str(self.path))[name]
        assert isinstance(secret, PasswordHash)
        return secret


class SetTests(PasswdCase):
    def test_from_a_pipe(self) -> None:
        """The first line is the password, in a new file that its owner only may read."""
        for typed in (b"secret", b"secret\n", b"secret\r\n", b"secret\nmore\n"):
            done = self.run_program("FILE", "ann", typed=typed)
            self.assertEqual((done[0], done[2]), (0, ""))
            self.assertTrue(self.password(b"ann").matches(b"secret"))
            self.assertNotIn(b"secret", self.path.read_bytes())
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_at_a_terminal(self) -> None:
        """It asks twice."""
        done = self.run_program("FILE", "zo\xeb", typed=["s\xe9cret 1", "s\xe9cret 1"])
        self.assertEqual(done, (0, "FILE: zo\xeb: added\n", ""))
        self.assertTrue(self.password("zo\xeb".encode()).matches("s\xe9cret 1".encode()))
        done = self.run_program("FILE", "zo\xeb", typed=["one", "two"])
        self.assertEqual(done, (1, "", "netchat-passwd: the two passwords differ\n"))
        self.assertTrue(self.password("zo\xeb".encode()).matches("s\xe9cret 1".encode()))

    def test_a_change(self) -> None:
        """Only the account's line changes; comments stay; a second line of the name goes."""
        self.path.write_bytes(b"# staff\n\nbob:x\nann:old\nzoe:y\nann:older\n")
        done = self.run_program("FILE", "ann", typed=b"new\n")
        self.assertEqual(done, (0, "FILE: ann: the password was changed\n", ""))
        lines = self.path.read_bytes().splitlines()
        self.assertEqual(lines[:3] + lines[4:], [b"# staff", b"", b"bob:x", b"zoe:y"])
        self.assertTrue(self.password(b"ann").matches(b"new"))

    def test_two_salts(self) -> None:
        """The same password has another hash each time."""
        for name in ("ann", "bob"):
            self.run_program("FILE", name, typed=b"secret")
        self.assertNotEqual(self.password(b"ann").digest, self.password(b"bob").digest)

    def test_what_is_refused(self) -> None:
        """Each error is one line with the reason, and changes nothing."""
        self.path.write_bytes(b"bob:x\n")
        for words, typed, why in (
            (("FILE", "ann"), b"", "the password is empty"),
            (("FILE", "ann"), b"\nsecret", "the password is empty"),
            (("FILE", "ann"), b"\xff\n", "a password must be UTF-8 text"),
            (("FILE", "a:b"), b"x", "'a:b': a name cannot have colons, spaces or"),
            (("FILE", "a b"), b"x", "'a b': a name cannot have colons, spaces or"),
            (("FILE", "a\nb"), b"x", "'a\\nb': a name cannot have colons, spaces or"),
            (("FILE", "#ann"), b"x", "'#ann': a name cannot begin with #"),
            (("FILE", "a\udcff"), b"x", "'a\\udcff': a name cannot have"),
            (("/nowhere/x", "ann"), b"x", "/nowhere/x: No such file or directory"),
            ((".", "ann"), b"x", ".: Is a directory"),
            ((__file__, "ann"), b"x", f"{__file__}, line 3: must be NAME:HASH"),
        ):
            status, out, errors = self.run_program(*words, typed=typed)
            self.assertEqual((status, out), (1, ""))
            self.assertTrue(errors.startswith(f"netchat-passwd: {why}"), errors)
            self.assertEqual(errors.count("\n"), 1)
        self.assertEqual(self.path.read_bytes(), b"bob:x\n")

    def test_a_closed_input(self) -> None:
        """Is one line, and changes nothing."""
        errors = io.StringIO()
        self.patch(sys, "stdin", None)
        self.patch(sys, "stderr", errors)
        self.assertEqual(main([str(self.path), "ann"]), 1)
        self.assertEqual(
            errors.getvalue(),
            "netchat-passwd: the standard input is closed; it has no password\n",
        )
        self.assertFalse(self.path.exists())

    def test_an_interrupt(self) -> None:
        """Ctrl-C at the prompt changes nothing, and shows no traceback."""

        def interrupt(prompt: str) -> str:
            raise KeyboardInterrupt

        self.run_program("FILE", "ann", typed=["x", "x"])
        before = self.path.read_bytes()
        self.patch(sys, "stdin", Terminal(io.BytesIO()))
        self.patch(getpass, "getpass", interrupt)
        self.assertEqual(main([str(self.path), "ann"]), 130)
        self.assertEqual(self.path.read_bytes(), before)


class OtherTests(PasswdCase):
    def test_deleting(self) -> None:
        self.path.write_bytes(b"# c\nann:x\nbob:y\nann:z\n")
        done = self.run_program("-D", "FILE", "ann")
        self.assertEqual(done, (0, "FILE: ann: deleted\n", ""))
        self.assertEqual(self.path.read_bytes(), b"# c\nbob:y\n")
        done = self.run_program("FILE", "ann", "--delete")
        self.assertEqual(done, (1, "", "netchat-passwd: FILE: ann: there is no such account\n"))

    def test_deleting_from_no_file(self) -> None:
        """No file appears."""
        done = self.run_program("-D", "FILE", "ann")
        self.assertEqual(done, (1, "", "netchat-passwd: FILE: No such file or directory\n"))
        self.assertFalse(self.path.exists())

    def test_hashing_all(self) -> None:
        """Plain passwords are hashed, and hashes and comments stay."""
        self.path.write_bytes(b"# ann:c\n\nann:x:y\nbob:z  \n")
        done = self.run_program("--hash", "FILE")
        self.assertEqual(done, (0, "FILE: 2 passwords were hashed\n", ""))
        self.assertTrue(self.password(b"ann").matches(b"x:y"))
        self.assertTrue(self.password(b"bob").matches(b"z"))
        before = self.path.read_bytes()
        self.assertTrue(before.startswith(b"# ann:c\n\nann:$scrypt$"))
        done = self.run_program("--hash", "FILE")
        self.assertEqual(done, (0, "FILE: 0 passwords were hashed\n", ""))
        self.assertEqual(self.path.read_bytes(), before)

    def test_a_wrong_command(self) -> None:
        """A usage error has status 2, and the last line says why."""
        for words, why in (
            (("FILE",), "NAME is missing"),
            (("-D", "FILE"), "NAME is missing"),
            (("--hash", "FILE", "ann"), "--hash takes no NAME"),
            ((), "the following arguments are required: FILE"),
            (("--hash", "-D", "FILE"), "not allowed with argument"),
        ):
            status, out, errors = self.run_program(*words)
            self.assertEqual((status, out), (2, ""))
            self.assertIn(why, errors.splitlines()[-1])
        self.assertFalse(os.path.exists(self.path))
