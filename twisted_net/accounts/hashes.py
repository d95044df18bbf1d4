"""Hashes of passwords, by scrypt (RFC 7914), in the PHC string format that passlib uses too."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass

PREFIX = "$scrypt$"
"""What every hash begins with."""

SALT_BYTES = 16
"""Bytes of a new salt, as RFC 7914 and NIST SP 800-132 recommend."""

_HASH_BYTES = 32
_MOST_MEMORY = 1 << 28  # bytes for one hash; a damaged file must not exhaust the machine
_MOST_PARALLEL = 16

_FORM = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a hash costs: ``128 * r * 2**ln`` bytes, and time in proportion to that and ``p``.

    The default takes 32 MiB and about 0.1 seconds: what the author of scrypt recommended in 2017
    for logins. It is a compromise: after a restart, everyone logs in at once.
    """

    ln: int = 15
    r: int = 8
    p: int = 1

    @property
    def memory(self) -> int:
        """Bytes."""
        return 128 * self.r << self.ln


DEFAULT_COST = Cost()


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """A hash, with what it takes to compare a password."""

    cost: Cost
    salt: bytes
    digest: bytes

    @classmethod
    def make(cls, password: bytes, salt: bytes, cost: Cost | None = None) -> PasswordHash:
        """Hash a password.

        :param salt: random bytes, different each time.
        """
        cost = cost or DEFAULT_COST
        return cls(cost, salt, _scrypt(password, salt, cost, _HASH_BYTES))

    @classmethod
    def parse(cls, text: str) -> PasswordHash:
        """Return the hash that a text stands for.

        :raises ValueError: the text is no hash, or one that takes too much memory or time.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError("the hash is damaged")
        ln, r, p = (int(each) for each in found.groups()[:3])
        cost = Cost(ln, r, p)
        if not (ln and r and 0 < p <= _MOST_PARALLEL and cost.memory <= _MOST_MEMORY):
            raise ValueError(f"the hash has a cost that is not allowed: ln={ln},r={r},p={p}")
        try:
            salt, digest = (_decode(each) for each in found.groups()[3:])
        except ValueError:
            raise ValueError("the hash is damaged") from None
        if len(digest) < SALT_BYTES:
            raise ValueError("the hash is too short")
        return cls(cost, salt, digest)

    def __str__(self) -> str:
        cost = self.cost
        parameters = f"ln={cost.ln},r={cost.r},p={cost.p}"
        return f"{PREFIX}{parameters}${_encode(self.salt)}${_encode(self.digest)}"

    def matches(self, password: bytes) -> bool:
        """Return whether this is the hash of a password. It takes as long for each password."""
        found = _scrypt(password, self.salt, self.cost, len(self.digest))
        return hmac.compare_digest(found, self.digest)


def _scrypt(password: bytes, salt: bytes, cost: Cost, length: int) -> bytes:
    # OpenSSL counts a little more than the definition does.
    memory = cost.memory + 128 * cost.r * (cost.p + 2) + (1 << 16)
    return hashlib.scrypt(
        password, salt=salt, n=1 << cost.ln, r=cost.r, p=cost.p, maxmem=memory, dklen=length
    )


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
