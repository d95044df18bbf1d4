"""Who changes user and root directory: the workers, not the supervisor."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

_PASSED_ON = ("rundir", "chroot", "uid", "gid", "umask")


def twistd_flags(flags: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the flags of ``twistd`` that a worker gets, but for the reactor.

    :param flags: those of the supervisor, before :func:`keep_privileges`.
    """
    found = []
    for flag in _PASSED_ON:
        value = flags.get(flag)
        if value is not None and (flag, value) != ("rundir", "."):
            found.append(f"--{flag}={value:o}" if flag == "umask" else f"--{flag}={value}")
    if flags.get("euid"):
        found.append("--euid")
    return tuple(found)


def keep_privileges(flags: MutableMapping[str, Any]) -> None:
    """Let the supervisor keep its user and its root directory.

    It starts workers later, too, which takes both.

    :param flags: those of its ``twistd``, which has not used them yet.
    """
    for flag in ("chroot", "uid", "gid"):
        if flags.get(flag) is not None:
            flags[flag] = None
    if flags.get("euid"):
        flags["euid"] = 0
