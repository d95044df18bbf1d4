"""The servers: how each is started, and why one must be left out."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.build import HERE, Built
from benchmarks.cases import FORMS, WORKS, Case

ROOT = HERE.parent
_PEERS = HERE / "peers"


@dataclass(frozen=True, slots=True)
class Setup:
    """The inputs for the servers' command lines.

    :ivar reactor: for our servers; empty means Twisted's default.
    :ivar extra: further options for our servers.
    """

    built: Built
    reactor: str = ""
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to measure.

    :ivar command: its command line for a case.
    :ivar absent: why it cannot run at all ("node is not installed"), or an empty string.
    :ivar cannot: why it does not support this case, or an empty string.
    :ivar services: the services for which it has a row.
    :ivar works: the works for which it has a row; empty means all of its services.
    :ivar forms: the forms of the members of a chat for which it has a row.
    :ivar speaks: the form that its members speak if it is not the form of the case.
    :ivar usual: whether it is measured by default.
    """

    name: str
    title: str
    command: Callable[[Case, Setup], list[str]]
    absent: Callable[[], str]
    cannot: Callable[[Case], str]
    services: tuple[str, ...] = ("chat", "echo")
    works: tuple[str, ...] = ()
    forms: tuple[str, ...] = ("text", "json")
    speaks: str = ""
    usual: bool = True

    def has_row(self, case: Case) -> bool:
        """Whether the table of a case names it."""
        if _service(case) not in self.services or (self.works and case.work not in self.works):
            return False
        return _service(case) == "echo" or case.form in self.forms


def _service(case: Case) -> str:
    return WORKS[case.work].service


def _present() -> str:
    return ""


def _module(name: str) -> Callable[[], str]:
    def absent() -> str:
        return "" if importlib.util.find_spec(name) else f"{name} is not installed"

    return absent


# Ours.


def twistd_command(reactor: str) -> list[str]:
    """Return the command line of ``twistd``, up to the name of the service.

    :param reactor: empty means Twisted's default.
    """
    beside = Path(sys.executable).parent / "twistd"
    twistd = str(beside) if beside.exists() else shutil.which("twistd") or "twistd"
    chosen = ["--reactor", reactor] if reactor else []
    return [sys.executable, twistd, *chosen, "--pidfile=", "--nodaemon"]


def _ours_command(case: Case, setup: Setup) -> list[str]:
    command = [*twistd_command(setup.reactor), "net" + _service(case)]
    if case.tls:
        files = ["--cert", str(setup.built.cert), "--key", str(setup.built.key)]
        command += ["--tls-port", "0", *files]
    else:
        command += ["--port", "0"]
    command += ["--interface", "127.0.0.1"]
    if case.work == "idle":
        command += ["--idle-timeout", "300"]  # on, and longer than any window
    if case.work == "acked":
        database = setup.built.directory / "store.sqlite"
        command += ["--store", f"sqlite:{database}" if case.store == "sqlite:" else case.store]
    return [*command, *setup.extra]


def _notable_command(case: Case, setup: Setup) -> list[str]:
    return [*_ours_command(case, setup), "--log-ends", "notable"]


def _any_case(case: Case) -> str:
    return ""


# The peers.


def _c_command(*style: str) -> Callable[[Case, Setup], list[str]]:
    def command(case: Case, setup: Setup) -> list[str]:
        if _service(case) == "echo":
            return [str(setup.built.echo)]
        frames = ["websocket"] if case.form == "websocket" else []
        return [str(setup.built.chat), *style, *frames]

    return command


def _c_cannot(case: Case) -> str:
    if case.tls:
        return "the peers in C have no TLS"
    return "the peers in C have no JSON" if case.form == "json" else ""


def _common(case: Case, setup: Setup) -> list[str]:
    """Return the options that the scripts in ``peers/`` share."""
    tls = ["--tls", str(setup.built.cert), str(setup.built.key)] if case.tls else []
    return [_service(case), *(["--json"] if case.form == "json" else []), *tls]


def _node_command(*more: str) -> Callable[[Case, Setup], list[str]]:
    def command(case: Case, setup: Setup) -> list[str]:
        return ["node", str(_PEERS / "node_server.js"), *_common(case, setup), *more]

    return command


