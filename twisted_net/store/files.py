"""Files that are open for long: who uses them, and whether their names still lead to them."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import ClassVar

from twisted_net.store.interface import StoreError


def closed_directory(path: str) -> str:
    """Say which directory keeps this process from a file; return an empty text if none does.

    It is the first one on the way that cannot be entered, or else that of the file if nothing can
    be made in it. The system's errors name only the file, to which its user may have every right.
    """
    # The effective user is the one that opens files: with twistd's --euid, it is not the real one.
    effective = os.access in os.supports_effective_ids
    directory = Path(os.path.realpath(path)).parent
    for each in (*reversed(directory.parents), directory):
        if not os.access(each, os.X_OK, effective_ids=effective):
            return f"{each} cannot be entered"
    if not os.access(directory, os.W_OK, effective_ids=effective):
        return f"its directory cannot be written: {directory}"
    return ""


class FileLock:
    """Keeps other processes, and other objects in this one, from using a file as well.

    It is an flock(2) of the file itself, which SQLite does not see: programs that only copy the
    file are not kept waiting. The file must stay locked as long as SQLite has it open: closing any
    descriptor of a file ends all fcntl(2) locks that this process has on it, and SQLite's are
    such. So a file that this process has locked already is not opened again.

    :param path: the file, which exists. A link leads to the real file.
    :raises StoreError: it is locked.
    :raises OSError: it cannot be opened.
    """

    _ours: ClassVar[set[tuple[int, int]]] = set()

    def __init__(self, path: str) -> None:
        found = os.stat(path)
        self._key = found.st_dev, found.st_ino
        if self._key in self._ours:
            raise StoreError("this process uses it already")
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            if error.errno != errno.EWOULDBLOCK:
                raise
            raise StoreError("another process uses it") from None
        self._ours.add(self._key)

    def release(self) -> None:
        """Let others use the file. It may be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._ours.discard(self._key)
            os.close(descriptor)


class OpenFiles:
    """Notices when one of several files in a directory is removed or replaced.

    What is written to such a file is lost when the process ends, and the system reports no error.
    The files are looked up from their open directory, so that a later ``chdir`` or ``chroot`` of
    the process does not matter.

    :param path: the file. A link leads to the real file, and to what is beside that.
    :param suffixes: of the other files, whose names begin as that of the file does.
    :raises OSError: one of the files, or the directory, cannot be looked up.
    """

    def __init__(self, path: str, *suffixes: str) -> None:
        directory, name = os.path.split(os.path.realpath(path))
        self._directory = os.open(directory, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            self._known = {each: self._look(each) for each in (name, *map(name.__add__, suffixes))}
        except OSError:
            self.close()
            raise

    def check(self) -> None:
        """Do nothing if every file is in its place.

        :raises StoreError: a file is not; the text names it.
        """
        for name, known in self._known.items():
            try:
                found = self._look(name)
            except FileNotFoundError:
                raise StoreError(f"{name} was removed while it was open") from None
            except OSError:  # for example, this user may no longer search the directory
                continue
            if found != known:
                raise StoreError(f"{name} was replaced while it was open")

    def close(self) -> None:
        """Stop watching. It may be called twice."""
        directory, self._directory = self._directory, -1
        if directory >= 0:
            os.close(directory)

    def _look(self, name: str) -> tuple[int, int]:
        found = os.stat(name, dir_fd=self._directory)
        return found.st_dev, found.st_ino
