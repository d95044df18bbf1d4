"""Bytes that change on their way to a real Redis: nothing wrong is stored, sent or told."""

from __future__ import annotations

import random
import socket

import hiredis

from tests.live.harness import LOCALHOST, PATIENCE
from tests.live.redis_case import RedisCase
from tests.store.store_contract import make_message
from twisted_net.store.redis.framing import encode_command
from twisted_net.store.redis.names import Names, shielded
from twisted_net.store.redis.records import append_arguments
from twisted_net.store.redis.script import Script
from twisted_net.store.redis.scripts import APPEND, SCRIPTS
from twisted_net.store.redis.seals import open_reply, seal_command
from twisted_net.store.redis.shared_scripts import NOTIFY, PUT

NAMES = Names("netchat", 0)
ROOM = NAMES.room("a")
TOPIC = NAMES.topic_channel("t")


class ChangedCommandTests(RedisCase):
    """Each byte of a command is changed once."""

    def setUp(self) -> None:
        super().setUp()
        self.random = random.Random(20260417)
        for script in SCRIPTS:
            self.assertEqual(self.server.ask("SCRIPT", "LOAD", script.text).decode(), script.digest)

    def changed(self, script: Script, keys: list[bytes], arguments: list[bytes | str | int]) -> int:
        """Send a command with each of its bytes changed, and return how often it was done."""
        sealed = seal_command(keys, arguments)
        data = encode_command(["EVALSHA", script.digest, len(keys), *keys, *sealed])
        done = 0
        for at in range(len(data)):
            piece = bytearray(data)
            piece[at] ^= 1 << self.random.randrange(8)
            done += self.is_done(bytes(piece), sealed[-1])
        return done

    def is_done(self, data: bytes, seal: bytes) -> bool:
        """Send bytes, and return whether the first answer is that of the script."""
        reader = hiredis.Reader()
        with socket.create_connection((LOCALHOST, self.server.port), PATIENCE) as link:
            link.sendall(data)
            link.shutdown(socket.SHUT_WR)  # Redis may wait for more than there is
            try:
                while piece := link.recv(65536):
                    reader.feed(piece)
            except ConnectionResetError:
                pass
        try:
            open_reply(seal, reader.gets())
        except Exception:
            return False
        return True

    def test_an_append(self) -> None:
        """The message is stored as it was sent, or not at all."""
        message = make_message("a text of some length", "id")
        head: list[bytes | str | int] = [
            "e",
            "",
            0,
            0,
            1000,
            1 << 20,
            0,
            1000,
            b"a",
            b"{netchat:",
            0,
        ]
        arguments = [*head, "process", ROOM.channel, *append_arguments(message)]
        keys = [ROOM.meta, ROOM.log, ROOM.ids, NAMES.rooms]
        done = self.changed(APPEND, keys, arguments)
        records = [fields[1] for _, fields in self.server.ask("XRANGE", ROOM.log, "-", "+")]
        self.assertEqual(set(records) or {arguments[-1]}, {arguments[-1]})
        self.assertLessEqual(len(records), 1)
        self.assertGreater(done, 0)  # some bytes mean nothing to Redis, such as ends of lines
        others = set(self.server.ask("KEYS", "*")) - {*keys}
        self.assertEqual(others, set())

    def test_a_text(self) -> None:
        """A text is kept as it was sent, or not at all."""
        keys = [NAMES.values("topic:a"), NAMES.value_numbers]
        self.changed(PUT, keys, ["topic:a", b"=topic", b"=a topic of some length"])
        kept = self.server.ask("HVALS", keys[0])
        self.assertEqual(
            {each.partition(b" ")[2] for each in kept} or {b"a topic of some length"},
            {b"a topic of some length"},
        )
        self.assertEqual(set(self.server.ask("KEYS", "*")) - {*keys}, set())

    def test_a_text_that_is_a_command(self) -> None:
        """A number of arguments that was changed does not make a command of what users say."""
        keys = [NAMES.values("topic:a"), NAMES.value_numbers]
        self.server.ask("SET", "kept", "1")
        sealed = seal_command(keys, ["topic:a", shielded("flushall"), shielded("flushall")])
        data = encode_command(["EVALSHA", PUT.digest, len(keys), *keys, *sealed])
        head, rest = data.split(b"\r\n", 1)
        self.assertEqual(head, b"*9")
        for count in range(1, 9):
            self.is_done(b"*%d\r\n%b" % (count, rest), sealed[-1])
        self.assertEqual(self.server.ask("KEYS", "*"), [b"kept"])

    def test_a_notification(self) -> None:
        """A notification is heard as it was sent, or not at all."""
        stream = NAMES.notifications("t")
        self.changed(NOTIFY, [stream], ["p", TOPIC, b"some data", 10, 60_000])
        kept = self.server.ask("XRANGE", stream, "-", "+")
        self.assertEqual(
            {tuple(fields) for _, fields in kept} or {(b"p", b"p", b"d", b"some data")},
            {(b"p", b"p", b"d", b"some data")},
        )
