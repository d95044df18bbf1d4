"""The programs and sessions of the guide do what its pages show."""

from __future__ import annotations

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.live.browser import BrowserTestCase
from tests.live.console import (
    CHECKOUT,
    EXAMPLES,
    Line,
    Page,
    Player,
    Session,
    pattern_of,
    read_page,
)
from tests.live.harness import LiveTestCase, program, script

DOCS = CHECKOUT / "docs"

# What is shown and cannot be run here: page, first command of the block, and why.
NOT_RUN: dict[tuple[str, str], str] = {
    (
        "internals/benchmarks",
        "python -m benchmarks broadcast --members 500 --rate 200 --rounds 5",
    ): "measures for minutes; tests.live.test_benchmarks runs a short one",
    ("alerts", "promtool check rules docs/monitoring/alerts.yml"): "tests.live.test_admin does it",
    (
        "deployment",
        "python3 -m venv /opt/twisted_net && /opt/twisted_net/bin/pip install twisted_net",
    ): ("needs root and systemd; systemd-analyze reads the unit in tests.live.test_deployment"),
    ("deployment", "docker build --file docs/deployment/Dockerfile --tag netchat ."): (
        "needs a container engine; tests.live.test_deployment runs the image's command"
    ),
    ("deployment", "docker run --publish 8443:8443 --volume netchat:/var/lib/netchat \\"): (
        "needs a container engine"
    ),
    ("deployment", "python -m twisted_net.services.completion > /etc/bash_completion.d/twistd"): (
        "needs root; tests.live.test_completion compares what it prints"
    ),
    ("terminal-client", "pip install 'twisted_net[client]'"): (
        "takes a terminal over; tests.live.test_terminal does it with tmux"
    ),
    ("tls", "certbot certonly --standalone --domain chat.example"): "needs a public name",
    ("tls", "python3 -m venv scan && scan/bin/pip install sslyze"): "needs packages from the net",
    ("upgrade", "pip install --upgrade twisted_net        # or put your new code in place"): (
        "a process would outlive its terminal; tests.live.test_upgrade sends the signal"
    ),
    ("upgrade", "systemctl kill --kill-whom=main --signal=USR2 netchat"): (
        "needs systemd; tests.live.test_upgrade sends the signal"
    ),
    ("howto/conch", "ssh -p 2222 -i operator operator@localhost"): (
        "ssh asks about the host's key, and the shell moves the cursor; test_conch does it"
    ),
    ("howto/debug", "tshark -i lo -o tls.keylog_file:keys.txt -d tcp.port==8443,tls"): (
        "it needs root, and a package of 200 MB"
    ),
    ("course/index", "mkdir course && cd course"): "it installs packages, and the tests have them",
    ("course/tls", "apt install certbot"): "Let's Encrypt signs for names on the Internet only",
}

# Packages that the programs of a page need, besides those of the tests; .ci/run has them.
NEEDS = {
    "howto/autobahn": ("autobahn",),
    "howto/conch": ("bcrypt",),
    "howto/embed-asyncio": ("aiohttp", "fastapi", "uvicorn"),
    "howto/klein": ("klein",),
}


def pages() -> list[Page]:
    """Return every page that has a session."""
    found = [read_page(path) for path in sorted(DOCS.rglob("*.rst"))]
    return [page for page in found if page.sessions]


def name_of(page: Page) -> str:
    """Return the name of a page: its path in ``docs/`` without the ending."""
    return page.path.relative_to(DOCS).with_suffix("").as_posix()


class GuideTests(SynchronousTestCase):
    """Each page with sessions is played; the test methods are made below."""

    def play(self, page: Page) -> None:
        """Play a page in a new directory. It is skipped if a program is not installed."""
        for name in page.programs:
            program(name)
        for package in NEEDS.get(name_of(page), ()):
            if find_spec(package) is None:
                raise SkipTest(f"{package} is not installed: pip install '.[examples]'")
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        player = Player(directory)
        self.addCleanup(player.close)
        player.play(page)


def _add_test(page: Page) -> None:
    def test(self: GuideTests) -> None:
        self.play(page)

    test.__doc__ = f"The sessions of {name_of(page)} run as shown."
    test.__name__ = "test_" + name_of(page).replace("/", "_").replace("-", "_")
    setattr(GuideTests, test.__name__, test)


