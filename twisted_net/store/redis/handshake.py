"""The beginning of a connection to Redis, and the question for Sentinel.

Both are generators: they yield commands, and are sent the replies. So the same steps serve a
connection and the check before the start.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

from twisted_net.store.redis.errors import RedisDamaged, RedisError, RedisReplyError
from twisted_net.store.redis.framing import RedisCommand
from twisted_net.store.redis.location import RedisLocation
from twisted_net.store.redis.scripts import SCRIPTS

Steps: TypeAlias = Generator[RedisCommand, Any, None]

OLDEST = (6, 2)
"""The oldest version that has everything: RESP3, ACL for channels, XTRIM MINID."""


def log_in(location: RedisLocation, name: str, *, with_scripts: bool = True) -> Steps:
    """Log in, and check that the server can be used.

    :param name: the connection's name, for ``CLIENT LIST``.
    :param with_scripts: whether to load the scripts, too.
    :raises RedisError: it cannot be used. The text says why.
    """
    hello: list[str | bytes | int] = ["HELLO", 3]
    if location.password:
        hello += ["AUTH", location.user or "default", location.password]
    reply = yield [*hello, "SETNAME", name]
    if isinstance(reply, RedisReplyError):
        raise _refusal(reply, location)
    if not isinstance(reply, dict) or reply.get(b"proto") != 3:
        raise RedisError("the server does not speak RESP3")
    if location.db:
        _check((yield ["SELECT", location.db]), f"there is no database {location.db}")
        # What was changed on its way has selected another one.
        client = yield ["CLIENT", "INFO"]
        _check(client, "the server does not tell which database was selected")
        if not isinstance(client, bytes) or b" db=%d " % location.db not in client:
            raise RedisDamaged("another database was selected than was asked for")
    info = yield ["INFO"]
    _check(info, "the server does not tell about itself")
    check_info(parse_info(info), location)
    for script in SCRIPTS if with_scripts else ():
        digest = yield ["SCRIPT", "LOAD", script.text]
        _check(digest, "scripts cannot be loaded")
        if digest != script.digest.encode():
            raise RedisDamaged("a script was changed on its way")


def find_primary(location: RedisLocation) -> Generator[RedisCommand, Any, tuple[str, int]]:
    """Ask a Sentinel where the primary is.

    :raises RedisError: it does not know.
    """
    service = location.service
    reply = yield ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", service]
    if reply is None:
        raise RedisError(f"Sentinel knows no service {service!r}")
    _check(reply, "Sentinel does not answer")
    try:
        host, port = reply
        return host.decode(), int(port)
    except (ValueError, TypeError, AttributeError):
        raise RedisError("Sentinel's answer is no address") from None


def parse_info(data: object) -> dict[str, str]:
    """Return what INFO says.

    :raises RedisError: this is not what INFO says.
    """
    if not isinstance(data, bytes):
        raise RedisError("the server does not tell about itself")
    lines = data.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and line[0] != "#")


def check_info(info: dict[str, str], location: RedisLocation) -> None:
    """Check that a server can be used.

    :raises RedisError: it is too old, a cluster, a replica, or not ready.
    """
    version = info.get("redis_version", "")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise RedisError(f"version {version or '?'} is too old; {needed} or later is needed")
    if info.get("cluster_enabled") == "1":
        raise RedisError("Redis Cluster is not supported; use a single Redis, or Sentinel")
    if info.get("loading", "0") != "0":
        raise RedisReplyError("LOADING")
    if info.get("role", "master") != "master":
        raise RedisReplyError("READONLY")


def _refusal(reply: RedisReplyError, location: RedisLocation) -> RedisError:
    if "unknown command" in reply.reply:
        needed = ".".join(map(str, OLDEST))
        return RedisError(f"the version is too old; {needed} or later is needed")
    if reply.code == "WRONGPASS":
        who = f"the user {location.user!r}" if location.user else "the default user"
        return RedisError(f"the password is wrong for {who}, or there is no such user (WRONGPASS)")
    if reply.code == "NOAUTH":
        return RedisError("a password is required; write user:password@ or :password@ (NOAUTH)")
    return reply


def _check(reply: object, problem: str) -> None:
    if isinstance(reply, RedisReplyError):
        if reply.code in ("LOADING", "READONLY", "MASTERDOWN", "NOPERM", "BUSY"):
            raise reply
        raise RedisError(f"{problem} ({reply})")
