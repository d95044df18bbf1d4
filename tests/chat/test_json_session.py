"""Tests of ``docs/json-session.rst``: its sessions are played, and its lists compared."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

from tests.chat.chat_peers import SCHEMA, ChatCase
from twisted_net import __version__
from twisted_net.policy.close_reasons import REASONS
from twisted_net.testing import Peer, connect_peer

CHECKOUT = Path(__file__).resolve().parent.parent.parent

PAGE = (CHECKOUT / "docs" / "json-session.rst").read_text()

TOKEN = re.compile(r"\b[0-9a-f]{32}\b")
"""A session or an epoch."""


def sessions() -> list[list[str]]:
    """Return the lines of each session of the page. Blocks of indented lines are sessions."""
    blocks = re.findall(r"(?:^ (?:C|S|bob): .*\n)+", PAGE, re.MULTILINE)
    return [[line[1:] for line in block.splitlines()] for block in blocks]


def listed(title: str) -> set[str]:
    """Return the codes in the first column of the table below a title of the page."""
    table = PAGE.split(f"\n{title}\n", 1)[1].split("\n\n\n", 1)[0].split("\n====")[2]
    return set(re.findall(r"^``([a-z-]+)``", table, re.MULTILINE))


def used_codes() -> set[str]:
    """Return the codes of all errors in the source of the chat."""
    found = set()
    for path in (CHECKOUT / "twisted_net" / "chat").rglob("*.py"):
        if path.parent.name == "client":
            continue  # ChatClient makes codes of its own
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Name(id="RequestError" | "ErrorReply" | "ChatError"),
                    args=[ast.Constant(value=str(code)), *_],
                ):
                    found.add(code)
    return found


class SessionPageTests(ChatCase):
    """The page about the JSON form."""

    maxDiff = None

    def play(self, lines: list[str], bob: Peer) -> list[str]:
        """Play what the client and Bob say, and return the session as it really goes."""
        client: Peer | None = None
        played: list[str] = []
        for line in lines:
            who, said = line.split(": ", 1)
            if who == "S":
                continue
            if who == "C" and client is None:
                client = connect_peer(self.factory)
            for shown, real in self.tokens.items():
                said = said.replace(shown, real)
            (client if who == "C" else bob).send(said.encode() + b"\n")
            played += [line, *self.heard(client, lines[len(played) + 1 :])]
        if client.connected:
            client.write_eof()
        return played

    def heard(self, client: Peer | None, shown: list[str]) -> list[str]:
        """Return what the client received, with the random texts that the page shows."""
        self.clock.advance(0.5)  # joins and leaves are announced
        if client is None:
            return []
        text = client.take().decode()
        lines = [f"S: {line}" for line in text.splitlines() if line[0] == "{"]
        for line, wanted in zip(lines, shown, strict=False):
            self.tokens.update(zip(TOKEN.findall(wanted), TOKEN.findall(line), strict=False))
        text = "\n".join(lines)
        for token, real in self.tokens.items():
            text = text.replace(real, token)
        return text.splitlines()

    def test_the_sessions(self) -> None:
        """Each session goes exactly as the page shows it, but for random texts."""
        self.tokens: dict[str, str] = {}
        bob = self.user("bob")
        self.clock.advance(1)
        wanted = [
            line.replace("twisted_net/0.1.0", f"twisted_net/{__version__}")
            for lines in sessions()
            for line in lines
        ]
        played = [line for lines in sessions() for line in self.play(lines, bob)]
        self.assertEqual(played, wanted)
        self.assertEqual(len(sessions()), 2)
        self.assertGreater(len(wanted), 30)

    def test_the_ids(self) -> None:
        """In the sessions, each answer has the id of its request, and nothing else has one."""
        id = None
        for line in itertools.chain(*sessions()):
            found = re.search(r'"id":"(\w+)"', line)
            if line.startswith("S: "):
                is_answer = not re.search('^S: {"type":"(message|presence)"', line)
                self.assertEqual(found and found[1], id if is_answer else None, line)
            else:
                id = found and found[1]

    def test_every_error_code_is_listed(self) -> None:
        """The page and the schema list exactly the codes that the server uses."""
        self.assertGreater(len(used_codes()), 20)
        self.assertEqual(listed("Codes of errors"), used_codes())
        examples = SCHEMA["$defs"]["server-error"]["properties"]["code"]["examples"]
        self.assertEqual(examples, sorted(used_codes()))

    def test_every_goodbye_is_listed(self) -> None:
        """So they do with the codes of a goodbye."""
        table = PAGE.split("\nCodes of goodbyes\n", 1)[1]
        rows = re.findall(r"^``([a-z-]+)`` +(yes|no) +(.+?)$", table, re.MULTILINE)
        wanted = {
            (each.code, "yes" if each.retry else "no", each.text) for each in REASONS.values()
        }
        self.assertEqual(set(rows), wanted)
        examples = SCHEMA["$defs"]["server-goodbye"]["properties"]["code"]["examples"]
        self.assertEqual(examples, sorted(REASONS))
