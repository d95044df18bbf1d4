"""Start a program with the sockets that systemd has passed to this service: see sd_listen_fds(3).

It is run as ``python launcher.py DESCRIPTORS PROGRAM ARGUMENTS...``. The sockets have to have the
numbers from 3 on, and ``LISTEN_PID`` has to be the program's own number: no other process can set
either. The other variables are set already.
"""

from __future__ import annotations

import fcntl
import os
import sys

_FIRST = 3


def main() -> None:
    """Give the sockets their numbers, and become the program."""
    numbers, *words = sys.argv[1:]
    # Others may have the numbers now, so copy all of them out of the way first.
    passed = [int(each) for each in numbers.split(",")]
    copies = [fcntl.fcntl(each, fcntl.F_DUPFD, 1000) for each in passed]
    for each in passed:
        os.close(each)
    for number, copy in enumerate(copies, _FIRST):
        os.dup2(copy, number)
        os.close(copy)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.execv(words[0], words)


if __name__ == "__main__":
    main()
