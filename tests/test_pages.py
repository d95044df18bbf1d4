"""The pages of ``docs/``: each command is in a session that a test plays, and each snippet runs.

``tests/live/test_guide.py`` plays the sessions.
"""

from __future__ import annotations

import doctest
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.simulation import Costs
from twisted_net.store.log import Bounds
from twisted_net.store.redis.location import REDIS_BOUNDS
from twisted_net.store.sqlite import FILE_BOUNDS

DOCS = Path(__file__).resolve().parent.parent / "docs"

_BLOCK = re.compile(
    r"^( *)(?:\.\. (?P<directive>[a-z-]+):: *(?P<argument>\S*)|(?!\.\. )\S.*::)\n"
    r"(?P<options>(?:\1 +:[a-z-]+:.*\n)*)(?P<body>(?:\n|\1 +.*\n)+)",
    re.MULTILINE,
)
_PROGRAMS = (
    "twistd twist trial python3? pip node npm nc telnet curl openssl sqlite3 redis-server "
    r"redis-cli netchat-\w+ kill docker kubectl systemctl journalctl certbot apt apt-get promtool "
    "git sphinx-build cp rm mkdir echo cat tail export umask"
)
_COMMAND = re.compile(rf"(?:\$ )?(?:sudo )?(?:[\w./~-]*/)?(?:{'|'.join(_PROGRAMS.split())})(?: |$)")


_DOCTEST_FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL  # as in docs/conf.py


class Block(NamedTuple):
    """A literal block, or a directive with its content."""

    directive: str
    argument: str
    options: str
    text: str


def blocks(text: str) -> Iterator[Block]:
    """Yield the literal blocks and the directives of a page."""
    for found in _BLOCK.finditer(text):
        body = textwrap.dedent(found["body"]).strip("\n")
        yield Block(found["directive"] or "", found["argument"] or "", found["options"], body)


def pages() -> list[Path]:
    """Return the pages of the guide."""
    return sorted(path for path in DOCS.rglob("*.rst") if "_build" not in path.parts)


def commands_outside(text: str) -> list[str]:
    """Return the lines that are commands, and in a block that no test plays."""
    return [
        line
        for block in blocks(text)
        if block.argument != "console" and block.directive in ("", "code-block")
        for line in block.text.splitlines()
        if _COMMAND.match(line)
    ]


class CommandTests(SynchronousTestCase):
    def test_commands_are_in_sessions(self) -> None:
        """A line that begins with the name of a program is in a ``console`` block."""
        found = {path.name: commands_outside(path.read_text()) for path in pages()}
        self.assertEqual({name: lines for name, lines in found.items() if lines}, {})

    def test_what_would_be_found(self) -> None:
        """Commands in literal blocks would be found, and those in sessions would not."""
        text = (
            "Run it::\n\n    twistd -n netchat\n    kill -HUP 1\n\nText: ::\n\n    curl x\n\n"
            ".. code-block:: console\n   :caption: Terminal 2\n\n   $ nc localhost 8080\n   hi\n\n"
            ".. code-block:: text\n\n   openssl rand 80\n\n"
            "- An item::\n\n      sqlite3 a.db\n\nTo kill::\n\n    killed by\n    ok\n"
        )
        self.assertEqual(
            commands_outside(text),
            ["twistd -n netchat", "kill -HUP 1", "curl x", "openssl rand 80", "sqlite3 a.db"],
        )


class SnippetTests(SynchronousTestCase):
    def tearDown(self) -> None:
        """End what a page has begun, such as the clock of a web site."""
        from twisted.internet import reactor

        for call in reactor.getDelayedCalls():  # type: ignore[attr-defined]  # a module to mypy
            call.cancel()

    def test_snippets_run(self) -> None:
        """Python without a file's name runs, block after block of a page in one namespace. What
        has a file's name is saved and run by the page's sessions."""
        ran = 0
        for path in pages():
            names: dict[str, Any] = {"__name__": path.stem}
            for block in blocks(path.read_text()):
                saved = ":caption:" in block.options or "not-run" in block.options
                if block.argument == "python" and not saved:
                    ran += 1
                    exec(compile(block.text, str(path), "exec"), names)
        self.assertGreater(ran, 1)

    def test_sums(self) -> None:
        """What a page computes has the results that it shows."""
        ran = 0
        for path in pages():
            # Not what stands in a block: a shell of another program has the same prompt.
            text = _BLOCK.sub("", path.read_text())
            examples = doctest.DocTestParser().get_doctest(text, {}, path.name, str(path), 0)
            runner = doctest.DocTestRunner(optionflags=_DOCTEST_FLAGS)
            self.assertEqual(runner.run(examples).failed, 0, path)
            ran += runner.tries
        self.assertGreater(ran, 5)


class LimitsPageTests(SynchronousTestCase):
    """``docs/limits.rst``."""

    def test_costs(self) -> None:
        """Its costs are those that the simulations count with."""
        words, costs = " ".join((DOCS / "limits.rst").read_text().split()), Costs()
        for said in (
            f"an idle JSON connection {costs.memory / 1000:.1f} KB of the process, and 5 KB",
            f"{(costs.memory + costs.tls_memory) / 1000:.0f} KB of the process, of which OpenSSL "
            f"needs {costs.tls_memory / 1000:.1f}",
            f"a client that comes, JSON, no TLS {costs.join:.0f} us",
            f"a TLS handshake, ECDSA P-256 {costs.handshake:.0f} us",
            f"a message to one member {costs.delivery:.0f} us",
            f"clients that may come at once x ({costs.join:.0f} us, and {costs.handshake:.0f} us",
            f"{costs.delivery:.0f}e-6",
        ):
            self.assertIn(said, words)

    def test_bounds(self) -> None:
        """What it says of histories is what the stores keep."""
        words = " ".join((DOCS / "limits.rst").read_text().split())
        self.assertIn(
            f"{Bounds().bytes >> 10} KiB in ``memory:``, {FILE_BOUNDS.bytes >> 20} MiB of the "
            f"disk in ``sqlite:``, {REDIS_BOUNDS.bytes >> 20} MiB of Redis",
            words,
        )
        self.assertIn(f"{Bounds().rooms:,} in memory", words)


class QuestionTests(SynchronousTestCase):
    """``docs/questions.rst``."""

    def test_each_has_an_answer_a_page_and_a_source(self) -> None:
        """Each question leads to a page that has more, and says where it was asked."""
        text = (DOCS / "questions.rst").read_text()
        found = re.split(r"^(.+\?)\n-+$", text, flags=re.MULTILINE)[1:]
        questions = dict(zip(found[::2], found[1::2], strict=True))
        self.assertGreaterEqual(len(questions), 10)
        for question, answer in questions.items():
            self.assertRegex(answer, r":doc:`[\w/-]+`", question)
            self.assertRegex(answer, r"\*Asked (in|on)\* ", question)
            for page in re.findall(r":doc:`([\w/-]+)`", answer):
                self.assertTrue((DOCS / f"{page}.rst").exists(), page)