for _page in pages():
    if any(session.played for session in _page.sessions):
        _add_test(_page)


class ServedGuideTests(LiveTestCase):
    """README's command that serves the pages."""

    async def test_it_serves_them(self) -> None:
        """It works as README has it, on a free port."""
        found = re.search(
            r"^ +\.venv/bin/twistd (.+ web --listen tcp:)8000 --path (docs/\S+)$",
            (CHECKOUT / "README.rst").read_text(),
            re.MULTILINE,
        )
        assert found is not None
        where = self.directory()
        (where / found[2]).mkdir(parents=True)
        (where / found[2] / "index.html").write_text("the guide")
        words = f"{found[1]}0:interface=127.0.0.1 --path {found[2]}".split()
        serving = self.spawn(script("twistd"), *words, cwd=where)
        port = int((await serving.expect(rb"Site starting on (\d+)"))[1])
        fetching = self.spawn(program("curl"), "-sS", "--noproxy", "*", f"http://127.0.0.1:{port}/")
        self.assertEqual(await fetching.ended(), 0, fetching)
        self.assertEqual(bytes(fetching.output), b"the guide")


class PageTests(SynchronousTestCase):
    """What a page may have."""

    def test_what_is_not_run_has_a_reason(self) -> None:
        """Each block that is not played is in the table above, and nothing else is."""
        found = {
            (name_of(page), session.lines[0].text)
            for page in pages()
            for session in page.sessions
            if not session.played
        }
        self.assertEqual(found, set(NOT_RUN))

    def test_the_reasons_name_tests(self) -> None:
        """Where another test does it, that test exists."""
        for reason in NOT_RUN.values():
            for name in re.findall(r"tests\.[\w.]+", reason):
                self.assertTrue((CHECKOUT / f"{name.replace('.', '/')}.py").exists(), name)

    def test_every_block_begins_with_something_to_do_or_see(self) -> None:
        """The first block of each terminal begins with a command."""
        for page in pages():
            begun: set[str] = set()
            for session in page.sessions:
                if session.terminal not in begun:
                    self.assertEqual(session.lines[0].kind, "command", (page.path, session))
                begun.add(session.terminal)


