"""The benchmarks of WebSockets, in short: whether they measure, not what."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SkipTest

from benchmarks.build import HERE, build
from tests.live.harness import Client, LiveTestCase, program

OPENED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Answering(Client):
    """A server that answers each opening request with the same bytes."""

    answer: ClassVar[bytes] = b""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if data.startswith(b"GET "):
            self.send(self.answer)


class LoadTests(LiveTestCase):
    """The load generator ends if a server does not keep to the protocol."""

    def setUp(self) -> None:
        program("cc")
        self.load = build(self.directory()).load

    async def said_to(self, answer: bytes) -> bytes:
        """Return what the generator says to a server with this answer."""
        upstream = self.listen(type("Answers", (Answering,), {"answer": answer}))
        load = self.spawn(
            *(str(self.load), "broadcast", f"port={upstream.port}", "rate=20", "websocket=1")
        )
        self.assertEqual(await load.ended(), 1, load)
        return bytes(load.errors)

    async def test_a_refusal(self) -> None:
        for answer in (
            b"HTTP/1.1 403 Forbidden\r\n\r\n",
            OPENED.replace(b"s3pP", b"S3pP"),
        ):
            self.assertIn(b"a server has refused a WebSocket", await self.said_to(answer))

    async def test_an_answer_without_end(self) -> None:
        said = await self.said_to(b"HTTP/1.1 101 Switching\r\n" + b"x" * 5000)
        self.assertIn(b"the answer to an opening request is too long", said)

    async def test_wrong_frames(self) -> None:
        for frame, complaint in (
            (b"\x81\x81\x00\x00\x00\x00x", b"a server has masked a frame"),
            (b"\xc1\x01x", b"a frame is not a whole text message without compression"),
            (b"\x01\x01x", b"a frame is not a whole text message without compression"),
            (b"\x89\x7e\x00\x7e" + b"x" * 126, b"a control frame is too long"),
        ):
            self.assertIn(complaint, await self.said_to(OPENED + frame))


class BenchmarkTests(LiveTestCase):
    """Every delivery is counted, and nothing is missing or wrong."""

    async def cases(self, work: str, *flags: str) -> tuple[list[dict[str, Any]], str]:
        program("cc")
        file = self.directory() / "samples.json"
        running = self.spawn(
            *(sys.executable, "-m", "benchmarks", work, "--members", "10", "--rounds", "1"),
            *("--seconds", "1", "--json", str(file), *flags),
            cwd=HERE.parent,
        )
        self.assertEqual(await running.ended(self.timeout), 0, running.output)
        return json.loads(Path(file).read_text())["results"], running.output.decode()

    def check(self, case: dict[str, Any], *peers: str) -> None:
        self.assertEqual(case["notes"], {})
        self.assertEqual(tuple(case["samples"]), peers)
        for (sample,) in case["samples"].values():
            self.assertGreater(sample["figures"]["per_s"], 0)
            self.assertGreater(sample["figures"]["cpu_us"], 0)

    async def test_a_broadcast(self) -> None:
        peers = ("ours", "ours-lines", "ours-bare", "websockets")
        found, output = await self.cases("websocket", "--rate", "20", "--peers", ",".join(peers))
        self.assertEqual(len(found), 1)
        self.check(found[0], *peers)
        self.assertIn("broadcast: 10 connections, 20 messages/s, 100 B, websocket", output)

    async def test_in_c(self) -> None:
        """Frames of all three lengths of a head are sent once to all others, and nothing else."""
        peers = "c", "c-each"
        sizes = "20,4096,70000"
        found, _ = await self.cases(
            *("websocket", "--rate", "20", "--size", sizes, "--peers", ",".join(peers))
        )
        self.assertEqual(len(found), 3)
        for case in found:
            self.check(case, *peers)

    async def test_over_tls(self) -> None:
        """Sizes of all three kinds are in frames: below 126 bytes, below 64 KiB, and more."""
        program("openssl")
        found, _ = await self.cases(
            *("websocket", "--rate", "10", "--size", "20,4096,70000", "--tls", "--peers", "ours"),
            *("--our-options", "--max-message 100000"),
        )
        self.assertEqual(len(found), 3)
        for case in found:
            self.check(case, "ours")

    async def test_ws(self) -> None:
        """It is installed in a directory of its own."""
        program("node")
        found, output = await self.cases("websocket", "--rate", "20", "--peers", "ours,ws")
        if "is left out" in output:
            raise SkipTest("`ws` cannot be installed here: " + output)
        self.check(found[0], "ours", "ws")
        self.assertFalse((HERE / "peers" / "ws" / "node_modules").exists())

    async def test_memory(self) -> None:
        (case,), _ = await self.cases("idle", "--form", "websocket", "--peers", "ours")
        self.assertEqual(case["notes"], {})
        self.assertIn("rss_kb_each", case["samples"]["ours"][0]["figures"])

    async def test_frames(self) -> None:
        """Every row is in the table. What was too much depends on the machine."""
        running = self.spawn(
            *(sys.executable, "-m", "benchmarks.frames", "--rounds", "1"), cwd=HERE.parent
        )
        self.assertIn(await running.ended(self.timeout), (0, 1), running.output)
        lines = running.output.decode().splitlines()[-6:]
        for line, start in zip(
            lines,
            (
                *("parse one message of 100 B", "parse one message of 16,384 B"),
                *("65,000 fragments of a byte", "1,000,000 empty fragments"),
                *("1 GB compressed, limit 8 KiB", "1 GB compressed, limit 1 MiB"),
            ),
            strict=True,
        ):
            self.assertTrue(line.startswith(start), line)
        for line, code in zip(lines[2:], (1008, 1008, 1009, 1009), strict=True):
            self.assertIn(f" {code}, ", line)
