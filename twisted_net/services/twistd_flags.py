"""Checks twistd's own flags before twistd uses them.

A directory or a user that does not exist would otherwise be a traceback, and a daemon in a
``--chroot`` without ``dev/null`` would wait for ever.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pkgutil
import pwd
import stat
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Protocol

import twisted_net
from twisted_net.chat import unicode_names

_CAP_SETGID, _CAP_SETUID, _CAP_SYS_CHROOT = 6, 7, 18  # capabilities(7), linux/capability.h


_LEFT_OUT = {"twisted_net.testing"}


class System(Protocol):
    """What of the system a check asks for, apart from files."""

    def may(self, capability: int) -> bool:
        """Return whether this process has a capability."""

    def user_exists(self, uid: int) -> bool:
        """Return whether there is a user with this number."""


class ThisSystem:
    """The system that this process runs on."""

    def may(self, capability: int) -> bool:
        try:
            with open("/proc/self/status") as status:
                found = next(line for line in status if line.startswith("CapEff:"))
        except (OSError, StopIteration):  # not Linux
            return os.geteuid() == 0
        return bool(int(found.split()[1], 16) >> capability & 1)

    def user_exists(self, uid: int) -> bool:
        try:
            pwd.getpwuid(uid)
        except KeyError:
            return False
        return True


def check_twistd_flags(flags: Mapping[str, Any], system: System | None = None) -> None:
    """Check the flags that stand before the service's name.

    :param flags: those of ``twistd``. Those of ``twist`` need no check.
    :raises ValueError: twistd could not start. The text has the flag, its value and the reason.
    """
    if "pidfile" not in flags or "chroot" not in flags:
        return
    for problem in _problems(flags, system or ThisSystem()):
        raise ValueError(problem)


def load_everything() -> None:
    """Import and read what is imported and read late otherwise.

    In a new root, Python finds no modules, and another user may not be able to read them.
    """
    for module in pkgutil.walk_packages(twisted_net.__path__, f"{twisted_net.__name__}."):
        if module.name not in _LEFT_OUT:
            with contextlib.suppress(ImportError):  # for another system
                import_module(module.name)
    import_module("idna")  # joiners in names of the chat
    unicode_names.load()
    "localhost".encode("idna")  # names of hosts; a codec is a module too


def _problems(flags: Mapping[str, Any], system: System) -> Iterator[str]:
    """Find problems, in the order in which twistd would meet them."""
    daemon = not (flags["nodaemon"] or flags["debug"])
    yield from _problems_of_log(flags, daemon)
    root = flags["chroot"]
    if root is not None:
        yield from _problems_of_root(root, system)
    yield from _problems_of_directory(root, flags["rundir"])
    yield from _problems_of_pid_file(root, flags["pidfile"])
    yield from _problems_of_user(root, flags, system)


def _problems_of_log(flags: Mapping[str, Any], daemon: bool) -> Iterator[str]:
    name = flags["logfile"]
    if flags["syslog"] or flags["logger"] or name == "-" or not (name or daemon):
        return
    path = name or "twistd.log"
    why = why_not_written(path)
    if why:
        yield f"--logfile {path}: {why}" + ("" if name else "; name another file with --logfile")


def _problems_of_root(root: str, system: System) -> Iterator[str]:
    try:
        os.listdir(root)
    except OSError as error:
        yield f"--chroot {root}: {error.strerror}"
    if not system.may(_CAP_SYS_CHROOT):
        yield f"--chroot {root}: {os.strerror(errno.EPERM)}; only root may do it"
    device = os.path.join(root, "dev/null")
    # Twisted keeps it open in place of a connection that it has to reject, and gives it to daemons.
    if not os.path.exists(device):
        yield f"--chroot {root}: dev/null is missing there: mknod -m 666 {device} c 1 3"
    elif not stat.S_ISCHR(os.stat(device).st_mode):
        yield f"--chroot {root}: dev/null there is not a device: mknod -m 666 {device} c 1 3"


def _problems_of_directory(root: str | None, directory: str) -> Iterator[str]:
    where = _inside(root, "/" if root is not None and directory == "." else directory)
    try:
        os.listdir(where)
    except PermissionError:
        if not os.access(where, os.X_OK):
            yield f"--rundir {directory}: {os.strerror(errno.EACCES)}"
    except OSError as error:
        yield f"--rundir {directory}: {error.strerror}{_of(root)}"


def _problems_of_pid_file(root: str | None, path: str) -> Iterator[str]:
    if not path:
        return
    if os.path.isdir(path):  # twistd reads it, outside of the new root
        yield f"--pidfile {path}: {os.strerror(errno.EISDIR)}"
    elif os.path.exists(path) and not os.path.isfile(path):  # it would read a device without end
        yield f"--pidfile {path}: must be a regular file; write none with --pidfile="
    elif os.path.exists(path) and not os.access(path, os.R_OK):
        yield f"--pidfile {path}: {os.strerror(errno.EACCES)}"
    why = why_not_written(_inside(root, os.path.abspath(path)))
    if why:
        yield (
            f"--pidfile {path}: {why}{_of(root)}; name another file, or write none with --pidfile="
        )


def _problems_of_user(root: str | None, flags: Mapping[str, Any], system: System) -> Iterator[str]:
    uid, gid = flags["uid"], flags["gid"]
    own_uid, own_gid = (os.geteuid(), os.getegid()) if flags["euid"] else (os.getuid(), os.getgid())
    if uid is not None and uid != own_uid:
        if not system.may(_CAP_SETUID):
            yield f"--uid {uid}: {os.strerror(errno.EPERM)}; only root may change the user"
        if root is None and not system.user_exists(uid):
            yield f"--uid {uid}: there is no such user"
        yield from _problems_of_names(root, uid)
    if gid is not None and gid != own_gid and not system.may(_CAP_SETGID):
        yield f"--gid {gid}: {os.strerror(errno.EPERM)}; only root may change the group"


def _problems_of_names(root: str | None, uid: int) -> Iterator[str]:
    """Find a new root without the user: twistd looks there for the groups."""
    if root is None:
        return
    path = os.path.join(root, "etc/passwd")
    try:
        with open(path, "rb") as file:
            numbers = [line.split(b":")[2:3] for line in file]
    except OSError as error:
        yield f"--uid {uid}: {path}: {error.strerror}; twistd looks for the user there"
    else:
        if [b"%d" % uid] not in numbers:
            yield f"--uid {uid}: {path}: the user is missing there"


def why_not_written(path: str) -> str:
    """Return why a file cannot be opened to write, or ``""``. Nothing is made or changed."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return _why_not_made(os.path.dirname(path) or ".")
    except OSError as error:
        return error.strerror or str(error)
    if stat.S_ISDIR(found.st_mode):
        return os.strerror(errno.EISDIR)
    return _why_not(path, os.W_OK)


def _why_not_made(directory: str) -> str:
    try:
        found = os.stat(directory)
    except OSError as error:
        return error.strerror or str(error)
    if not stat.S_ISDIR(found.st_mode):
        return os.strerror(errno.ENOTDIR)
    return _why_not(directory, os.W_OK | os.X_OK)


def _why_not(path: str, mode: int) -> str:
    if os.access(path, mode, effective_ids=os.access in os.supports_effective_ids):
        return ""
    readonly = os.statvfs(path).f_flag & os.ST_RDONLY
    return os.strerror(errno.EROFS if readonly else errno.EACCES)


def _inside(root: str | None, path: str) -> str:
    """Return where a path leads to after the root has changed. Relative paths stay outside."""
    return root + path if root is not None and path.startswith("/") else path


def _of(root: str | None) -> str:
    return "" if root is None else f", in --chroot {root}"