def is_running(process: int) -> bool:
    """Return whether a process runs; one that nobody has waited for yet does not."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


class ConsoleTests(SynchronousTestCase):
    """The player itself: what is wrong on a page is found."""

    def page(self, text: str) -> Page:
        """Return the page with this text."""
        path = Path(self.mktemp())
        path.write_text(text)
        return read_page(path)

    def play(self, *lines: str) -> None:
        """Play a session of one terminal."""
        text = "".join(f"   {line}\n" for line in lines)
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        player = Player(directory)
        self.addCleanup(player.close)
        player.play(self.page(f".. code-block:: console\n\n{text}"))

    def test_a_page_is_read(self) -> None:
        """Files and sessions are found, with what is typed."""
        page = self.page(
            "Text.\n\n.. code-block:: python\n   :caption: a.py\n\n   x = 1\n\n"
            ".. code-block:: console\n   :caption: Terminal 2\n   :emphasize-lines: 2\n\n"
            "   $ nc localhost 8080\n   hello\n   HELLO\n   ^C\n\nMore.\n"
        )
        saved, session = page.steps
        self.assertEqual((saved.name, saved.text), ("a.py", "x = 1\n"))  # type: ignore[union-attr]
        lines = (
            Line("command", "nc localhost 8080"),
            Line("typed", "hello"),
            Line("shown", "HELLO"),
            Line("key", "^C"),
        )
        self.assertEqual(session, Session("Terminal 2", lines))

    def test_what_is_right(self) -> None:
        """A session that is as shown passes."""
        self.play("$ echo one; echo two three", "one", "two ...", "$ printf x", "x", "$ true")

    def test_lines_left_out(self) -> None:
        """``...`` stands for any lines."""
        self.play("$ seq 5", "1", "...", "5", "$ seq 3", "...", "$ echo end", "end")

    def test_lines_left_out_at_the_end(self) -> None:
        """``...`` at the end of a block stands for all lines until the next one, or the end."""
        block = ".. code-block:: console\n\n"
        end = f"{block}   $ echo end\n   end\n"
        for text in (f"{block}   $ seq 3\n   ...\n\n{end}", f"{end}\n{block}   $ seq 3\n   ...\n"):
            directory = Path(self.mktemp()).absolute()
            directory.mkdir()
            player = Player(directory)
            self.addCleanup(player.close)
            player.play(self.page(text))

    def test_another_line(self) -> None:
        """Another line than the page's is an error."""
        self.assertRaises(AssertionError, self.play, "$ echo one", "two")

    def test_a_line_too_many(self) -> None:
        """A line that the page does not have is an error at the next command."""
        self.assertRaises(AssertionError, self.play, "$ seq 2", "1", "$ true")

    def test_a_line_too_few(self) -> None:
        """A command that ends too early is an error at once."""
        self.assertRaises(AssertionError, self.play, "$ echo one", "one", "two")

    def test_keys(self) -> None:
        """Ctrl-C ends a program, Ctrl-D its input."""
        self.play("$ cat", "^D", "$ sleep 1000", "^C", "$ echo end", "end")

    def test_stopped_programs(self) -> None:
        """Ctrl-Z stops a program; what is stopped at the end of the page is ended with it."""
        stopped = "[1]+  Stopped ... cat"
        self.play("$ cat", "^Z", stopped, "$ fg", "cat", "^C", "$ cat", "^Z", stopped)

    def test_broken_pipes(self) -> None:
        """A program that nobody reads ends without a word, as in a reader's shell."""
        self.play("$ yes | head -1", "y", "$ true")

    def test_colours(self) -> None:
        """A page shows text without its colours."""
        self.play(r"$ printf '\033[32mgreen\033[0m and \033[1;31mred\033[m\n'", "green and red")

    def test_nothing_is_left(self) -> None:
        """What still runs at the end is killed, also if it ignores the end of its terminal."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        player = Player(directory)
        code = "import signal, os, time; signal.signal(1, signal.SIG_IGN)"
        code += '; signal.signal(2, signal.SIG_IGN); open("id", "w").write(str(os.getpid()))'
        code += '; print("ready", flush=True); time.sleep(600)'
        page = f".. code-block:: console\n\n   $ python3 -c '{code}'\n   ready\n"
        player.play(self.page(page))
        number = directory / "id"
        process = int(number.read_text())
        os.kill(process, 0)
        player.close()
        self.assertFalse(is_running(process))

    def test_times(self) -> None:
        """A time of the log stands for any other."""
        shown = pattern_of("2026-11-26T20:00:00+0000 [-] Listening on port 8080")
        self.assertTrue(shown.fullmatch("2031-01-02T03:04:05+0100 [-] Listening on port 8080"))


class BrowserTests(BrowserTestCase):
    """What the course lets its readers type into the console of a browser."""

    async def test_the_browser_joins(self) -> None:
        """A page of the server opens a WebSocket, and talks with a person."""
        text = (DOCS / "course/browser.rst").read_text()
        typed = re.search(r"code-block:: javascript\n\n((?:   .+\n)+)", text)
        assert typed is not None
        example = self.spawn(sys.executable, "-u", str(EXAMPLES / "websocket_chat.py"), "0", "0")
        chat, web = [
            int((await example.expect(rb"^Listening on port (\d+)$"))[1]) for _ in range(2)
        ]
        ann = await self.connect(chat)
        page = await self.open(f"http://localhost:{web}", is_connected=False)
        told: list[str] = []
        page.tab.on("console", lambda message: told.append(message.text))
        *first, last = typed[1].replace("8081", str(web)).split("\n")[:-1]
        for line in first:
            await page.evaluate(f"void ({line.strip()})")
        await page.waits("socket.readyState === WebSocket.OPEN")
        await page.evaluate(f"void ({last.strip()})")
        await ann.has(b"Hello from the browser.\n")
        ann.send(b"Hello, browser.\n")
        await page.until(lambda: "Hello, browser." in told)
        self.assertTrue(all("426 (Upgrade Required)" in each for each in page.errors), page.errors)
        page.errors.clear()
