"""Copies of a store that are taken while a chat writes to it."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.live.harness import LOCALHOST, Client, LiveTestCase, program

PAGE = Path(__file__).resolve().parents[2] / "docs" / "backup.rst"

PYTHON_BACKUP = (
    "import sqlite3, sys; s, t = map(sqlite3.connect, sys.argv[1:]); s.backup(t, pages=int(50));"
    "s.close(); t.close()"
)


class Talker(Client):
    """A client that says one line after another, the next one as soon as one is acknowledged.

    :ivar acked: the texts, in the order of their offsets.
    :ivar wrong: everything else that it was told of its lines.
    """

    talking = True

    def __init__(self) -> None:
        super().__init__()
        self.acked: list[str] = []
        self.wrong: list[dict[str, Any]] = []
        self._rest = b""

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):  # before it, the welcome of the text form
                self._told(json.loads(line))
        self.changed()

    def _told(self, event: dict[str, Any]) -> None:
        if event["type"] == "ack":
            self.acked.append(f"line {len(self.acked) + 1}")
            if event["offset"] != len(self.acked):
                self.wrong.append(event)
        elif event["type"] == "error":
            self.wrong.append(event)
        if event["type"] in ("joined", "ack") and self.talking:
            number = len(self.acked) + 1
            self.ask(type="message", room="lobby", text=f"line {number}", id=str(number))

    def ask(self, **request: Any) -> None:
        self.send(json.dumps(request).encode() + b"\n")

    async def said(self, more: int) -> None:
        """Wait for some more acknowledgements."""
        wanted = len(self.acked) + more
        await self.until(lambda: len(self.acked) >= wanted or self.wrong, f"{wanted} acks")


class Asker(Client):
    """A client that keeps what it is told.

    :ivar events: the answers and events, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        self._rest = b""

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.events += [json.loads(line) for line in lines if line.startswith(b"{")]
        self.changed()

    def ask(self, **request: Any) -> None:
        self.send(json.dumps(request).encode() + b"\n")

    def of(self, type: str) -> list[dict[str, Any]]:
        """Return the events of a type."""
        return [event for event in self.events if event["type"] == type]

    async def told(self, type: str) -> dict[str, Any]:
        """Wait for the first event of a type."""
        await self.until(lambda: self.of(type), type)
        return self.of(type)[0]

    async def say(self, *texts: str) -> None:
        """Say these texts in the lobby, and wait for their acknowledgements."""
        wanted = len(self.of("ack")) + len(texts)
        for text in texts:
            self.ask(type="message", room="lobby", text=text, id=text.replace(" ", "-"))
        await self.until(lambda: len(self.of("ack")) >= wanted, f"{wanted} acks")