def _node_absent() -> str:
    return "" if shutil.which("node") else "node is not installed"


def _script(name: str, *more: str) -> Callable[[Case, Setup], list[str]]:
    def command(case: Case, setup: Setup) -> list[str]:
        return [sys.executable, str(_PEERS / name), *_common(case, setup), *more]

    return command


def _bare_command(case: Case, setup: Setup) -> list[str]:
    reactor = ["--reactor", setup.reactor] if setup.reactor else []
    return [sys.executable, str(_PEERS / "our_server.py"), *reactor]


def _ws_command(case: Case, setup: Setup) -> list[str]:
    return ["node", str(setup.built.ws / "server.js")]


def _library(name: str) -> Callable[[Case, Setup], list[str]]:
    def command(case: Case, setup: Setup) -> list[str]:
        return [sys.executable, str(_PEERS / f"{name}_server.py")]

    return command


def _no_tls(case: Case) -> str:
    return "the peers for WebSockets have no TLS" if case.tls else ""


def _websocket_peer(
    name: str,
    title: str,
    command: Callable[[Case, Setup], list[str]],
    absent: Callable[[], str],
) -> Peer:
    """Return a peer that sends what a member says to all others, and acknowledges nothing."""
    works = ("broadcast", "held", "idle")
    return Peer(name, title, command, absent, _no_tls, ("chat",), works=works, forms=("websocket",))


def _no_store(case: Case) -> str:
    other = case.work == "acked" and case.store != "memory:"
    return "it keeps nothing" if other else ""


_ALL = (
    Peer("ours", "twisted_net", _ours_command, _module("twisted"), _any_case, forms=FORMS),
    Peer(
        "ours-lines",
        "twisted_net, JSON in lines",
        _ours_command,
        _module("twisted"),
        _any_case,
        forms=("websocket",),
        services=("chat",),
        speaks="json",
    ),
    Peer(
        "ours-notable",
        "twisted_net, `--log-ends notable`",
        _notable_command,
        _module("twisted"),
        _any_case,
        works=("connects", "resumed"),
    ),
    Peer("c", "C, epoll", _c_command("turn"), _present, _c_cannot, forms=FORMS),
    Peer(
        "c-each",
        "C, a write a message",
        _c_command("each"),
        _present,
        _c_cannot,
        services=("chat",),
        forms=FORMS,
    ),
    Peer(
        "c-nagle",
        "C, epoll, Nagle on",
        _c_command("turn", "nagle"),
        _present,
        _c_cannot,
        services=("chat",),
        usual=False,
    ),
    Peer("node", "Node", _node_command(), _node_absent, _no_store),
    Peer(
        "node-nodelay",
        "Node, Nagle off",
        _node_command("--nodelay"),
        _node_absent,
        _no_store,
        usual=False,
    ),
    Peer("twisted", "Twisted", _script("twisted_server.py"), _module("twisted"), _no_store),
    Peer(
        "twisted-nodelay",
        "Twisted, Nagle off",
        _script("twisted_server.py", "--nodelay"),
        _module("twisted"),
        _no_store,
        services=("chat",),
        usual=False,
    ),
    Peer(
        "twisted-eager",
        "Twisted, `eager` reactor",
        _script("twisted_server.py", "--reactor", "eager"),
        _module("twisted"),
        _no_store,
    ),
    Peer("asyncio", "asyncio", _script("asyncio_server.py"), _present, _no_store),
    Peer(
        "uvloop",
        "uvloop",
        _script("asyncio_server.py", "--loop", "uvloop"),
        _module("uvloop"),
        _no_store,
    ),
    _websocket_peer("ours-bare", "twisted_net, no more than they", _bare_command, _present),
    _websocket_peer("ws", "Node, `ws`", _ws_command, _node_absent),
    _websocket_peer("websockets", "`websockets`", _library("websockets"), _module("websockets")),
    _websocket_peer("picows", "`picows`", _library("picows"), _module("picows")),
)

PEERS = {peer.name: peer for peer in _ALL}
