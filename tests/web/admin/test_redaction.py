"""Tests for :mod:`twisted_net.web.admin.redaction`."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.web.admin.redaction import hide_secrets, hide_typed_secrets

SECRET = "s3cr3t!"

# Editing keys could erase the command: then it is none, and the rest is said to everybody.
SHOWN = st.text(st.characters(exclude_categories=["C"]), max_size=20)


class RedactionTests(SynchronousTestCase):
    def test_lines_of_the_chat(self) -> None:
        """Every way to type ``/login`` is hidden, and the name stays."""
        for line, shown in (
            (f"/login ann {SECRET}", "/login ann ***"),
            (f"/LOGIN ann {SECRET} more words", "/LOGIN ann ***"),
            (f"  /login ann {SECRET}", "/login ann ***"),
            (f"/login  ann\t{SECRET}", "/login  ann ***"),
            (f"/logim\x08n ann {SECRET}", "/login ann ***"),
            (f"/login ann {SECRET}\x15hello", "hello"),
            (f"\u200b/login ann {SECRET}", "/login ann ***"),
            (f"hello /login ann {SECRET}", "hello /login ann ***"),
            (f"/login {SECRET}", "/login ***"),
            (f"PASS {SECRET}", "PASS ***"),
        ):
            self.assertEqual(hide_typed_secrets(line.encode()), shown.encode(), line)

    def test_json(self) -> None:
        """Passwords and sessions of programs are hidden, wherever they are."""
        for line in (
            {"type": "login", "user": "ann", "password": SECRET},
            {"type": "hello", "session": SECRET, "password": SECRET},
            {"type": "welcome", "nick": "ann", "session": SECRET},
            {"a": [{"b": {"Password": SECRET}}]},
            ["login", {"password": SECRET}],
        ):
            for before in ("", "\ufeff", "  "):
                shown = hide_typed_secrets((before + json.dumps(line)).encode())
                self.assertNotIn(SECRET.encode(), shown)
                self.assertIn(b'"***"', shown)
                json.loads(shown)

    def test_broken_json(self) -> None:
        """What is no JSON, but may have a password, is hidden as a whole."""
        for line in (
            f'{{"type":"login","password":"{SECRET}"',
            f'{{"type":"login","password":"{SECRET}',
            f'{{"p\\u0061ssword":"{SECRET}"',
            f'["login",{{"p\\u0061ssword":"{SECRET}"',
            f'["login",{{"password": a {SECRET}',
        ):
            self.assertNotIn(SECRET.encode(), hide_typed_secrets(line.encode()))
        self.assertEqual(hide_typed_secrets(b'{"type":"m'), b'{"type":"m')

    def test_a_name_twice(self) -> None:
        """A parser keeps one of two values only, so all of them are hidden."""
        for line in (
            f'{{"type":"login","password":"{SECRET}","password":""}}',
            f'{{"type":"login","password":"","password":"{SECRET}"}}',
            f'{{"a":{{"p\\u0061ssword":"{SECRET}"}},"a":1}}',
            f'[{{"a":{{"password":"{SECRET}"}},"a":1}}]',
        ):
            self.assertNotIn(SECRET.encode(), hide_typed_secrets(line.encode()))
        line = '{"text":"a","text":"b"}'
        self.assertEqual(hide_typed_secrets(line.encode()), line.encode())

    def test_an_escaped_name(self) -> None:
        """JSON may write any letter as an escape, in an array, too."""
        for line in (
            f'{{"pass\\u0077ord":"{SECRET}"}}',
            f'["password","x",{{"pass\\u0077ord":"{SECRET}"}}]',
        ):
            shown = hide_typed_secrets(line.encode())
            self.assertNotIn(SECRET.encode(), shown)
            self.assertIn(b'"password":"***"', shown)

    def test_other_protocols(self) -> None:
        """The usual places of passwords in other protocols are hidden."""
        for data in (
            f"AUTH {SECRET}\r\n",
            f"auth default {SECRET}\r\n",
            f"AUTH PLAIN {SECRET}\r\n",
            f"HELLO 3 AUTH default {SECRET}\r\n",
            f"hello 2 setname x auth default {SECRET}\r\n",
            f"USER ann\r\nPASS {SECRET}\r\n",
            f"{{}}\r\nPASS {SECRET}\r\n",
            f"[INFO]\r\nPASS {SECRET}\r\n",
            f"*2\r\n$4\r\nAUTH\r\n$7\r\n{SECRET}\r\n",
            f"GET / HTTP/1.1\r\nAuthorization: Basic {SECRET}\r\nHost: x\r\n\r\n",
            f"GET / HTTP/1.1\r\nCookie: id={SECRET}\r\n\r\n",
            f"GET / HTTP/1.1\r\nX-Auth-Token: {SECRET}\r\n\r\n",
            f"GET / HTTP/1.1\r\nAuthorization:\r\n {SECRET}\r\nHost: x\r\n\r\n",
            f"GET / HTTP/1.1\r\nAuthorization: Basic\n\t{SECRET}\n\n",
            f"GET / HTTP/1.1\r\nCookie: a=b;\r\n  c=d;\r\n  id={SECRET}\r\n\r\n",
            f'POST / HTTP/1.1\r\n\r\n{{"password": "{SECRET}"}}',
        ):
            shown = hide_secrets(data.encode())
            self.assertNotIn(SECRET.encode(), shown)
            self.assertIn(b"***", shown)

    def test_the_rest_of_a_request_stays(self) -> None:
        """The headers after a secret, and the body."""
        request = b"GET / HTTP/1.1\r\nAuthorization: a\r\n b\r\nHost: x\r\n\r\n body"
        self.assertEqual(
            hide_secrets(request), b"GET / HTTP/1.1\r\nAuthorization: ***\r\nHost: x\r\n\r\n body"
        )

    def test_what_stays(self) -> None:
        """Everything else stays byte for byte."""
        for line in (
            b"hello, world",
            b"/join tea",
            b"I forgot my password",
            b"the passage is authentic: /nick ann",
            b'{"type":"message",  "text":"what is my password?"}',
            b' [1,  {"text":"what is my password?"}]',
            b"[12:00] hello 3 times; it is in C:\\users",
            b"\xff\xfe\x00\x01",
            b"",
        ):
            self.assertEqual(hide_typed_secrets(line), line)
            self.assertEqual(hide_secrets(line), line)

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """It never fails."""
        hide_secrets(data)
        hide_typed_secrets(data)

    @given(SHOWN, st.sampled_from(["/login", "/Login"]), SHOWN)
    def test_a_login_is_always_hidden(self, name: str, word: str, before: str) -> None:
        """Whatever the name is, and whatever stands before."""
        line = f"{before}{word} {name} {SECRET}"
        self.assertNotIn(SECRET.encode(), hide_typed_secrets(line.encode(errors="replace")))
