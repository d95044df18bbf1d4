"""Kinds of accounts of Twisted's plugins that cannot be used as they are."""

from __future__ import annotations

from importlib.util import find_spec

from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.plugins.cred_memory import InMemoryCheckerFactory
from twisted.plugins.cred_unix import UNIXChecker, UNIXCheckerFactory


class UnusableKind(Exception):
    """Nobody could log in. The text says why."""


class MemoryFactory(InMemoryCheckerFactory):
    """``--auth memory:NAME:PASSWORD:...`` of our services.

    Twisted's own keeps the words of the command line as text, and each login has bytes, so it never
    lets anybody in.
    """

    def generateChecker(self, argstring: str) -> ICredentialsChecker:
        """Return the checker for names and passwords.

        :raises UnusableKind: there is no name.
        """
        if not argstring:
            raise UnusableKind("requires names and passwords, as in memory:ann:secret")
        given: InMemoryUsernamePasswordDatabaseDontUse
        given = super().generateChecker(argstring)  # type: ignore[no-untyped-call]
        checker = InMemoryUsernamePasswordDatabaseDontUse()
        for name, password in given.users.items():
            checker.addUser(_as_bytes(name), _as_bytes(password))
        return checker


class UnixFactory(UNIXCheckerFactory):
    """``--auth unix`` of our services: the accounts of the machine."""

    def generateChecker(self, argstring: str) -> UNIXChecker:
        """Return the checker.

        :raises UnusableKind: Python cannot check the passwords of the machine.
        """
        if find_spec("crypt") is None:
            raise UnusableKind("requires the module crypt, which Python has not had since 3.13")
        return UNIXChecker()


def _as_bytes(word: str | bytes) -> bytes:
    # What is no UTF-8 on the command line is surrogates here, and the same bytes again.
    return word if isinstance(word, bytes) else word.encode(errors="surrogateescape")
