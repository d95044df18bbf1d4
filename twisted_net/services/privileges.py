"""Says at the start what a service cannot do any more once it has given up its privileges."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.logger import Logger

from twisted_net.tls.certificate_files import Directory
from twisted_net.tls.key_pairs import CertificateError

_log = Logger()


@dataclass(slots=True)
class FilesInUse:
    """The files that a service uses later, after twistd has changed the user or the root.

    :ivar privileges: the flags of twistd that change them, such as ``--uid 65534``.
    :ivar rotated: log files.
    :ivar removed: files that go when the service stops.
    :ivar read_again: files that are read again when they change.
    :ivar directories: directories of such files.
    """

    privileges: str = ""
    rotated: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    read_again: list[str] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)

    @classmethod
    def of_twistd(cls, flags: Mapping[str, Any]) -> FilesInUse:
        """Return the files of twistd itself.

        :param flags: those of ``twistd``. Those of ``twist`` cannot change user or root.
        """
        found = cls()
        changes = [each for each in ("chroot", "uid", "gid") if flags.get(each) is not None]
        found.privileges = " ".join(f"--{each} {flags[each]}" for each in changes)
        if not changes:
            return found
        daemon = not (flags["nodaemon"] or flags["debug"])
        log = flags["logfile"] or ("twistd.log" if daemon else "-")
        if log != "-" and not (flags["syslog"] or flags["logger"]):
            found.rotated.append(os.path.abspath(log))
        if flags["pidfile"]:
            found.removed.append(os.path.abspath(flags["pidfile"]))
        return found

    def problems(self) -> Iterator[str]:
        """Check the files with the privileges that the process has now."""
        for path in self.rotated:
            if not (_may(path, os.W_OK) and _may(os.path.dirname(path), os.W_OK)):
                yield f"{path} cannot be rotated, and grows"
        for path in self.removed:
            if not _may_remove(path):
                yield f"{path} cannot be removed at the end"
        unreadable = [path for path in self._all_read_again() if not _may(path, os.R_OK)]
        for path in dict.fromkeys(unreadable):
            yield f"{path} cannot be read again when it changes"

    def warn(self) -> None:
        """Log one line if there are problems."""
        problems = list(self.problems()) if self.privileges else []
        if problems:
            _log.warn(
                "With {privileges}: {problems}",
                privileges=self.privileges,
                problems="; ".join(problems),
            )

    def _all_read_again(self) -> Iterator[str]:
        yield from self.read_again
        for path in self.directories:
            try:
                places = Directory(path).find()
            except CertificateError:
                yield path
            else:
                for place in places:
                    yield from (place.cert, place.key)


def _may(path: str, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _may_remove(path: str) -> bool:
    directory = os.path.dirname(path)
    if not _may(directory, os.W_OK | os.X_OK):
        return False
    try:
        above, file = os.stat(directory), os.lstat(path)
    except OSError:
        return False
    # In a directory such as /tmp, only the owner may.
    sticky = bool(above.st_mode & stat.S_ISVTX)
    return not sticky or os.geteuid() in (0, file.st_uid, above.st_uid)
