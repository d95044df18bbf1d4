"""Tests for :mod:`twisted_net.accounts.checker`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.accounts.test_password_file import CHEAP
from twisted_net.accounts import hashes
from twisted_net.accounts.checker import AT_ONCE, PasswordFileChecker, PasswordFileFactory
from twisted_net.accounts.hashes import Cost, PasswordHash
from twisted_net.accounts.password_file import PasswordFileError, account_line, rewrite

COSTLY = Cost(ln=5)


class CheckerCase(SynchronousTestCase):
    """Tests with a file of accounts, and threads that work when a test says so."""

    def setUp(self) -> None:
        self.jobs: list[tuple[Callable[[], bool], Deferred[bool]]] = []
        self.path = Path(self.mktemp())
        self.write(ann=b"secret-1", bob=b"secret-2")

    def write(self, **passwords: bytes) -> None:
        """Replace the file by one with hashes."""
        lines = [
            account_line(name.encode(), PasswordHash.make(password, name.encode() * 6, CHEAP))
            for name, password in passwords.items()
        ]
        rewrite(str(self.path), lambda _: lines)

    def in_thread(self, job: Callable[[], bool]) -> Deferred[bool]:
        result: Deferred[bool] = Deferred()
        self.jobs.append((job, result))
        return result

    def checker(self) -> PasswordFileChecker:
        return PasswordFileChecker(str(self.path), self.in_thread)

    def work(self) -> None:
        """Do all jobs."""
        while self.jobs:
            job, result = self.jobs.pop(0)
            result.callback(job())

    def ask(self, checker: PasswordFileChecker, name: bytes, password: bytes) -> Any:
        """Return the name if the password is right, otherwise None."""
        asked = checker.requestAvatarId(UsernamePassword(name, password))
        self.work()
        try:
            return self.successResultOf(asked)
        except self.failureException:
            return None


class CheckerTests(CheckerCase):
    def test_passwords(self) -> None:
        checker = self.checker()
        verifyObject(ICredentialsChecker, checker)
        self.assertEqual(self.ask(checker, b"ann", b"secret-1"), b"ann")
        for name, password in (
            (b"ann", b"secret-2"),
            (b"ann", b""),
            (b"Ann", b"secret-1"),
            (b"eve", b"secret-1"),
            (b"", b""),
            (b"ann", self.path.read_bytes().splitlines()[0].partition(b":")[2]),
        ):
            asked = checker.requestAvatarId(UsernamePassword(name, password))
            self.work()
            self.failureResultOf(asked, UnauthorizedLogin)

    def test_plain_text(self) -> None:
        """Plain passwords are checked too."""
        self.path.write_bytes(b"ann:pass:word\n")
        checker = self.checker()
        self.assertEqual((checker.plain, checker.names), (1, 1))
        self.assertEqual(self.ask(checker, b"ann", b"pass:word"), b"ann")
        for password in (b"pass", b"", b"pass:word "):
            self.assertIsNone(self.ask(checker, b"ann", password))
        self.assertIsNone(self.ask(checker, b"eve", b""))

    def test_not_in_the_reactors_thread(self) -> None:
        """Nothing is hashed when a login is asked for, and few are hashed at once."""
        checker = self.checker()
        asked = [
            checker.requestAvatarId(UsernamePassword(b"ann", b"secret-1"))
            for _ in range(3 * AT_ONCE)
        ]
        self.assertEqual(len(self.jobs), AT_ONCE)
        for each in asked:
            self.assertNoResult(each)
        job, result = self.jobs.pop(0)
        result.callback(job())
        self.assertEqual(len(self.jobs), AT_ONCE)  # the next one has begun
        self.assertEqual(self.successResultOf(asked[0]), b"ann")
        self.work()
        self.assertEqual([self.successResultOf(each) for each in asked[1:]], [b"ann"] * 5)

    def test_an_unknown_name_takes_as_long(self) -> None:
        """For any name and password, one hash of the same cost is made."""
        costs: list[Cost] = []
        scrypt = hashes._scrypt

        def count(password: bytes, salt: bytes, cost: Cost, length: int) -> bytes:
            costs.append(cost)
            return scrypt(password, salt, cost, length)

        self.patch(hashes, "_scrypt", count)
        checker = self.checker()
        for name in (b"ann", b"eve", b"", b"zoe"):
            self.ask(checker, name, b"wrong")
        self.assertEqual(costs, [CHEAP] * 4)

    def test_an_unknown_name_among_plain_ones(self) -> None:
        """A plain password takes as long as an unknown name: a hash is made for both."""
        costs: list[Cost] = []

        def count(password: bytes, salt: bytes, cost: Cost, length: int) -> bytes:
            costs.append(cost)
            return b"x" * length

        self.patch(hashes, "_scrypt", count)
        self.path.write_bytes(b"ann:pass\n")
        checker = self.checker()
        for name, password in ((b"ann", b"pass"), (b"ann", b"wrong"), (b"eve", b"pass")):
            self.ask(checker, name, password)
        self.assertEqual(costs, [Cost()] * 3)

    def test_several_costs(self) -> None:
        """In a file with hashes of several costs, an unknown name always has one of them."""
        costs: list[Cost] = []
        lines = [
            account_line(b"a", PasswordHash.make(b"x", b"s" * 16, CHEAP)),
            account_line(b"b", PasswordHash.make(b"x", b"s" * 16, COSTLY)),
        ]
        self.path.write_bytes(b"\n".join(lines))
        checker = self.checker()

        def count(password: bytes, salt: bytes, cost: Cost, length: int) -> bytes:
            costs.append(cost)
            return b"x" * length

        self.patch(hashes, "_scrypt", count)
        for number in range(64):
            for _ in range(2):
                self.ask(checker, b"%d" % number, b"x")
        self.assertEqual(costs[::2], costs[1::2])
        self.assertEqual(set(costs), {CHEAP, COSTLY})


class ChangesTests(CheckerCase):
    """Files that change while the service runs."""

    def test_a_changed_file(self) -> None:
        """New, changed and deleted accounts count from the next login on."""
        checker = self.checker()
        self.write(ann=b"new", eve=b"secret-3")
        self.assertIsNone(self.ask(checker, b"ann", b"secret-1"))
        self.assertIsNone(self.ask(checker, b"bob", b"secret-2"))
        self.assertEqual(self.ask(checker, b"ann", b"new"), b"ann")
        self.assertEqual(self.ask(checker, b"eve", b"secret-3"), b"eve")

    def test_a_file_that_cannot_be_read_any_more(self) -> None:
        """The accounts stay, with one line in the log; when it comes back, it counts."""
        checker = self.checker()
        for damage, why in (
            (self.path.unlink, "No such file or directory"),
            (lambda: self.path.write_bytes(b"secret\n"), "must be NAME:HASH or NAME:PASSWORD"),
        ):
            damage()
            with capturedLogs() as events:
                for _ in range(3):
                    self.assertEqual(self.ask(checker, b"ann", b"secret-1"), b"ann")
            lines = [eventAsText(each, includeTimestamp=False) for each in events]
            self.assertEqual(len(lines), 1, lines)
            self.assertIn(f"{why}; the accounts stay as they were", lines[0])
            self.assertNotIn("secret", lines[0])
        self.write(ann=b"new")
        self.assertEqual(self.ask(checker, b"ann", b"new"), b"ann")

    def test_another_directory(self) -> None:
        """A relative path still means the same file after a ``chdir``."""
        self.path = Path(os.path.relpath(self.path))
        checker = self.checker()
        self.write(ann=b"new")
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir("/")
        self.assertEqual(self.ask(checker, b"ann", b"new"), b"ann")

    def test_a_file_that_is_wrong_at_the_start(self) -> None:
        self.path.write_bytes(b"secret\n")
        self.assertRaises(PasswordFileError, self.checker)


class FactoryTests(CheckerCase):
    """``--auth file:PATH``."""

    def said(self) -> list[str]:
        """Make a checker for the file, and return the warnings, with ``FILE`` for its path."""
        with capturedLogs() as events:
            PasswordFileFactory().generateChecker(str(self.path))
        return [
            each["log_format"].format(**each).replace(str(self.path), "FILE") for each in events
        ]

    def test_hashes(self) -> None:
        """A file as ``netchat-passwd`` makes it has no warning."""
        self.assertEqual(self.said(), [])

    def test_warnings(self) -> None:
        """Plain passwords, and a file that everyone may read, have a warning each."""
        self.path.write_bytes(self.path.read_bytes() + b"eve:plain\n")
        self.path.chmod(0o644)
        self.assertEqual(
            self.said(),
            [
                "FILE: 1 of 3 passwords are in plain text; to hash them: "
                "netchat-passwd --hash FILE",
                "FILE: everyone may read the passwords; chmod 600",
            ],
        )
        self.path.chmod(0o640)
        self.assertEqual(len(self.said()), 1)

    def test_no_path(self) -> None:
        error = self.assertRaises(PasswordFileError, PasswordFileFactory().generateChecker, "")
        self.assertEqual(str(error), "requires the path of a file, as in file:users.txt")
