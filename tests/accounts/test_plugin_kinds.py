"""Tests for :mod:`twisted_net.accounts.plugin_kinds`."""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from twisted_net.accounts import plugin_kinds
from twisted_net.services.chat import Options
from twisted_net.services.starting import StartError


def checker_for(auth: str) -> Any:
    """Return the checker of a command line."""
    options = Options()
    options.parseOptions(["--auth", auth])
    (checker,) = options["credCheckers"]
    verifyObject(ICredentialsChecker, checker)
    return checker


class MemoryTests(SynchronousTestCase):
    """``--auth memory:NAME:PASSWORD:...``"""

    def login(self, checker: Any, name: str, password: str) -> Any:
        """Return the Deferred of a login, as the chat asks for it."""
        return checker.requestAvatarId(UsernamePassword(name.encode(), password.encode()))

    def test_a_login(self) -> None:
        """Each of the names gets in, with its password only."""
        checker = checker_for("memory:ann:secret:bøb:größer")
        for name, password in (("ann", "secret"), ("bøb", "größer")):
            self.assertEqual(
                self.successResultOf(self.login(checker, name, password)), name.encode()
            )
        for name, password in (("ann", "größer"), ("ann", ""), ("eve", "secret")):
            self.failureResultOf(self.login(checker, name, password), UnauthorizedLogin)

    def test_what_is_refused(self) -> None:
        """Without names, or with half a pair, nobody could log in: the start says so."""
        for auth in ("memory", "memory:"):
            error = self.assertRaises(StartError, checker_for, auth)
            self.assertEqual(
                str(error),
                "netchat: --auth memory: requires names and passwords, as in memory:ann:secret",
            )
        error = self.assertRaises(StartError, checker_for, "memory:ann")
        self.assertIn("--auth memory: ", str(error))


class UnixTests(SynchronousTestCase):
    """``--auth unix``"""

    def test_a_python_that_can(self) -> None:
        """The accounts of the machine are asked."""
        self.patch(plugin_kinds, "find_spec", lambda name: object())
        checker_for("unix")

    def test_a_python_that_cannot(self) -> None:
        """Nobody could log in: the start says so, and not each login."""
        self.patch(plugin_kinds, "find_spec", lambda name: None)
        error = self.assertRaises(StartError, checker_for, "unix")
        self.assertIn("--auth unix: requires the module crypt", str(error))


class OtherKindsTests(SynchronousTestCase):
    def test_they_check_no_passwords(self) -> None:
        """The other kinds of Twisted's are refused; without its extra ``conch``, one is unknown."""
        for kind in ("anonymous", "sshkey"):
            error = self.assertRaises(StartError, checker_for, kind)
            self.assertRegex(
                str(error),
                f"--auth {kind}: (does not check passwords|unknown kind of accounts); see",
            )
