"""What can go wrong with Redis. Every error is a StoreError: it may pass, so try again."""

from __future__ import annotations

from twisted_net.store.interface import StoreError

SENTENCES = {
    "READONLY": "Redis is a replica, which cannot be written to (READONLY)",
    "OOM": "the memory of Redis is full (OOM)",
    "MISCONF": "Redis cannot save its data, perhaps because its disk is full (MISCONF)",
    "NOREPLICAS": "too few replicas of Redis are connected (NOREPLICAS)",
    "LOADING": "Redis is loading its data (LOADING)",
    "MASTERDOWN": "Redis is a replica that has lost its primary (MASTERDOWN)",
    "BUSY": "Redis is busy with a script (BUSY)",
    "NOAUTH": "Redis requires a password (NOAUTH)",
    "WRONGPASS": "Redis refuses the user name or the password (WRONGPASS)",
    "WRONGTYPE": "a key of the store belongs to something else (WRONGTYPE)",
    "CLUSTERDOWN": "Redis runs as a cluster, which is not supported (CLUSTERDOWN)",
    "MOVED": "Redis runs as a cluster, which is not supported (MOVED)",
    "CROSSSLOT": "Redis runs as a cluster, which is not supported (CROSSSLOT)",
    "DAMAGED": "a command for Redis was changed on its way (DAMAGED)",  # from our own scripts
}
"""What the codes of error replies mean, for users."""

LASTING = frozenset(
    (
        *("READONLY", "OOM", "MISCONF", "NOREPLICAS", "LOADING", "MASTERDOWN", "BUSY"),
        *("NOAUTH", "NOPERM", "CLUSTERDOWN", "MOVED", "CROSSSLOT"),
    )
)
"""Codes that concern the whole server, and not a single key."""

WRONG_SERVER = frozenset(("READONLY", "LOADING", "MASTERDOWN", "NOAUTH"))
"""Codes after which a new connection is needed: perhaps another server is the primary now."""

_NO_COMMANDS = (
    *("unknown command", "unknown subcommand", "wrong number of arguments", "Protocol error"),
    *("value is not an integer", "Number of keys can't be"),
)


class RedisError(StoreError):
    """Redis, or the way to it, failed."""


class RedisUnavailable(RedisError):
    """There is no connection to Redis, or it was lost. It is not known what has been done."""


class RedisDamaged(RedisUnavailable):
    """Something was changed on its way to Redis, or from it. The connection is replaced."""


class TooManyCommands(RedisError):
    """Too many commands wait for their replies, or too many bytes of them."""


class RedisReplyError(RedisError):
    """Redis refused a command, with an error reply.

    :ivar code: the first word of the reply, such as ``"OOM"``.
    :ivar reply: the whole reply.
    """

    def __init__(self, reply: str) -> None:
        self.code = reply.split(" ", 1)[0]
        self.reply = reply
        super().__init__(_sentence(self.code, reply))


def ends_connection(error: RedisReplyError) -> bool:
    """Return whether a connection that gets this reply has to be replaced.

    A command that Redis does not understand was changed on its way: it understood those before.
    """
    if error.code == "ERR":
        return error.reply[4:].startswith(_NO_COMMANDS)
    return error.code in WRONG_SERVER or error.code == "DAMAGED"


def concerns_all(error: BaseException | None) -> bool:
    """Return whether an error is about Redis as a whole, and not about a single key."""
    if isinstance(error, RedisReplyError):
        return error.code in LASTING
    return isinstance(error, RedisUnavailable | TooManyCommands)


def _sentence(code: str, reply: str) -> str:
    if code == "ROOMS":  # from our own script
        return reply.partition(" ")[2]
    if code == "NOPERM":
        return f"the user of Redis lacks a permission ({single_line(reply)})"
    return SENTENCES.get(code) or f"Redis says: {single_line(reply)}"


def single_line(text: str, most: int = 200) -> str:
    """Return a text of the server as one line that is not too long."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}..."
