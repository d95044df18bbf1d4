"""Passphrases of private keys: from a file, from the environment, or from the program.

Never from a command line, which every user of the machine can read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from twisted_net.tls.key_pairs import CertificateError

Passphrase: TypeAlias = str | bytes | Callable[[], str | bytes]
"""A passphrase, or a function that returns it each time that a key is read."""

FILE, ENVIRONMENT = "key-passphrase-file", "key-passphrase-env"
"""The settings, as errors name them."""


def passphrase_from_file(path: str) -> Callable[[], bytes]:
    """Return a function that reads the passphrase: the first line of a file, as in OpenSSL.

    The function raises :exc:`CertificateError` if the file cannot be read or is empty.
    """
    absolute = os.path.abspath(path)  # twistd changes directories

    def read() -> bytes:
        try:
            first = Path(absolute).read_bytes().partition(b"\n")[0].removesuffix(b"\r")
        except OSError as error:
            raise CertificateError.from_os(FILE, path, error) from None
        if not first:
            raise CertificateError(FILE, path, "has no passphrase in its first line", passing=True)
        return first

    return read


def passphrase_from_environment(name: str) -> Callable[[], bytes]:
    """Return a function that reads the passphrase from a variable of the environment.

    The function raises :exc:`CertificateError` if there is no such variable, or it is empty.
    """

    def read() -> bytes:
        value = os.environb.get(os.fsencode(name))
        if not value:
            raise CertificateError(ENVIRONMENT, name, "is not set in the environment")
        return value

    return read


def passphrase_bytes(passphrase: Passphrase | None) -> bytes | None:
    """Return the passphrase itself; None if there is none.

    :raises TypeError: it is neither text nor bytes.
    """
    found = passphrase() if callable(passphrase) else passphrase
    if not isinstance(found, str | bytes | None):
        raise TypeError(f"a passphrase must be str or bytes, not {type(found).__name__}")
    return found.encode() if isinstance(found, str) else found
