"""Checks passwords with a file of accounts, for :mod:`twisted.cred`, in other threads."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.strcred import ICheckerFactory
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from zope.interface import implementer

from twisted_net.accounts.hashes import SALT_BYTES, Cost, PasswordHash
from twisted_net.accounts.password_file import (
    PasswordFileError,
    Secret,
    count_plain,
    read_accounts,
)

_log = Logger()

AT_ONCE = 2
"""Passwords that are checked at the same time, at most. Each takes 32 MiB and a processor for
about 0.1 seconds; the reactor's thread pool has 10 threads, which look up host names as well."""


class _State(NamedTuple):
    stamp: tuple[object, ...]
    accounts: Mapping[bytes, Secret]
    decoys: tuple[PasswordHash, ...]
    problem: str


@implementer(ICredentialsChecker)
class PasswordFileChecker:
    """Checks names and passwords with a file: see :mod:`twisted_net.accounts.password_file`.

    A file that has changed is read again at the next login. If it cannot be read then, for example
    because the process is no longer root, the accounts stay as they were, and the log says so.

    An unknown name takes as long as a known one, so nobody can find out which names exist.

    :param path: the file.
    :param in_thread: calls a function in another thread, and returns a Deferred of its result.
    :param salt: returns random bytes, as :func:`os.urandom` does.
    :raises PasswordFileError: the file cannot be used.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(
        self,
        path: str,
        in_thread: Callable[[Callable[[], bool]], Deferred[bool]] = deferToThread,
        salt: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.path = os.path.abspath(path)  # twistd changes directories
        self._in_thread = in_thread
        self._slots = DeferredSemaphore(AT_ONCE)
        self._decoy = PasswordHash(Cost(), salt(SALT_BYTES), salt(32))
        self._key = salt(SALT_BYTES)
        self._state = self._read(path)
        self._said = ""

    @property
    def names(self) -> int:
        """The number of accounts."""
        return len(self._state.accounts)

    @property
    def plain(self) -> int:
        """The number of passwords in plain text."""
        return count_plain(self._state.accounts)

    def requestAvatarId(self, credentials: IUsernamePassword) -> Deferred[bytes | tuple[()]]:
        """Check a password.

        :return: fires with the name; fails with :exc:`UnauthorizedLogin`.
        """
        name, password = credentials.username, credentials.password

        def checked(right: bool) -> bytes | tuple[()]:
            self._complain()
            if not right:
                raise UnauthorizedLogin("the name or the password is wrong")
            return name

        def check() -> bool:
            return self.verify(name, password)

        checking: Deferred[bool] = self._slots.run(self._in_thread, check)
        return checking.addCallback(checked)

    def verify(self, name: bytes, password: bytes) -> bool:
        """Return whether a password is right. It may be called in any thread, and takes long."""
        state = self._refreshed()
        secret = state.accounts.get(name)
        if isinstance(secret, PasswordHash):
            return secret.matches(password)
        self._decoy_for(name, state).matches(password)
        # Digests, because the comparison of two texts tells the length of the shorter one.
        given, right = (self._digest(each) for each in (password, secret or b""))
        return hmac.compare_digest(given, right) and secret is not None

    def _decoy_for(self, name: bytes, state: _State) -> PasswordHash:
        """Return a hash to spend the time on. A name always gets the same one."""
        number = int.from_bytes(self._digest(name)[:8], "big")
        return state.decoys[number % len(state.decoys)]

    def _digest(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self._key).digest()

    def _refreshed(self) -> _State:
        state = self._state
        if self._stamp() != state.stamp:
            # Two threads may do this at once; both find the same.
            try:
                state = self._read(self.path)
            except PasswordFileError as error:
                state = _State(self._stamp(), state.accounts, state.decoys, str(error))
            self._state = state
        return state

    def _read(self, path: str) -> _State:
        stamp = self._stamp()  # before the file: a change while it is read is seen later
        accounts = read_accounts(path)
        hashes = tuple(each for each in accounts.values() if isinstance(each, PasswordHash))
        return _State(stamp, accounts, hashes or (self._decoy,), "")

    def _stamp(self) -> tuple[object, ...]:
        try:
            found = os.stat(self.path)
        except OSError as error:
            return (error.errno,)
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def _complain(self) -> None:
        problem = self._state.problem
        if problem and problem != self._said:
            _log.warn("{problem}; the accounts stay as they were", problem=problem)
        self._said = problem


@implementer(ICheckerFactory)
class PasswordFileFactory:
    """``--auth file:PATH`` of our services. It reads what Twisted's own kind ``file`` reads, and
    hashes as well."""

    authType = "file"
    authHelp = """
A file with a line NAME:HASH for each account. The program netchat-passwd makes it:

    netchat-passwd users.txt ann

Lines of NAME:PASSWORD, in plain text, are read too, with a warning.
netchat-passwd --hash users.txt hashes them. A file that has changed is read again
at the next login.
"""
    argStringFormat = "path of a file of accounts, made by netchat-passwd"
    credentialInterfaces = (IUsernamePassword,)

    def generateChecker(self, argstring: str) -> PasswordFileChecker:
        """Return the checker for a file.

        :raises PasswordFileError: the file cannot be used.
        """
        if not argstring:
            raise PasswordFileError("requires the path of a file, as in file:users.txt")
        checker = PasswordFileChecker(argstring)
        if checker.plain:
            _log.warn(
                "{path}: {plain} of {names} passwords are in plain text; to hash them: "
                "netchat-passwd --hash {path}",
                path=argstring,
                plain=checker.plain,
                names=checker.names,
            )
        if os.stat(checker.path).st_mode & 0o004:
            _log.warn("{path}: everyone may read the passwords; chmod 600", path=argstring)
        return checker
