"""Run klein, treq, autobahn, daphne and conch behind ``net:`` and ``nettls:``, and without them.

``python -m tests.foreign`` installs them in a virtual environment of its own (some 60 MB from
PyPI), starts each server behind Twisted's endpoints and behind ours, with the reactors that it can
have, and asks it the same: small and large pages, uploads, HTTP/2, WebSocket, ``scp`` of 50 MB
both ways. It prints the seconds of each, and ends with status 1 if anything differs from what
Twisted's endpoints give.

It needs ``curl`` with HTTP/2, ``openssl``, ``scp`` and ``ssh-keygen``.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path

REQUIREMENTS = ["klein", "treq", "autobahn", "daphne", "twisted[conch,http2,tls]"]

PROGRAMS = ["curl", "openssl", "scp", "ssh-keygen"]

SIZE = 50_000_000
"""Bytes of a large transfer."""

PATIENCE = 120
"""Seconds that one client may take."""

CHECKOUT = Path(__file__).resolve().parents[2]

PLAIN = {"tcp": "tcp:0:interface=127.0.0.1", "net": "net:0:interface=127.0.0.1"}
TLS = {
    "ssl": "ssl:0:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem",
    "nettls": "nettls:0:interface=127.0.0.1:cert=cert.pem:key=key.pem",
}


class Failed(Exception):
    """A client did not get what it asked for."""


class Runner:
    """Runs programs of the virtual environment in a directory of its own.

    :param python: the interpreter of the environment.
    :param directory: where certificates, keys and files are.
    """

    def __init__(self, python: Path, directory: Path) -> None:
        self.python = python
        self.directory = directory
        self.environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}

    def call(self, *command: str) -> bytes:
        """Run a program to its end, and return what it printed.

        :raises Failed: its status is not 0, or it takes longer than ``PATIENCE``.
        """
        try:
            done = subprocess.run(
                command,
                cwd=self.directory,
                env=self.environment,
                capture_output=True,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{command[0]} took longer than {PATIENCE} s") from None
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
            raise Failed(f"{Path(command[0]).name}: status {done.returncode}: {' | '.join(last)}")
        return done.stdout

    def client(self, name: str, url: str) -> None:
        """Run one of the clients of :mod:`tests.foreign.clients`."""
        self.call(str(self.python), "-m", "tests.foreign.clients", name, url)

    def serve(self, name: str, endpoint: str, reactor: str) -> tuple[subprocess.Popen[bytes], int]:
        """Start a server, and return it and its port.

        :raises Failed: it ended before it listened.
        """
        log = (self.directory / "server.log").open("wb")
        server = subprocess.Popen(
            [str(self.python), "-m", "tests.foreign.servers", name, endpoint, reactor],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        assert server.stdout is not None
        for line in server.stdout:
            if line.startswith(b"PORT "):
                return server, int(line.split()[1])
        last = (self.directory / "server.log").read_text().strip().splitlines()[-3:]
        raise Failed(f"the server ended at once: {' | '.join(last)}")


def curl(runner: Runner, url: str, *options: str) -> bytes:
    """Ask curl, which verifies the certificate."""
    return runner.call("curl", "-sS", "--fail", "--cacert", "cert.pem", *options, url)


def same_bytes(runner: Runner, url: str, *options: str) -> None:
    """Download and upload 50 MB."""
    if curl(runner, url + "/", *options) != b"hello":
        raise Failed("the small page is wrong")
    if curl(runner, url + "/large", *options) != bytes(SIZE):
        raise Failed("the large page is wrong")
    digest = runner.call("sha256sum", "up.bin").split()[0]
    if curl(runner, url + "/upload", "--data-binary", "@up.bin", *options) != digest:
        raise Failed("the upload came out wrong")


def http2(runner: Runner, url: str) -> None:
    """The same over HTTP/2, and a hundred streams of one connection."""
    version = curl(runner, url + "/", "--http2", "-o", os.devnull, "-w", "%{http_version}")
    if version != b"2":
        raise Failed(f"HTTP/{version.decode()} was negotiated")
    same_bytes(runner, url, "--http2")
    pages = curl(runner, url + "/?[1-100]", "--http2", "--parallel")
    if pages != b"hello" * 100:
        raise Failed("the streams are wrong")


def scp(runner: Runner, port: int, secure: bool) -> None:
    """Copy a file of 50 MB there and back."""
    options = ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={os.devnull}"]
    options += ["-o", "IdentityFile=user_key", "-o", "IdentitiesOnly=yes", "-F", os.devnull]
    if secure:
        command = (
            f"openssl s_client -quiet -verify_quiet -CAfile cert.pem -connect 127.0.0.1:{port}"
        )
        options += ["-o", f"ProxyCommand={command}"]
    for name in ("there.bin", "back.bin"):
        (runner.directory / name).unlink(missing_ok=True)
    there = f"anyone@127.0.0.1:{runner.directory}/there.bin"
    runner.call("scp", "-s", "-P", str(port), *options, "up.bin", there)
    runner.call("scp", "-s", "-P", str(port), *options, there, "back.bin")
    for name in ("there.bin", "back.bin"):
        if not filecmp.cmp(runner.directory / "up.bin", runner.directory / name, shallow=False):
            raise Failed(f"{name} differs")


Check = Callable[[Runner, int, bool], None]


def _url(port: int, secure: bool, scheme: str = "http") -> str:
    return f"{scheme}{'s' if secure else ''}://localhost:{port}"


CHECKS: list[tuple[str, str, tuple[str, ...], Check]] = [
    ("klein", "treq", ("epoll", "eager"), lambda r, p, s: r.client("treq", _url(p, s))),
    ("klein", "curl", ("epoll", "eager"), lambda r, p, s: same_bytes(r, _url(p, s))),
    ("klein", "http2", ("epoll", "eager"), lambda r, p, s: http2(r, _url(p, s))),
    (
        "autobahn",
        "websocket",
        ("epoll", "eager"),
        lambda r, p, s: r.client("websocket", _url(p, s, "ws")),
    ),
    (
        "autobahn_resource",
        "websocket",
        ("epoll", "eager"),
        lambda r, p, s: r.client("websocket", _url(p, s, "ws") + "/ws"),
    ),
    ("daphne", "curl", ("asyncio",), lambda r, p, s: same_bytes(r, _url(p, s))),
    ("daphne", "http2", ("asyncio",), lambda r, p, s: http2(r, _url(p, s))),
    (
        "daphne",
        "websocket",
        ("asyncio",),
        lambda r, p, s: r.client("websocket_asgi", _url(p, s, "ws") + "/ws"),
    ),
    ("conch", "scp", ("epoll", "eager"), lambda r, p, s: scp(r, p, s)),
]
"""Server, client, the reactors that the server can have, and what is asked."""


def prepare(directory: Path) -> None:
    """Make the certificate, the keys of SSH, and a file."""

    def run(*command: str) -> None:
        subprocess.run(command, cwd=directory, check=True, capture_output=True)

    run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-keyout", "key.pem", "-out", "cert.pem"),
    )
    for name in ("host_key", "user_key"):
        run("ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", name)
    (directory / "up.bin").write_bytes(os.urandom(SIZE))


def attempt(runner: Runner, server: str, endpoint: str, reactor: str, check: Check) -> float:
    """Start a server, ask it, and stop it. Return the seconds of the asking.

    :raises Failed: something differs.
    """
    process, port = runner.serve(server, endpoint, reactor)
    try:
        start = time.monotonic()
        check(runner, port, endpoint.startswith(("ssl", "nettls")))
        return time.monotonic() - start
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failed("the server did not end within 10 s of SIGTERM") from None
        finally:
            assert process.stdout is not None
            process.stdout.close()


def run_all(runner: Runner, only: list[str]) -> bool:
    """Run every check behind every endpoint, and print a line for each. Return whether all held."""
    well = True
    for server, client, reactors, check in CHECKS:
        if only and server not in only and client not in only:
            continue
        for reactor in reactors:
            for name, endpoint in (TLS if client == "http2" else PLAIN | TLS).items():
                if reactor == "eager" and name in ("tcp", "ssl"):
                    continue  # the baseline is Twisted with its own reactor
                try:
                    result = f"{attempt(runner, server, endpoint, reactor, check):.1f} s"
                except Failed as failure:
                    result = f"FAILED: {failure}"
                    well = False
                print(f"{server:18} {client:10} {reactor:8} {name:7} {result}", flush=True)
    return well


def environment(path: Path) -> Path:
    """Make a virtual environment with the libraries, unless it is there. Return its Python."""
    python = path / "bin" / "python"
    if not python.exists():
        venv.create(path, with_pip=True)
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*install, str(CHECKOUT), *REQUIREMENTS], check=True)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.foreign",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("only", nargs="*", help="servers or clients (default: all)")
    parser.add_argument("--venv", type=Path, help="keep the virtual environment here")
    options = parser.parse_args()
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        sys.exit(f"These programs are not installed: {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as scratch:
        python = environment(options.venv or Path(scratch, "venv"))
        directory = Path(scratch, "files")
        directory.mkdir()
        prepare(directory)
        sys.exit(not run_all(Runner(python, directory), options.only))


if __name__ == "__main__":
    main()
