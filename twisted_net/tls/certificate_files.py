"""The sources of certificates and keys: two files, a directory, or memory.

A directory may contain any of these:

- ``NAME/fullchain.pem`` and ``NAME/privkey.pem``, as in certbot's ``live`` directory, or these two
  files themselves;
- ``NAME.crt``, ``NAME.pem`` or ``NAME.cert``, and ``NAME.key`` beside it;
- ``NAME.pem`` with the key in it, as for HAProxy.

Symbolic links are followed. Other files are ignored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias

from twisted_net.tls.key_pairs import CertificateError, KeyPair, load_pair
from twisted_net.tls.passphrases import Passphrase, passphrase_bytes

Stamp: TypeAlias = tuple[object, ...]
"""A value that differs when files differ."""

_CHAIN, _KEY = "fullchain.pem", "privkey.pem"
_BESIDES = {_CHAIN, _KEY, "cert.pem", "chain.pem"}  # files in certbot's directories
_SUFFIXES = (".crt", ".pem", ".cert")


@dataclass(frozen=True, slots=True)
class Place:
    """The paths of a certificate and its key.

    :ivar name: its name in the log, and its sort key.
    """

    name: str
    cert: str
    key: str


class Source(Protocol):
    """The source of a server's certificates."""

    def find(self) -> list[Place]:
        """Return the places, sorted by name.

        :raises CertificateError: the source cannot be read.
        """

    def load(self, place: Place) -> KeyPair:
        """Read the certificate and key of a place.

        :raises CertificateError: they cannot be used.
        """

    def nothing(self, failures: Sequence[CertificateError]) -> CertificateError:
        """Return the error for a source without any usable certificate."""


class Fixed:
    """A certificate that is not in a file, such as one made for this run."""

    def __init__(self, pair: KeyPair, name: str) -> None:
        self._pair = pair
        self._place = Place(name, "", "")

    def find(self) -> list[Place]:
        return [self._place]

    def load(self, place: Place) -> KeyPair:
        return self._pair

    def nothing(self, failures: Sequence[CertificateError]) -> CertificateError:
        return failures[0]


class Files:
    """One certificate in a file, and its key in the same or another file."""

    def __init__(self, cert: str, key: str, passphrase: Passphrase | None = None) -> None:
        self._passphrase = partial(passphrase_bytes, passphrase)
        # Not resolved: a link may point elsewhere later. Absolute: twistd changes directories.
        self._place = Place(Path(cert).name, os.path.abspath(cert), os.path.abspath(key))

    def find(self) -> list[Place]:
        return [self._place]

    def load(self, place: Place) -> KeyPair:
        return load_pair(place.cert, place.key, self._passphrase)

    def nothing(self, failures: Sequence[CertificateError]) -> CertificateError:
        return failures[0]


class Directory:
    """A directory of certificates."""

    def __init__(self, path: str, passphrase: Passphrase | None = None) -> None:
        self._passphrase = partial(passphrase_bytes, passphrase)
        self.path = os.path.abspath(path)

    def find(self) -> list[Place]:
        try:
            names = sorted(os.listdir(self.path))
        except OSError as error:
            raise CertificateError.from_os("tls-dir", self.path, error) from None
        return sorted(self._places(names), key=lambda place: place.name)

    def load(self, place: Place) -> KeyPair:
        return load_pair(place.cert, place.key, self._passphrase)

    def nothing(self, failures: Sequence[CertificateError]) -> CertificateError:
        why = f": {failures[0].path}: {failures[0]}" if failures else ""
        return CertificateError("tls-dir", self.path, f"has no usable certificate{why}")

    def _places(self, names: list[str]) -> Iterator[Place]:
        if _CHAIN in names and _KEY in names:
            yield self._place(Path(self.path).name, _CHAIN, _KEY)
            names = [name for name in names if name not in _BESIDES]
        known = set(names)
        done = set()
        for name in names:
            stem, suffix = os.path.splitext(name)
            if name.startswith(".") or stem in done:
                continue
            if suffix in _SUFFIXES or suffix == ".key":
                done.add(stem)
                cert = next((stem + each for each in _SUFFIXES if stem + each in known), "")
                key = stem + ".key"
                if key not in known and cert == stem + ".pem":
                    key = cert
                # One of the two may be missing: reading it reports that.
                yield self._place(stem, cert or stem + _SUFFIXES[0], key)
            elif os.path.lexists(os.path.join(self.path, name, _CHAIN)) or os.path.lexists(
                os.path.join(self.path, name, _KEY)
            ):
                yield self._place(name, f"{name}/{_CHAIN}", f"{name}/{_KEY}")

    def _place(self, name: str, cert: str, key: str) -> Place:
        return Place(name, os.path.join(self.path, cert), os.path.join(self.path, key))


def stamp_of(path: str) -> Stamp:
    """Return a value that changes when a file changes. Links are followed.

    It includes the ctime, so a key that becomes readable counts as changed.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        return (path, error.errno)
    return (path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def stamp(source: Source, *more: str) -> Stamp:
    """Return a value that changes when any file of a source changes, appears or disappears.

    :param more: further files.
    """
    try:
        places = source.find()
    except CertificateError as error:
        return (str(error),)
    paths = [path for place in places for path in (place.cert, place.key)]
    return tuple(stamp_of(path) for path in (*paths, *more) if path)
