"""Compiles the C programs, makes the certificate and installs ``ws``, once, in a temporary
directory."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
_NPM_TIMEOUT = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Built:
    """Everything that is ready to run.

    :ivar load: the load generator.
    :ivar chat, echo: the peers in C.
    :ivar cert, key: PEM files for ``localhost``; None if ``openssl`` is missing.
    :ivar ws: the peer on Node's ``ws``, after :func:`install_ws`.
    :ivar no_tls: why there is no TLS; empty if there is.
    """

    directory: Path
    load: Path
    chat: Path
    echo: Path
    cert: Path
    key: Path
    no_tls: str

    @property
    def ws(self) -> Path:
        return self.directory / "ws"


class BuildError(Exception):
    """The compiler is missing or has failed."""


def build(directory: Path) -> Built:
    """Compile everything into ``directory``.

    :raises BuildError: ``cc`` is missing or has failed.
    """
    if shutil.which("cc") is None:
        raise BuildError("the load generator is written in C and there is no `cc`")
    load = directory / "load"
    sources = sorted((HERE / "load").glob("*.c"))
    no_tls = _compile(load, sources, "-lssl", "-lcrypto")
    if no_tls:
        no_tls = "the headers of OpenSSL are missing (libssl-dev)"
        _must(_compile(load, sources, "-DNO_TLS"))
    for name, more in ("chat", ("websocket",)), ("echo", ()):
        _must(_compile(directory / name, [HERE / "peers" / f"{part}.c" for part in (name, *more)]))
    cert, key = directory / "cert.pem", directory / "key.pem"
    return Built(
        directory,
        load,
        directory / "chat",
        directory / "echo",
        cert,
        key,
        no_tls or _make_certificate(cert, key),
    )


def install_ws(built: Built) -> str:
    """Install ``ws`` with npm, and return why that failed, or an empty string.

    npm keeps what it has downloaded, so the next time it needs no network.
    """
    if shutil.which("npm") is None:
        return "npm is not installed"
    shutil.copytree(HERE / "peers" / "ws", built.ws)
    command = ["npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(
            command, cwd=built.ws, capture_output=True, text=True, check=False, timeout=_NPM_TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return f"npm did not install it within {_NPM_TIMEOUT:.0f} s"
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines()
    return f"npm could not install it: {said[0] if said else f'status {done.returncode}'}"


def _compile(target: Path, sources: list[Path], *more: str) -> str:
    """Compile a program, and return the compiler's errors, or an empty string."""
    command = ["cc", "-O2", "-o", str(target), *map(str, sources), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr or "failed" if done.returncode else ""


def _must(complaint: str) -> None:
    if complaint:
        raise BuildError(complaint)


def _make_certificate(cert: Path, key: Path) -> str:
    """Make an ECDSA certificate, as most sites have: RSA would dominate the measurement."""
    if shutil.which("openssl") is None:
        return "there is no `openssl` to make a certificate with"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-out", str(cert), "-keyout", str(key)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""
