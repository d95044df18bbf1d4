"""Whether the names of files that are open for long still lead to them."""

from __future__ import annotations

import os

from twisted_net.store.interface import StoreError


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
