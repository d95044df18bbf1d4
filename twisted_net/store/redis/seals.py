"""Seals: checksums that show whether bytes were changed on their way to Redis, or back.

Scripts check the seals of commands, and seal what they answer and publish; see
:mod:`~twisted_net.store.redis.script`. The checksum is SHA-1, which is the only one that a script
of Redis can compute at the speed of C. It is no protection from somebody who can write to Redis.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import Any

from twisted_net.store.redis.errors import RedisDamaged

_SEAL_SIZE = 40


def seal_command(keys: Sequence[bytes], arguments: Sequence[str | bytes | int]) -> list[bytes]:
    """Return the arguments of a script, as bytes, and at the end their seal."""
    sealed = [
        each if type(each) is bytes else b"%d" % each if type(each) is int else each.encode()  # type: ignore[union-attr]
        for each in arguments
    ]
    sealed.append(seal_of(b"\n".join([*keys, *(sealed or [b""])])))
    return sealed


def open_reply(seal: bytes, reply: Any) -> list[bytes]:
    """Return the items of a script's reply.

    :param seal: of the command.
    :raises RedisDamaged: its own seal is wrong, or it is the reply to another command.
    """
    try:
        if reply[0] == seal_of(b"\n".join([seal, *(reply[1:] or [b""])])):
            items: list[bytes] = reply[1:]
            return items
    except (TypeError, IndexError, KeyError):  # it is not even a list of bytes
        pass
    raise RedisDamaged("a reply of Redis was changed on its way")


def open_published(channel: bytes, data: bytes) -> bytes:
    """Return what a script has published.

    :raises RedisDamaged: the seal is wrong.
    """
    content = data[_SEAL_SIZE:]
    if data[:_SEAL_SIZE] != seal_of(channel + b"\n" + content):
        raise RedisDamaged("what Redis published was changed on its way")
    return content


def seal_of(data: bytes) -> bytes:
    """Return the seal of some bytes."""
    return sha1(data).hexdigest().encode()
