"""Facts about processes, sockets and cores, all from Linux's ``/proc`` and ``/sys``."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_LISTEN = "0A"  # the number of the state in /proc/net/tcp


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of the server, and the core of the load generator and this program."""

    server: int
    load: int


def choose_cores() -> Cores | None:
    """Return two cores, no siblings if possible, the last first: the first get interrupts. Return
    None if there is only one."""
    usable = sorted(os.sched_getaffinity(0), reverse=True)
    for other in usable[1:]:
        if other not in _siblings(usable[0]):
            return Cores(usable[0], other)
    return Cores(usable[0], usable[1]) if len(usable) > 1 else None


def _siblings(core: int) -> set[int]:
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    text = path.read_text() if path.exists() else ""
    found: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
        found.update(range(int(first), int(last or first) + 1))
    return found


def family(pid: int) -> Iterator[int]:
    """Yield a process and its descendants."""
    yield pid
    for children in (_PROC / str(pid) / "task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:
            continue
        for child in found:
            yield from family(int(child))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that the process, its threads and its descendants have used.

    ``schedstat`` counts nanoseconds; if the kernel lacks it, ``stat`` counts ticks of 10 ms.
    """
    return sum(_thread_seconds(task) for member in family(pid) for task in _tasks(member))


def _tasks(pid: int) -> list[Path]:
    try:
        return list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return []


def _thread_seconds(task: Path) -> float:
    try:
        return int((task / "schedstat").read_text().split()[0]) / 1e9
    except FileNotFoundError:
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK


def core_busy_seconds(core: int) -> float:
    """Return how long a core has been busy, including the hypervisor's other guests."""
    found = re.search(rf"^cpu{core} (.*)", (_PROC / "stat").read_text(), re.M)
    user, nice, system, _idle, _waiting, *more = map(int, found[1].split()) if found else [0] * 8
    return (user + nice + system + sum(more[:3])) / _TICK


def resident_bytes(pid: int) -> int:
    """Return the resident memory of the process and its descendants; shared pages count for
    each."""
    total = 0
    for member in family(pid):
        total += int((_PROC / str(member) / "statm").read_text().split()[1]) * _PAGE
    return total


def peak_resident_bytes(pid: int) -> int:
    """Return the most resident memory that the process has had since :func:`reset_peak`."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", (_PROC / str(pid) / "status").read_text(), re.M)
    return int(found[1]) * 1024 if found else 0


def reset_peak(pid: int) -> None:
    """Count the most resident memory of the process from now on."""
    (_PROC / str(pid) / "clear_refs").write_text("5")


def queued_bytes() -> int:
    """Return the kernel memory in TCP's queues, for both ends of all connections of this
    machine."""
    found = re.search(r"^TCP: .*\bmem (\d+)", (_PROC / "net/sockstat").read_text(), re.M)
    return int(found[1]) * _PAGE if found else 0


def slab_bytes() -> int:
    """Return the kernel memory of all objects, such as sockets, files and epoll's entries."""
    found = re.search(r"^Slab:\s+(\d+) kB", (_PROC / "meminfo").read_text(), re.M)
    return int(found[1]) * 1024 if found else 0


def listening_ports(pid: int) -> list[int]:
    """Return the TCP ports on which the process or a descendant listens, without reading its
    log."""
    inodes = {inode for member in family(pid) for inode in _socket_inodes(member)}
    ports: set[int] = set()
    for name in ("tcp", "tcp6"):
        path = _PROC / str(pid) / "net" / name
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if fields[3] == _LISTEN and fields[9] in inodes:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return sorted(ports)


def _socket_inodes(pid: int) -> Iterator[str]:
    try:
        links = list((_PROC / str(pid) / "fd").iterdir())
    except OSError:
        return
    for connection in links:
        try:
            found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(connection))
        except OSError:
            continue
        if found:
            yield found[1]


def describe() -> str:
    """Return a line about the machine, for readers of the figures."""
    text = (_PROC / "cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)", text, re.M)
    cores = len(os.sched_getaffinity(0))
    return (
        f"{model[1] if model else platform.machine()}, {cores} cores, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )
