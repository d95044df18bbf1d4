"""A file of accounts: lines of ``NAME:HASH``. ``NAME:PASSWORD`` in plain text is read as well.

Empty lines, and lines that begin with ``#``, are comments.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from twisted_net.accounts.hashes import PREFIX, PasswordHash

Secret: TypeAlias = PasswordHash | bytes
"""A hash, or a password in plain text."""

LARGEST_FILE = 64 << 20
"""The most bytes in a file: about half a million accounts."""


class PasswordFileError(ValueError):
    """A file of accounts cannot be used. The text has its path and the reason."""


def read_accounts(path: str) -> dict[bytes, Secret]:
    """Return the accounts of a file, by name. If a name is there twice, the first line counts.

    :raises PasswordFileError: the file cannot be read, or a line is wrong. The error never has
        more of a line than the name: the rest may be a password.
    """
    accounts: dict[bytes, Secret] = {}
    for number, line in enumerate(_read(path).splitlines(), 1):
        entry = line.rstrip()  # as Twisted's FilePasswordDB does
        if not entry or entry.startswith(b"#"):
            continue
        name, colon, secret = entry.partition(b":")
        if not name or not colon or not secret:
            raise PasswordFileError(f"{path}, line {number}: must be NAME:HASH or NAME:PASSWORD")
        try:
            accounts.setdefault(name, _secret(secret))
        except ValueError as error:
            raise PasswordFileError(f"{path}, line {number}: {error}") from None
    return accounts


def count_plain(accounts: Mapping[bytes, Secret]) -> int:
    """Return how many passwords are in plain text."""
    return sum(isinstance(each, bytes) for each in accounts.values())


def _secret(secret: bytes) -> Secret:
    if not secret.startswith(PREFIX.encode()):
        return secret
    return PasswordHash.parse(secret.decode(errors="replace"))


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise PasswordFileError(f"{path}: {error.strerror}") from None
    if len(data) > LARGEST_FILE:
        raise PasswordFileError(f"{path}: must have at most {LARGEST_FILE} bytes")
    return data


def account_line(name: bytes, secret: Secret) -> bytes:
    """Return the line of an account, without its end."""
    return name + b":" + (secret if isinstance(secret, bytes) else str(secret).encode())


def name_of(line: bytes) -> bytes:
    """Return the name in a line; empty if it is a comment."""
    return b"" if line.startswith(b"#") else line.partition(b":")[0]


@contextlib.contextmanager
def changing(path: str) -> Iterator[str]:
    """Keep other programs that change a file in the same directory waiting.

    :return: the real path of the file, if it is a link.
    :raises PasswordFileError: there is no such directory.
    """
    real = os.path.realpath(path)
    try:
        directory = os.open(os.path.dirname(real), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise PasswordFileError(f"{path}: {error.strerror}") from None
    try:
        # The directory, because the file itself is replaced by another one.
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield real
    finally:
        os.close(directory)


def rewrite(path: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the lines of a file at once. Whoever reads it sees either all changes or none.

    A file that exists keeps its owner and mode. A new one has mode 0600.

    :param change: gets the lines, without their ends, and returns the new ones.
    :raises PasswordFileError: the file cannot be read or written.
    """
    with changing(path) as real:
        try:
            before = os.stat(real)
        except FileNotFoundError:
            before, lines = None, []
        except OSError as error:
            raise PasswordFileError(f"{path}: {error.strerror}") from None
        else:
            lines = _read(path).splitlines()
        data = b"".join(line + b"\n" for line in change(lines))
        try:
            _replace(real, data, before)
        except OSError as error:
            raise PasswordFileError(f"{path}: {_why(error, before)}") from None


def _replace(path: str, data: bytes, before: os.stat_result | None) -> None:
    directory = os.path.dirname(path)
    descriptor, temporary = tempfile.mkstemp(prefix=".passwd-", dir=directory)  # mode 0600
    try:
        with open(descriptor, "wb") as file:
            if before is not None:
                mine = os.fstat(file.fileno())
                if (mine.st_uid, mine.st_gid) != (before.st_uid, before.st_gid):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), before.st_mode & 0o7777)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _why(error: OSError, before: os.stat_result | None) -> str:
    if error.errno == errno.EPERM and before is not None:
        return "belongs to another user, and must keep its owner"
    return error.strerror or str(error)