class BackupTests(LiveTestCase):
    """A store under load."""

    async def test_copies_are_prefixes(self) -> None:
        """Whatever takes the copy, it has all that was acknowledged before, and nothing between is
        missing. No line is refused meanwhile, and a chat can go on from the copy."""
        sqlite = program("sqlite3")
        here = self.directory()
        server = self.twistd(*self.flags("chat.db"), cwd=here)
        talker: Talker = await self.connect(await server.port(), Talker)
        talker.ask(type="hello", nick="ann", room="lobby")
        await talker.said(500)
        commands = (
            (sqlite, "chat.db", ".backup 'copy.db'"),
            (sqlite, "chat.db", "VACUUM INTO 'copy.db'"),
            (sys.executable, "-c", PYTHON_BACKUP, "chat.db", "copy.db"),
        )
        for command in commands * 3:
            (here / "copy.db").unlink(missing_ok=True)
            before = len(talker.acked)
            copying = self.spawn(*command, cwd=here)
            self.assertEqual(await copying.ended(), 0, copying)
            self.assertEqual(bytes(copying.errors), b"")
            self.check(here / "copy.db", talker.acked, before)
            await talker.said(50)
        self.assertEqual(talker.wrong, [])
        # The newest line may be stored, but not acknowledged yet.
        talker.talking = False
        shutil.copy(here / "copy.db", here / "other.db")
        again = self.twistd(*self.flags("other.db"), cwd=here)
        await again.port()
        self.assertEqual(server.log("Traceback|Unhandled"), [])

    async def test_a_restored_copy(self) -> None:
        """A client that has seen messages which the copy lacks is told so, if the rooms get a new
        epoch as ``docs/backup.rst`` shows. In the old one, it would be told the opposite."""
        self.assertTrue(await self.recovered_after_a_restore(None))
        (command,) = re.findall(r'sqlite3 chat.db "(UPDATE .*)"$', PAGE.read_text(), re.MULTILINE)
        self.assertFalse(await self.recovered_after_a_restore(command))

    async def recovered_after_a_restore(self, update: str | None) -> bool:
        """Return what a client is told that comes back with the offset of a lost message."""
        sqlite, here = program("sqlite3"), self.directory()
        server = self.twistd(*self.flags("chat.db"), cwd=here)
        ann: Asker = await self.connect(await server.port(), Asker)
        ann.ask(type="hello", nick="ann", room="lobby")
        await ann.say("one", "two")
        copying = self.spawn(sqlite, "chat.db", ".backup 'copy.db'", cwd=here)
        self.assertEqual(await copying.ended(), 0, copying)
        await ann.say("three")
        epoch = (await ann.told("joined"))["epoch"]
        server.signal(9)
        await server.ended()
        if update:
            mending = self.spawn(sqlite, "copy.db", update, cwd=here)
            self.assertEqual(await mending.ended(), 0, mending)
        server = self.twistd(*self.flags("copy.db"), cwd=here)
        bob: Asker = await self.connect(await server.port(), Asker)
        bob.ask(type="hello", nick="bob", room="lobby")
        await bob.say("another third", "a fourth")
        back: Asker = await self.connect(await server.port(), Asker)
        back.ask(type="hello", nick="ann")
        back.ask(type="join", room="lobby", since={"epoch": epoch, "offset": 3})
        recovered: bool = (await back.told("joined"))["recovered"]
        return recovered

    async def test_readers_harm_nobody(self) -> None:
        """A reader in a long transaction, and one that is killed, hold up no acknowledgement."""
        here = self.directory()
        server = self.twistd(*self.flags("chat.db"), cwd=here)
        talker: Talker = await self.connect(await server.port(), Talker)
        talker.ask(type="hello", nick="ann", room="lobby")
        await talker.said(10)
        code = (
            "import sqlite3, sys; d = sqlite3.connect('chat.db', isolation_level=None);"
            "d.execute('BEGIN'); print(d.execute('SELECT count(*) FROM entries').fetchone(),"
            "flush=True); sys.stdin.read()"
        )
        readers = [self.spawn(sys.executable, "-c", code, cwd=here) for _ in range(2)]
        for each in readers:
            await each.expect(rb"^\(\d+,\)$")
        await talker.said(2000)
        readers[0].signal(9)
        readers[1].end_input()
        for each in readers:
            await each.ended()
        await talker.said(500)
        self.assertEqual(talker.wrong, [])

    async def test_one_chat_a_file(self) -> None:
        """A second chat on the file is refused with one line, and the first goes on."""
        here = self.directory()
        server = self.twistd(*self.flags("chat.db"), cwd=here)
        talker: Talker = await self.connect(await server.port(), Talker)
        talker.ask(type="hello", nick="ann", room="lobby")
        await talker.said(10)
        second = self.twistd(*self.flags("chat.db"), cwd=here, without=("PYTHONWARNINGS",))
        self.assertEqual(await second.ended(), 1)
        line = "netchat: --store sqlite:chat.db: chat.db: another process uses it\n"
        self.assertEqual(second.errors.decode(), line)
        await talker.said(100)
        self.assertEqual(talker.wrong, [])
        server.signal(9)
        await server.ended()
        third = self.twistd(*self.flags("chat.db"), cwd=here)  # nothing stale is in its way
        await third.port()

    def flags(self, path: str) -> tuple[str, ...]:
        here = ("--port", "0", "--interface", LOCALHOST)
        return ("netchat", *here, "--store", f"sqlite:{path}")

    def check(self, path: Path, acked: list[str], before: int) -> None:
        """Check that a copy is sound, and has at least the first ``before`` lines."""
        with closing(sqlite3.connect(path)) as copy:
            self.assertEqual(copy.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            rows = copy.execute("SELECT offset, text FROM entries ORDER BY offset").fetchall()
            ((top,),) = copy.execute("SELECT top FROM rooms").fetchall()
        self.assertEqual(rows, [(n, f"line {n}") for n in range(1, len(rows) + 1)])
        self.assertEqual(top, len(rows))
        self.assertGreaterEqual(len(rows), before)
        self.assertLessEqual(len(rows), len(acked) + 1)
