"""Tests for :mod:`twisted_net.accounts.hashes` and ``password_file``."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.accounts.hashes import Cost, PasswordHash
from twisted_net.accounts.password_file import (
    PasswordFileError,
    changing,
    count_plain,
    read_accounts,
    rewrite,
)

CHEAP = Cost(ln=4, r=8, p=1)
"""A cost for tests."""


class HashTests(SynchronousTestCase):
    def test_rfc_7914(self) -> None:
        """The third test vector of RFC 7914, section 12: N = 16384."""
        digest = bytes.fromhex(
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
            "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
        )
        made = PasswordHash(Cost(14, 8, 1), b"SodiumChloride", digest)
        self.assertTrue(made.matches(b"pleaseletmein"))
        self.assertFalse(made.matches(b"pleaseletmeinn"))

    def test_passlib(self) -> None:
        """The example of passlib's documentation: its hashes can be moved here."""
        text = (
            "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q"
            "$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E"
        )
        made = PasswordHash.parse(text)
        self.assertTrue(made.matches(b"password"))
        self.assertEqual(str(made), text)

    def test_what_is_made_is_read(self) -> None:
        made = PasswordHash.make(b"secret", b"s" * 16, CHEAP)
        again = PasswordHash.parse(str(made))
        self.assertEqual(again, made)
        self.assertTrue(again.matches(b"secret"))
        for wrong in (b"", b"Secret", b"secret "):
            self.assertFalse(again.matches(wrong))

    def test_the_default_cost(self) -> None:
        """It is not lower than Colin Percival's recommendation for logins."""
        self.assertEqual(Cost().memory, 32 << 20)
        self.assertEqual(PasswordHash.make(b"x", b"s" * 16).cost, Cost())

    def test_what_is_no_hash(self) -> None:
        """A damaged hash, or one that would exhaust the machine, is refused."""
        good = str(PasswordHash.make(b"x", b"s" * 16, CHEAP))
        for text, why in (
            ("$scrypt$", "the hash is damaged"),
            (good + "=", "the hash is damaged"),
            (good.replace("$ln", "$n"), "the hash is damaged"),
            (good[:-27], "the hash is too short"),
            (good[:-2], "the hash is damaged"),
            (good.replace("ln=4", "ln=30"), "a cost that is not allowed: ln=30,r=8,p=1"),
            (good.replace("ln=4", "ln=0"), "a cost that is not allowed"),
            (good.replace("r=8", "r=0"), "a cost that is not allowed"),
            (good.replace("p=1", "p=99"), "a cost that is not allowed"),
        ):
            self.assertIn(why, str(self.assertRaises(ValueError, PasswordHash.parse, text)), text)


class FileCase(SynchronousTestCase):
    """Tests with a file."""

    def file(self, *lines: bytes) -> Path:
        path = Path(self.mktemp())
        path.write_bytes(b"\n".join(lines))
        return path


class ReadingTests(FileCase):
    def test_lines(self) -> None:
        """Hashes and plain passwords, with or without a last line end."""
        made = PasswordHash.make(b"x", b"s" * 16, CHEAP)
        path = self.file(
            *(b"# comment", b"", b"ann:" + str(made).encode() + b"\r", b"bob:pass:word  "),
            *(b"ann:second", "zo\xeb:\xe9".encode()),
        )
        accounts = read_accounts(str(path))
        self.assertEqual(accounts[b"ann"], made)
        self.assertEqual(accounts[b"bob"], b"pass:word")
        self.assertEqual(accounts["zo\xeb".encode()], "\xe9".encode())
        self.assertEqual((len(accounts), count_plain(accounts)), (3, 2))

    def test_wrong_lines(self) -> None:
        """The error has the line's number, and nothing that may be a password."""
        for line, why in (
            (b"secret", "must be NAME:HASH or NAME:PASSWORD"),
            (b":secret", "must be NAME:HASH or NAME:PASSWORD"),
            (b"ann:", "must be NAME:HASH or NAME:PASSWORD"),
            (b"ann:$scrypt$secret", "the hash is damaged"),
        ):
            path = str(self.file(b"bob:x", line))
            text = str(self.assertRaises(PasswordFileError, read_accounts, path))
            self.assertEqual(text, f"{path}, line 2: {why}")

    def test_files_that_cannot_be_read(self) -> None:
        for path, why in (("/nowhere/x", "No such file or directory"), (".", "Is a directory")):
            text = str(self.assertRaises(PasswordFileError, read_accounts, path))
            self.assertEqual(text, f"{path}: {why}")


class RewriteTests(FileCase):
    def test_a_new_file(self) -> None:
        """Its owner only may read it, whatever the umask is."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        path = self.mktemp()
        rewrite(path, lambda lines: [*lines, b"ann:x"])
        self.assertEqual(Path(path).read_bytes(), b"ann:x\n")
        self.assertEqual(os.stat(path).st_mode & 0o7777, 0o600)

    def test_a_file_keeps_its_owner_and_mode(self) -> None:
        """A service that is not root can still read a file that root has changed."""
        path = self.file(b"ann:x", b"bob:y")
        path.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(path, 12345, 12346)
        before = path.stat()
        rewrite(str(path), lambda lines: lines[1:])
        after = path.stat()
        self.assertEqual(path.read_bytes(), b"bob:y\n")
        self.assertNotEqual(after.st_ino, before.st_ino)
        for name in ("st_mode", "st_uid", "st_gid"):
            self.assertEqual(getattr(after, name), getattr(before, name))

    def test_a_link(self) -> None:
        """A link stays one; the file that it leads to is changed."""
        path, link = self.file(b"ann:x"), self.mktemp()
        os.symlink(path.absolute(), link)
        rewrite(link, lambda lines: [*lines, b"bob:y"])
        self.assertTrue(os.path.islink(link))
        self.assertEqual(path.read_bytes(), b"ann:x\nbob:y\n")

    def test_nothing_is_left_behind(self) -> None:
        """If it fails, the file is as it was, and no other file remains."""
        directory = Path(self.mktemp())
        directory.mkdir()
        path = directory / "users"
        path.write_bytes(b"ann:x\n")

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        for name in ("fsync", "replace"):
            with self.subTest(name):
                patch = self.patch(os, name, fail)
                text = str(
                    self.assertRaises(PasswordFileError, rewrite, str(path), lambda lines: [])
                )
                patch.restore()
                self.assertEqual(text, f"{path}: No space left on device")
                self.assertEqual(os.listdir(directory), ["users"])
                self.assertEqual(path.read_bytes(), b"ann:x\n")

    def test_a_foreign_file(self) -> None:
        """If the owner cannot be kept, nothing is changed."""

        def forbid(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        path = self.file(b"ann:x")
        self.patch(os, "fchmod", forbid)
        text = str(self.assertRaises(PasswordFileError, rewrite, str(path), lambda lines: []))
        self.assertEqual(text, f"{path}: belongs to another user, and must keep its owner")
        self.assertEqual(path.read_bytes(), b"ann:x")

    def test_one_at_a_time(self) -> None:
        """While one program changes a file, others wait."""
        path = self.file(b"ann:x")
        with changing(str(path)):
            other = os.open(path.parent, os.O_RDONLY)
            self.addCleanup(os.close, other)
            self.assertRaises(BlockingIOError, fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_no_directory(self) -> None:
        text = str(self.assertRaises(PasswordFileError, rewrite, "/nowhere/x", list))
        self.assertEqual(text, "/nowhere/x: No such file or directory")
