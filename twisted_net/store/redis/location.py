"""Where Redis is, and how to log in: what a URL says."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from urllib.parse import unquote

from twisted_net.store.log import Bounds
from twisted_net.wire.numbers import parse_decimal, parse_port, parse_whole, shorten

SCHEMES = ("redis", "rediss", "redis+sentinel")

REDIS_PORT = 6379
SENTINEL_PORT = 26379

REDIS_BOUNDS = Bounds(count=10_000, bytes=8 << 20, age=0.0, rooms=10_000)
"""The default bounds in Redis, which keeps everything in memory."""

_HOST = re.compile(
    r"\[(?P<six>[0-9A-Fa-f:.%]+)\](?::(?P<port6>.*))?|(?P<name>[^:\[\]]+)(?::(?P<port>.*))?"
)
_ESCAPES = re.compile("%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class RedisLocation:
    """Where Redis is, and how to talk to it.

    :ivar hosts: hosts and ports: of Redis, or of the Sentinels if there is a ``service``.
    :ivar service: the name that the Sentinels have for the primary; empty without Sentinel.
    :ivar user: the ACL user; empty for the default one.
    :ivar tls: whether to use TLS; the certificate is verified.
    :ivar cafile: the trusted CAs, in place of the platform's; empty for those of the platform.
    :ivar prefix: what all keys begin with, after ``{``.
    :ivar timeout: the seconds that a command, or the beginning of a connection, may take.
    :ivar wait: how many replicas have to confirm an append before it is acknowledged.
    """

    hosts: tuple[tuple[str, int], ...]
    service: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    tls: bool = False
    cafile: str = ""
    prefix: str = "netchat"
    timeout: float = 3.0
    wait: int = 0

    @property
    def shown(self) -> str:
        """The hosts, for users."""
        return ", ".join(show_address(*each) for each in self.hosts)


def show_address(host: str, port: int) -> str:
    """Return a host and a port as one text."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def hide_password(url: str) -> str:
    """Return a text without the password of the URL in it, whether the URL is valid or not."""
    before, slashes, rest = url.partition("://")
    login, at, where = rest.rpartition("@")
    return f"{before}{slashes}{login.partition(':')[0]}:***@{where}" if at and ":" in login else url


_OPTIONS: dict[str, Callable[[str], object]] = {
    "prefix": lambda text: _prefix(text),
    "timeout": partial(parse_decimal, least=0.1, most=60, unit="seconds"),
    "wait": partial(parse_whole, least=0, most=100),
    "cafile": lambda text: _cafile(text),
}


def parse_location(url: str, options: dict[str, str]) -> RedisLocation:
    """Return what a URL says. Its options are taken out of ``options``.

    :param url: the URL without its options.
    :raises ValueError: a part is wrong; the text names it, and never contains the password.
    """
    scheme, _, rest = url.partition(":")
    if not rest.startswith("//"):
        raise ValueError(f"{scheme}: must be followed by //, as in {scheme}://127.0.0.1")
    if "#" in rest:
        raise ValueError(f"{scheme}: a # in the password must be written as %23")
    authority, _, path = rest[2:].partition("/")
    if "@" in path:
        raise ValueError(f"{scheme}: a / in the user name or the password must be written as %2F")
    login, at, hosts = authority.rpartition("@")
    if "@" in login:
        raise ValueError(f"{scheme}: an @ in the user name or the password must be written as %40")
    user, password = _login(scheme, login, bool(at))
    is_sentinel = scheme == "redis+sentinel"
    service, db = _service(path) if is_sentinel else ("", path)
    found = RedisLocation(
        _hosts(scheme, hosts, is_sentinel), service, user, password, _db(db), scheme == "rediss"
    )
    return _with_options(scheme, found, options)


def _with_options(scheme: str, found: RedisLocation, options: dict[str, str]) -> RedisLocation:
    given: dict[str, object] = {}
    for name, parse in _OPTIONS.items():
        if name not in options:
            continue
        value = options.pop(name)
        try:
            given[name] = parse(value)
        except ValueError as error:
            raise ValueError(f"{name}={shorten(value)}: {error}") from None
    if "cafile" in given and scheme != "rediss":
        raise ValueError(f"cafile: requires rediss://, not {scheme}://")
    return replace(found, **given)  # type: ignore[arg-type]


def _login(scheme: str, login: str, given: bool) -> tuple[str, str]:
    user, _, password = login.partition(":")
    if ":" in password:
        raise ValueError(f"{scheme}: a : in the user name or the password must be written as %3A")
    if _ESCAPES.search(login):
        raise ValueError(f"{scheme}: a % in the user name or the password must be written as %25")
    if given and not password:
        raise ValueError(f"{scheme}: the password is missing; write user:password@ or :password@")
    return unquote(user), unquote(password)


def _hosts(scheme: str, text: str, several: bool) -> tuple[tuple[str, int], ...]:
    if not text:
        raise ValueError(f"{scheme}: the host is missing; write {scheme}://127.0.0.1")
    each = text.split(",")
    if len(each) > 1 and not several:
        raise ValueError(f"{scheme}: takes one host; several are for redis+sentinel://")
    return tuple(_host(scheme, one, SENTINEL_PORT if several else REDIS_PORT) for one in each)


def _host(scheme: str, text: str, default: int) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    if match is None or any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError(f"{scheme}: {shorten(text)!r} is no host; write HOST or HOST:PORT")
    port = match["port6"] if match["six"] else match["port"]
    try:
        number = default if port is None else parse_port(port, least=1)
    except ValueError as error:
        raise ValueError(f"{scheme}: {error}") from None
    return match["six"] or match["name"], number


def _service(path: str) -> tuple[str, str]:
    service, _, db = path.partition("/")
    if not service:
        raise ValueError(
            "redis+sentinel: the name of the service is missing; "
            "write redis+sentinel://HOST,HOST/SERVICE"
        )
    return unquote(service), db


def _db(text: str) -> int:
    if not text:
        return 0
    try:
        return parse_whole(text, 0, 1 << 20)
    except ValueError as error:
        raise ValueError(f"database {shorten(text)}: {error}") from None


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", text):
        raise ValueError("must have 1 to 64 letters, digits and _.:-")
    return text


def _cafile(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("must be the path of a PEM file")
    return text
