"""Tests for :mod:`twisted_net.admin`. The live tests run it against a server."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import ssl
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_net import admin
from twisted_net.admin import (
    AdminError,
    Figures,
    Server,
    escape_json,
    format_bytes,
    format_seconds,
    format_table,
    format_tapped,
    main,
)

ROW = {
    "id": 7,
    "peer": "192.0.2.1:5",
    "name": "ann\x1b[2J",
    "rooms": ["lobby", "tea"],
    "form": "text",
    "seconds": 61,
    "bytes_received": 1500,
    "bytes_sent": 3_000_000,
    "queued": 0,
}


class FormatTests(SynchronousTestCase):
    def test_sizes(self) -> None:
        """Numbers stay short."""
        for number, text in (
            (0, "0"),
            (999, "999"),
            (1500, "1.5k"),
            (2e5, "200k"),
            (3.21e9, "3.2G"),
        ):
            self.assertEqual(format_bytes(number), text)

    def test_durations(self) -> None:
        """In the largest unit of which there are two."""
        for seconds, text in ((0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (200000, "2d")):
            self.assertEqual(format_seconds(seconds), text)

    def test_a_table(self) -> None:
        """Its columns are aligned, and names cannot move the cursor."""
        lines = format_table([ROW, {**ROW, "id": 1234, "name": "bob"}])
        self.assertEqual(lines[0].split()[:4], ["ID", "FROM", "NAME", "ROOMS"])
        self.assertTrue(lines[1].startswith("   7  192.0.2.1:5  "))
        self.assertIn("#lobby #tea", lines[1])
        self.assertNotIn("\x1b", "\n".join(lines))
        self.assertEqual({line.index("192.0.2.1") for line in lines[1:]}, {6})

    def test_without_names(self) -> None:
        """A service without people has no columns for them; one with an upstream shows it."""
        behind = {"upstream": {"peer": "10.0.0.1:6379"}}
        nobody = {name: value for name, value in ROW.items() if name not in ("name", "rooms")}
        lines = format_table([{**nobody, **behind}, {**nobody, "upstream": None}])
        self.assertEqual(lines[0].split()[:4], ["ID", "FROM", "UPSTREAM", "FORM"])
        self.assertEqual(lines[1].split()[2], "10.0.0.1:6379")
        (heading, _) = format_table([{**ROW, "name": "", "rooms": []}])
        self.assertEqual(heading.split(), ["ID", "FROM", "FORM", "OPEN", "IN", "OUT", "QUEUED"])
        self.assertEqual(format_table([]), ["  ".join(heading.split())])  # whatever the service

    def test_a_tap(self) -> None:
        """Each kind of line."""
        for line, text in (
            ({"time": 0, "dir": "in", "text": "hi\x07"}, "-> hi"),
            ({"time": 0, "dir": "out", "text": "ho"}, "<- ho"),
            ({"time": 0, "dir": "out", "base64": "/w==", "size": 1}, "<- 1 byte in base64: /w=="),
            ({"time": 0, "dir": "in", "too_long": True}, "-> a message over the limit"),
            ({"gap": 3}, "... 3 lines were missed ..."),
            ({"gap": 1}, "... 1 line was missed ..."),
            ({"time": 0, "ended": "slow", "detail": "x"}, "ended: slow x"),
            ({"time": 0, "tap": 3, "peer": "p", "name": ""}, "looking on at 3 p"),
        ):
            self.assertTrue(format_tapped(line).endswith(text), format_tapped(line))

    def test_a_tap_in_json(self) -> None:
        """It is the same value, of what terminals show only: other characters are escaped."""
        text = "h\xe9 \u5b89 \U0001f600 \x7f\x9b2J\u202e\u2028\u200f\ufeff\U000e0041\\\t"
        value = {"time": 0.1, "dir": "in", "text": text}
        line = escape_json(json.dumps(value, ensure_ascii=False) + "\n")
        self.assertEqual(json.loads(line), value)
        self.assertTrue(line.isprintable())
        self.assertIn("h\xe9 \u5b89 \U0001f600", line)
        for each in (line, "[1]"):
            narrow = escape_json(each, "iso8859-1")
            self.assertEqual((json.loads(narrow), narrow.isascii()), (json.loads(each), True))

    def test_figures(self) -> None:
        """Sums over labels, and rates between two looks."""
        text = (
            "# HELP twisted_net_connections x\n"
            'twisted_net_connections{service="a",state="open"} 3.0\n'
            'twisted_net_connections{service="a",state="closing"} 1.0\n'
            "twisted_net_ready 1.0\n"
            "twisted_net_received_messages_total %s\n"
        )
        before, now = Figures(text % 10), Figures(text % 30)
        self.assertEqual(now["connections"], 4)
        self.assertIn("ready   4 connections", now.summary(before, 2)[0])
        self.assertIn("messages 10/s in", now.summary(before, 2)[1])
        self.assertIn("messages 0/s in", now.summary(None, 2)[1])

    def test_figures_of_one_service(self) -> None:
        """Only its own, and those of the process; its name may have any character."""
        text = (
            'twisted_net_connections{service="a",state="open"} 3.0\n'
            'twisted_net_connections{form="x",service="b \\\\ \\" , service=\\"a\\""} 4.0\n'
            'twisted_net_connections{otherservice="a",service="aa"} 5.0\n'
            "twisted_net_reactor_turn_duration_seconds_count 7.0\n"
        )
        for service, count in (("a", 3), ('b \\ " , service="a"', 4), ("", 12), ("c", 0)):
            figures = Figures(text, service)
            self.assertEqual(figures["connections"], count)
            self.assertEqual(figures["reactor_turn_duration_seconds_count"], 7)


class CommandLineTests(SynchronousTestCase):
    def run_main(self, *words: str) -> tuple[Any, str, str]:
        """Return status, output and errors of a command line."""
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                status: Any = main(words)
            except SystemExit as error:
                status = error.code
        return status, output.getvalue(), errors.getvalue()

    def test_a_certificate_that_is_refused(self) -> None:
        """The reason is there without Python's own words; so are the names that it is for."""

        class Refusing:
            host, port = "chat.example", 443

            def request(self, *_: object) -> None:
                raise error

            def close(self) -> None:
                """Close it."""

        error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] (_ssl.c:1)")
        self.patch(Server, "_connection", lambda *_: Refusing())
        self.patch(admin, "certificate_names", lambda *where: ["a.example", "b\n"])
        at = ("--at", "https://chat.example")
        for code, text, said in (
            (18, "self-signed certificate", "self-signed certificate"),
            (62, "Hostname mismatch.", "Hostname mismatch; it is for 'a.example', 'b\\n'"),
        ):
            error.verify_code, error.verify_message = code, text
            expected = f"netchat-admin: {at[1]}: certificate verify failed: {said}\n"
            self.assertEqual(self.run_main(*at, "who"), (1, "", expected))

    def test_workers_that_do_not_answer(self) -> None:
        """A list without theirs says so: ``who`` behind it, ``top`` above it."""
        page: dict[str, Any] = {"connections": [ROW], "next": None, "missing_workers": [3, 1]}
        self.patch(Server, "ask", lambda *_: page)
        self.patch(Server, "open", lambda *_: io.BytesIO(b"twisted_net_ready 1.0\n"))
        line = "not answering, and missing here: worker 1, 3"
        status, output, errors = self.run_main("who")
        self.assertEqual((status, errors), (0, f"netchat-admin: {line}\n"))
        self.assertIn("192.0.2.1", output)
        self.assertIn(line, self.run_main("top", "--once")[1].splitlines())
        page.pop("missing_workers")
        self.assertEqual(self.run_main("who")[2], "")

    def test_a_server_that_is_not_ready(self) -> None:
        """``top`` says why; a server that is ready has no such line."""
        answers = {
            "/metrics": (200, b"twisted_net_ready 0.0\n"),
            "/readyz": (503, b"netchat: the disk\x07 is full\n"),
        }

        class Answering:
            def request(self, method: str, path: str, *_: object) -> None:
                self.status, self.body = answers.get(path, (200, b'{"connections":[],"next":null}'))

            def getresponse(self) -> Any:
                return self

            def read(self, size: int = -1) -> bytes:
                return self.body

        self.patch(Server, "_connection", lambda *_: Answering())
        status, output, errors = self.run_main("top", "--once")
        self.assertEqual((status, errors), (0, ""))
        self.assertIn("not ready: netchat: the disk is full", output.splitlines())
        answers["/metrics"] = (200, b"twisted_net_ready 1.0\n")
        self.assertNotIn("not ready", self.run_main("top", "--once")[1])
        answers["/metrics"] = (200, b"twisted_net_ready 0.0\n")
        answers["/readyz"] = (200, b"ready\n")  # it has become ready in between
        self.assertNotIn("not ready:", self.run_main("top", "--once")[1])

    def test_a_room_that_all_have_left(self) -> None:
        """``top`` goes on, because they may come back; a room that was never there is an error."""
        pages: list[Any] = [{"connections": [ROW], "next": None}, AdminError("gone", 404)]

        def ask(*_: object) -> Any:
            if isinstance(pages[0], AdminError):
                raise pages.pop(0)
            return pages.pop(0)

        def sleep(seconds: float) -> None:
            if not pages:
                raise KeyboardInterrupt

        self.patch(Server, "ask", ask)
        self.patch(Server, "open", lambda *_: io.BytesIO(b"twisted_net_ready 1.0\n"))
        self.patch(admin.time, "sleep", sleep)
        status, output, errors = self.run_main("top", "--room", "tea")
        self.assertEqual((status, errors, output.count("ready   ")), (130, "", 2))
        pages.append(AdminError("gone", 404))
        status, _, errors = self.run_main("top", "--room", "tea")
        self.assertEqual((status, errors), (1, "netchat-admin: gone\n"))

    def test_help(self) -> None:
        """Every command has help, of at most 80 columns."""
        self.patch(os, "environ", {**os.environ, "COLUMNS": "80"})
        commands = ("top", "who", "close", "tap", "drain", "reload", "upgrade")
        for words in ((), *((each,) for each in commands)):
            status, output, _ = self.run_main(*words, "--help")
            self.assertEqual(status, 0)
            self.assertLessEqual(max(map(len, output.splitlines())), 80)

    def test_errors(self) -> None:
        """One line that names what is wrong."""
        for words, text in (
            (("--at", "ftp://x", "who"), "--at ftp://x: must be a URL, or unix:PATH"),
            (("--at", "localhost", "who"), "--at localhost: must be a URL"),
            (("--at", "unix:/nonexistent/x", "who"), "No such file or directory"),
            (("--token-file", "/nonexistent", "who"), "--token-file /nonexistent: No such file"),
            (("--token-file", "/", "who"), "--token-file /: Is a directory"),
            (("--at", "http://[::1", "who"), "--at http://[::1: must be a URL, or unix:PATH: "),
            (("--at", "http://127.0.0.1:abc", "who"), "--at http://127.0.0.1:abc: must be a URL"),
            (("--at", "http://127.0.0.1:70000", "who"), "127.0.0.1:70000: must be a URL"),
            (("--at", f"http://{'x' * 64}.\xe9", "who"), f"http://{'x' * 64}.\xe9: "),
            (("--at", "http://\r\n[::1", "who"), "--at http://[::1: must be"),
        ):
            status, output, errors = self.run_main(*words)
            self.assertEqual((status, output, errors.count("\n")), (1, "", 1), errors)
            self.assertIn(text, errors)

    def test_a_token_that_cannot_be_sent(self) -> None:
        """Is one line that names the file, and does not show what may be a secret."""
        for token in (b"\xe2\x82\xac", b"\xff", "caf\xe9".encode(), b"a b", b"a\x7f", b"", b"\n"):
            path = self.mktemp()
            with open(path, "wb") as file:
                file.write(token)
            status, output, errors = self.run_main("--token-file", path, "who")
            self.assertEqual((status, output), (1, ""))
            expected = f"--token-file {path}: its first line must be ASCII, without spaces"
            self.assertEqual(errors, f"netchat-admin: {expected}\n")

    def test_what_is_no_text(self) -> None:
        """Bytes of the command line that are no UTF-8 go to the server as they are."""
        asked: list[str] = []

        def ask(server: object, path: str) -> Any:
            asked.append(path)
            return {"connections": [], "next": None}

        self.patch(Server, "ask", ask)
        status, _, _ = self.run_main("--service", "\udcff", "who", "--room", "\udcfe")
        self.assertEqual(status, 0)
        self.assertIn("room=%FE", asked[0])

    def test_an_output_without_wide_characters(self) -> None:
        """A name that its encoding does not have is shown all the same."""
        page = {"connections": [{**ROW, "name": "\u5b89"}], "next": None}
        self.patch(Server, "ask", lambda *_: page)
        data = io.BytesIO()
        with io.TextIOWrapper(data, encoding="ascii", write_through=True) as output:
            with contextlib.redirect_stdout(output):
                self.assertEqual(main(["who"]), 0)
            self.assertIn(rb"\u5b89", data.getvalue())

    def test_wrong_arguments(self) -> None:
        """The parser names the argument and the value."""
        for words, text in (
            (("close", "x"), "x: must be a whole number"),
            (("tap", "0"), "0: must be a whole number"),
            (("who", "-n", "-1"), "-n"),
            (("who", "--sort", "x"), "invalid choice: 'x'"),
            (("top", "--every", "0"), "0: must be from 0.1"),
            (("top", "--every", "x"), "x: must be from 0.1"),
            ((), "required: COMMAND"),
        ):
            status, _, errors = self.run_main(*words)
            self.assertEqual(status, 2)
            self.assertIn(text, errors)

    def test_pages(self) -> None:
        """``who`` follows the pages, up to its limit."""
        asked: list[str] = []

        def ask(server: object, path: str) -> Any:
            asked.append(path)
            first = "after" not in path
            rows = [{**ROW, "id": 1 if first else 2}]
            return {"connections": rows, "next": "7:1" if first else None}

        self.patch(Server, "ask", ask)
        status, output, _ = self.run_main("who", "--room", "#tea")
        self.assertEqual((status, len(output.splitlines())), (0, 3))
        self.assertIn("room=tea", asked[0])
        self.assertIn("after=7%3A1", asked[1])
        asked.clear()
        self.run_main("who", "-n", "1")
        self.assertEqual(len(asked), 1)

    def test_one_of_several_services(self) -> None:
        """``--service`` goes with each request."""
        asked: list[str] = []

        class Connection:
            def request(self, method: str, path: str, *rest: object) -> None:
                asked.append(path)
                raise OSError("not now")

            def close(self) -> None:
                pass

        self.patch(Server, "_connection", lambda *_: Connection())
        for words, path in (
            (("who",), "/connections?sort=id&limit=1000&service=a+b"),
            (("close", "7"), "/connections/7/close?service=a+b"),
            (("drain",), "/drain?service=a+b"),
            (("tap", "7"), "/connections/7/tap?service=a+b"),
        ):
            self.assertEqual(self.run_main("--service", "a b", *words)[0], 1)
            self.assertEqual(asked.pop(), path)

    def test_looking_on(self) -> None:
        """Each line of the server is one line that is shown; another server's are an error."""
        line = '{"time":0,"dir":"in","text":"a\x9b2J\u202eb"}\n'.encode()
        for words, lines, status, shown in (
            (("--json",), line, 0, '{"time":0,"dir":"in","text":"a\\u009b2J\\u202eb"}'),
            ((), line, 0, "-> ab"),
            ((), b"<p>\n", 1, ""),
            (("--json",), b"\xff\n", 1, ""),
        ):
            self.patch(Server, "open", lambda *_, lines=lines, **__: io.BytesIO(lines))
            found, output, errors = self.run_main("tap", "7", *words)
            self.assertEqual((found, errors.count("\n")), (status, status))
            self.assertTrue(output.endswith(f"{shown}\n" if shown else ""), output)

    def test_the_end_of_an_answer(self) -> None:
        """A server that goes away is one line, and so is Ctrl-C."""

        def gone(server: Server, options: argparse.Namespace) -> None:
            raise admin.http.client.IncompleteRead(b"")

        def interrupted(server: Server, options: argparse.Namespace) -> None:
            raise KeyboardInterrupt

        self.patch(admin, "_who", gone)
        status, _, errors = self.run_main("who")
        self.assertEqual((status, errors.count("\n")), (1, 1))
        self.patch(admin, "_who", interrupted)
        self.assertEqual(self.run_main("who")[0], 130)

    def test_another_server_cannot_control_the_terminal(self) -> None:
        """Its words in an error are one line, without escape sequences."""

        def refused(server: Server, options: argparse.Namespace) -> None:
            raise AdminError("http://h: HTTP 500 \x1b]0;OWNED\x07no\nmore\u202e")

        def gone(server: Server, options: argparse.Namespace) -> None:
            raise admin.http.client.BadStatusLine("\x1b[2Jno")

        for action, said in ((refused, "HTTP 500 nomore\n"), (gone, "(no)\n")):
            self.patch(admin, "_who", action)
            self.assertTrue(self.run_main("who")[2].endswith(said))

    def test_an_address(self) -> None:
        """Must be usable."""
        self.assertRaises(AdminError, Server, "nonsense")
        Server("https://chat.example:9191")
        Server("unix:/run/chat.admin")
