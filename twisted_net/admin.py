"""``netchat-admin``: the operator's view on the command line.

``python -m twisted_net.admin`` is the same program. It needs a server with ``--admin``.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import re
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from twisted_net import __version__
from twisted_net.wire.text import counted, printable

USUAL_ADDRESS = "http://127.0.0.1:9191"
"""Where a server is asked by default; the variable ``NETCHAT_ADMIN`` replaces it."""

PATIENCE = 10.0
"""Seconds to wait for an answer."""

_MOST_TOKEN = 65536  # bytes of a line

_MISMATCHES = (62, 64)  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH
_MOST_NAMES = 5  # of a certificate, in an error

NOT_OURS = "this is no --admin of twisted_net"
UPGRADE_PATIENCE = 120.0
"""Seconds to wait until new code has started and goes on."""

_SORTS = ("id", "queued", "bytes_received", "bytes_sent", "messages_received", "messages_sent")

_DESCRIPTION = (
    "Look at a running netchat, netecho or netidle, and act on it. The server needs --admin."
)

_AT_HELP = (
    "URL of the server's --admin, or unix:PATH. [default: the variable NETCHAT_ADMIN, or "
    f"{USUAL_ADDRESS}]"
)


class AdminError(Exception):
    """The server cannot be asked, or refuses. The text is one line for the user.

    :param status: of HTTP, if the server has answered; otherwise 0.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Server:
    """A server's operator's view.

    :param address: a URL, or ``unix:PATH``.
    :param token: its token, if it has one.
    :ivar service: which of its services is meant; empty for the first one.
    :raises AdminError: the address is none.
    """

    def __init__(self, address: str, token: str = "", service: str = "") -> None:
        self.address = address
        self.service = service
        self._query = _query({"service": service}) if service else ""
        self._token = token
        if not address.startswith("unix:"):
            try:
                parts = urlsplit(address)
                _ = parts.port  # raises if it is no number
            except ValueError as error:
                raise AdminError(f"--at {address}: must be a URL, or unix:PATH: {error}") from None
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise AdminError(f"--at {address}: must be a URL, or unix:PATH")
            self._host = parts.netloc.rpartition("@")[2]
            self._is_secure = parts.scheme == "https"

    def _connection(self, timeout: float | None) -> http.client.HTTPConnection:
        if self.address.startswith("unix:"):
            return UnixConnection(self.address.removeprefix("unix:"), timeout)
        kind = http.client.HTTPSConnection if self._is_secure else http.client.HTTPConnection
        return kind(self._host, timeout=timeout)

    def open(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        timeout: float | None = PATIENCE,
        expected: Sequence[int] = (),
    ) -> http.client.HTTPResponse:
        """Ask for a path.

        :param body: an object to send with POST; without one, it is GET.
        :param expected: statuses that are no errors, besides 200.
        :raises AdminError: there is no answer, or it is an error.
        """
        headers = {"Connection": "close"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None
        if body is not None:
            headers["X-Netchat-Admin"] = "1"
            data = json.dumps(body)
        if self._query:
            path += ("&" if "?" in path else "?") + self._query
        connection = self._connection(timeout)
        try:
            connection.request("GET" if body is None else "POST", path, data, headers)
            answer = connection.getresponse()
        except ssl.SSLCertVerificationError as error:
            connection.close()
            why = _why_refused(error, connection.host, connection.port)
            raise AdminError(f"{self.address}: {why}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:  # or it cannot be sent
            connection.close()
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise AdminError(f"{self.address}: {why}") from None
        if answer.status not in (200, *expected):
            raise AdminError(f"{self.address}: {_error_text(answer)}", answer.status)
        return answer

    def problem(self) -> str:
        """Return why the server is not ready, on one line; empty if it is.

        :raises AdminError: as :meth:`open`.
        """
        answer = self.open("/readyz", expected=(503,))
        if answer.status == 200:
            return ""
        return printable(answer.read(65536).decode(errors="replace").strip())

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON value of an answer.

        :raises AdminError: as :meth:`open`.
        """
        try:
            return json.loads(self.open(path, body).read())
        except (OSError, ValueError, http.client.HTTPException):
            raise AdminError(f"{self.address}: {NOT_OURS}") from None


def _why_refused(error: ssl.SSLCertVerificationError, host: str, port: int) -> str:
    """Return why a certificate is refused, without Python's own words around it."""
    why = f"certificate verify failed: {error.verify_message.rstrip('.')}"
    if error.verify_code in _MISMATCHES:
        names = certificate_names(host, port)
        why += f"; it is for {', '.join(map(repr, names))}" if names else ""
    return why


def certificate_names(host: str, port: int) -> list[str]:
    """Return the names of a server's certificate; empty if it is not to be trusted, either.

    Python tells them only of one that is accepted, so another connection asks for any name.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    try:
        with (
            socket.create_connection((host, port), timeout=PATIENCE) as connection,
            context.wrap_socket(connection, server_hostname=host) as tls,
        ):
            found: Any = tls.getpeercert() or {}
    except (OSError, ValueError):
        return []
    return [str(value) for _, value in found.get("subjectAltName", ())][:_MOST_NAMES]


def _query(values: Mapping[str, str]) -> str:
    """Return values as a part of a URL. What is no UTF-8 goes to the server as it was typed."""
    return urlencode(values, errors="surrogateescape")


def _error_text(answer: http.client.HTTPResponse) -> str:
    data = answer.read(65536)
    answer.close()
    try:
        return str(json.loads(data)["error"])
    except (ValueError, LookupError, TypeError):  # another server's, of any number of lines
        return f"HTTP {answer.status} {answer.reason}: {NOT_OURS}"


class Column(NamedTuple):
    """A column of a table."""

    heading: str
    show: Callable[[Mapping[str, Any]], str]
    right: bool = False
    some: bool = False  # only some services have it


def format_bytes(number: float) -> str:
    """Return a number of bytes in at most seven characters."""
    for unit in ("", "k", "M", "G"):
        if number < 1000:
            return f"{number:.0f}{unit}" if not unit or number >= 100 else f"{number:.1f}{unit}"
        number /= 1000
    return f"{number:.1f}T"


def format_seconds(seconds: float) -> str:
    """Return a duration, such as ``59s``, ``12m`` or ``3d``."""
    for unit, most, size in (("s", 120, 1), ("m", 7200, 60), ("h", 172800, 3600)):
        if seconds < most:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds // 86400:.0f}d"


_COLUMNS = (
    Column("ID", lambda row: str(row["id"]), True),
    Column("FROM", lambda row: printable(row["peer"])),
    Column(
        "UPSTREAM", lambda row: printable((row.get("upstream") or {}).get("peer", "")), some=True
    ),
    Column("NAME", lambda row: printable(row.get("name", "")), some=True),
    Column(
        "ROOMS",
        lambda row: printable(" ".join(f"#{room}" for room in row.get("rooms", ()))),
        some=True,
    ),
    Column("FORM", lambda row: printable(row["form"])),
    Column("OPEN", lambda row: format_seconds(row["seconds"]), True),
    Column("IN", lambda row: format_bytes(row["bytes_received"]), True),
    Column("OUT", lambda row: format_bytes(row["bytes_sent"]), True),
    Column("QUEUED", lambda row: format_bytes(row["queued"]), True),
)


def format_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return connections as lines; columns without anything are left out."""
    columns = []
    for column in _COLUMNS:
        cells = [column.show(row) for row in rows]
        if any(cells) or not (rows or column.some):
            width = max(map(len, [column.heading, *cells]))
            pad = str.rjust if column.right else str.ljust
            columns.append([pad(cell, width) for cell in (column.heading, *cells)])
    return ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]


def _pages(server: Server, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    left, query = options.limit, {"sort": options.sort}
    if options.room:
        query["room"] = options.room.lstrip("#")
    while left > 0:
        query["limit"] = str(min(left, 1000))
        page = server.ask(f"/connections?{_query(query)}")
        yield page
        left -= len(page["connections"])
        if page["next"] is None:
            return
        query["after"] = page["next"]


def describe_missing(numbers: Iterable[int]) -> str:
    """Say that workers have not answered, so that a list is not taken for the whole of it."""
    named = ", ".join(map(str, sorted(numbers)))
    return f"not answering, and missing here: worker {named}"


# The commands.


def _who(server: Server, options: argparse.Namespace) -> None:
    pages = list(_pages(server, options))
    print("\n".join(format_table([row for page in pages for row in page["connections"]])))
    missing = {number for page in pages for number in page.get("missing_workers", ())}
    if missing:
        sys.stdout.flush()  # before the line about it
        _complain(describe_missing(missing))


def _top(server: Server, options: argparse.Namespace) -> None:
    seen: Figures | None = None
    while True:
        began = time.monotonic()
        text = server.open("/metrics").read().decode(errors="replace")
        figures = Figures(text, server.service)
        problem = "" if figures["ready"] else server.problem()
        try:
            page: dict[str, Any] = next(_pages(server, options), {"connections": []})
        except AdminError as error:
            if error.status != 404 or not options.room or seen is None:
                raise
            page = {"connections": []}  # all have left the room, and may come back
        missing = page.get("missing_workers")
        lines = [
            *figures.summary(seen, options.every),
            *([f"not ready: {problem}"] if problem else []),
            *([describe_missing(missing)] if missing else []),
            "",
            *format_table(page["connections"]),
        ]
        if sys.stdout.isatty() and not options.once:
            size = os.get_terminal_size()
            shown = [line[: size.columns] for line in lines[: size.lines - 1]]
            print("\x1b[H\x1b[2J" + "\n".join(shown), flush=True)
        else:
            print("\n".join(lines), flush=True)
        seen = figures
        if options.once:
            return
        time.sleep(max(0.0, began + options.every - time.monotonic()))


class Figures:
    """The sums of metrics.

    :param text: Prometheus' text format.
    :param service: the service whose figures are summed up, with those of the process; empty for
        all services.
    """

    def __init__(self, text: str, service: str = "") -> None:
        self._sums: dict[str, float] = {}
        found = re.findall(r"^twisted_net_([a-z_]+)(?:\{([^\n]*)\})? (\S+)$", text, re.MULTILINE)
        escaped = re.sub(r'([\\"])', r"\\\1", service).replace("\n", r"\n")
        for name, labels, value in found:
            of = re.search(r'(?:^|,)service="((?:[^"\\]|\\.)*)"', labels)
            if not service or of is None or of[1] == escaped:
                self._sums[name] = self._sums.get(name, 0.0) + float(value)

    def __getitem__(self, name: str) -> float:
        return self._sums.get(name, 0.0)

    def summary(self, before: Figures | None, seconds: float) -> list[str]:
        """Return lines about the server.

        :param before: the figures ``seconds`` ago; without them, there are no rates.
        """

        def rate(name: str) -> float:
            return 0.0 if before is None else max(0.0, self[name] - before[name]) / seconds

        def since(name: str) -> float:
            return self[name] - (0.0 if before is None else before[name])

        turns = since("reactor_turn_duration_seconds_count")
        turn = since("reactor_turn_duration_seconds_sum") / max(1.0, turns)
        return [
            f"{'ready' if self['ready'] else 'NOT READY'}"
            f"   {counted(int(self['connections']), 'connection')},"
            f" {rate('connections_accepted_total'):.1f}/s new"
            f"   refused {self['connections_refused_total']:.0f}"
            f"   ended {self['connections_ended_total']:.0f}",
            f"messages {rate('received_messages_total'):.0f}/s in,"
            f" {rate('sent_messages_total'):.0f}/s out"
            f"   bytes {format_bytes(rate('received_bytes_total'))}/s in,"
            f" {format_bytes(rate('sent_bytes_total'))}/s out",
            f"queued {format_bytes(self['queued_bytes'])}"
            f"   dropped {self['dropped_messages_total']:.0f}"
            f"   turn {turn * 1000:.2f} ms",
        ]


def _close(server: Server, options: argparse.Namespace) -> None:
    for number in options.id:
        print(server.ask(f"/connections/{number}/close", {"text": options.text})["done"])


def _open(count: int) -> str:
    return f"{counted(count, 'connection')} {'is' if count == 1 else 'are'} open"


def _drain(server: Server, options: argparse.Namespace) -> None:
    done = server.ask("/drain", {})
    print(f"{done['done']} {_open(done['open'])}.", flush=True)
    while options.wait and done["open"]:
        time.sleep(0.5)
        done = server.ask("/drain", {})
    if options.wait:
        print("All connections have ended.")


def _reload(server: Server, options: argparse.Namespace) -> None:
    print(server.ask("/reload", {})["done"])


def _upgrade(server: Server, options: argparse.Namespace) -> None:
    answer = server.open("/upgrade", {}, timeout=UPGRADE_PATIENCE)
    print(json.loads(answer.read())["done"])


def _tap(server: Server, options: argparse.Namespace) -> None:
    answer = server.open(f"/connections/{options.id}/tap", timeout=None)
    while line := answer.readline():
        try:
            if options.json:
                text = escape_json(line.decode(), sys.stdout.encoding or "utf-8")
            else:
                text = format_tapped(json.loads(line))
        except ValueError:
            raise AdminError(f"{server.address}: {NOT_OURS}") from None
        print(text, flush=True)


def escape_json(line: str, encoding: str = "utf-8") -> str:
    """Return a line of JSON with escapes for what could control a terminal, or reorder the text.

    :param encoding: of the output. If it may not have all characters, only ASCII is left.
    """
    line = line.strip()
    is_wide = encoding.lower().startswith("utf")
    if line.isprintable() and (is_wide or line.isascii()):  # true for most lines
        return line
    # Outside its texts, JSON has nothing of the kind.
    return "".join(
        each if each.isprintable() and (is_wide or each.isascii()) else json.dumps(each)[1:-1]
        for each in line
    )


def format_tapped(line: Mapping[str, Any]) -> str:
    """Return a line of a tap for people."""
    if "gap" in line:
        were = "was" if line["gap"] == 1 else "were"
        return f"... {counted(line['gap'], 'line')} {were} missed ..."
    clock = time.strftime("%H:%M:%S", time.localtime(line["time"]))
    if "tap" in line:
        return printable(
            f"{clock} looking on at {line['tap']} {line['peer']} {line['name']}"
        ).rstrip()
    if "ended" in line:
        return printable(f"{clock} ended: {line['ended']} {line.get('detail', '')}").rstrip()
    arrow = "->" if line["dir"] == "in" else "<-"
    if "base64" in line:
        return f"{clock} {arrow} {counted(line['size'], 'byte')} in base64: {line['base64']}"
    return f"{clock} {arrow} {printable(line.get('text', 'a message over the limit'))}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="netchat-admin", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"twisted_net {__version__}")
    parser.add_argument(
        "--at", metavar="ADDRESS", default=os.environ.get("NETCHAT_ADMIN", USUAL_ADDRESS),
        help=_AT_HELP,
    )  # fmt: skip
    parser.add_argument(
        "--token-file", metavar="FILE", help="file with the token of --admin-token-file"
    )
    parser.add_argument(
        "--service", metavar="NAME", default="", help="one of several services [default: the first]"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, run: Callable[..., None], help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        added.set_defaults(run=run)
        return added

    for name, run, limit, text in (
        ("top", _top, 20, "show figures and connections, again and again; Ctrl-C ends it"),
        ("who", _who, 1_000_000, "list connections"),
    ):
        listing = add(name, run, text)
        listing.add_argument(
            *("--sort", "-s"), choices=_SORTS, default="id", metavar="FIGURE",
            help=f"largest first by one of {', '.join(_SORTS[1:])}; id is oldest first",
        )  # fmt: skip
        listing.add_argument("--room", "-r", metavar="ROOM", default="", help="only this room")
        listing.add_argument(
            *("--limit", "-n"), type=_count, default=limit, metavar="N", help="connections, at most"
        )
        if name == "top":
            listing.add_argument(
                *("--every", "-e"), type=_positive, default=2.0, metavar="SECONDS",
                help="time between two looks [default: 2]",
            )  # fmt: skip
            listing.add_argument("--once", action="store_true", help="look once, and end")
    closing = add("close", _close, "close connections")
    closing.add_argument("id", type=_count, nargs="+", metavar="ID", help="number of a connection")
    closing.add_argument("--text", "-t", metavar="TEXT", default="", help="why, for the log")
    tap = add("tap", _tap, "show what one connection says and hears; Ctrl-C ends it")
    tap.add_argument("id", type=_count, metavar="ID", help="number of the connection")
    tap.add_argument("--json", action="store_true", help="one JSON object a line")
    add("upgrade", _upgrade, "let new code go on in a new process; plain connections stay open")
    drain = add("drain", _drain, "stop accepting, and close all connections; the server runs on")
    drain.add_argument("--wait", "-w", action="store_true", help="until all have ended")
    add("reload", _reload, "read the server's --config file and certificates again, as on SIGHUP")
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 100_000_000):
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number from 1")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text}: must be from 0.1 to 3600")
    return value


def _token(path: str | None) -> str:
    if path is None:
        return ""
    try:
        with open(path, "rb") as file:
            token = file.readline(_MOST_TOKEN).strip()
    except OSError as error:
        raise AdminError(f"--token-file {path}: {error.strerror}") from None
    if not re.fullmatch(rb"[!-~]+", token):  # what the server takes, and a header can carry
        raise AdminError(f"--token-file {path}: its first line must be ASCII, without spaces")
    return token.decode()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program, and return its exit status: 0, 1 for an error, or 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # names may have what its encoding has not
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        options.run(Server(options.at, _token(options.token_file), options.service), options)
    except AdminError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # as with head(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, http.client.HTTPException) as error:  # in the middle of an answer
        _complain(f"{options.at}: the server has gone ({error})")
        return 1
    return 0


def _complain(line: str) -> None:
    """Write a line to the standard error. Another server's words must not control the terminal."""
    print(f"netchat-admin: {printable(line)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
