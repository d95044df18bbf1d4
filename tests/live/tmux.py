"""A terminal for the tests: ``tmux`` in control mode.

``tmux`` reports in a line each time that its terminal is written to, so a test can wait for what it
wants to see, and read the screen again then.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from pathlib import Path

from tests.live.harness import PATIENCE, LiveTestCase, Program, program

_REPLY = re.compile(rb"^%begin \d+ (\d+) \d+\n(.*?)^%(?:end|error) \d+ \1 \d+\n", re.DOTALL | re.M)
_OUTPUT = re.compile(rb"^%output ", re.M)

_SETTINGS = """\
set -g history-limit 20000
set -g destroy-unattached on
set -g default-terminal tmux-256color
set -g remain-on-exit on
"""


class Terminal(Program):
    """A terminal in which a program runs. It ends with this process."""

    async def ask(self, command: str) -> str:
        """Run a command of ``tmux``, and return its output."""
        before = len(_REPLY.findall(self.output))
        self.write(f"{command}\n".encode())
        await self.until(lambda: len(_REPLY.findall(self.output)) > before, command)
        return str(_REPLY.findall(self.output)[before][1].decode())

    async def screen(self, *flags: str) -> str:
        """Return all that stands in the terminal and in its scrollback."""
        return await self.ask(" ".join(("capture-pane -p -J -S -", *flags)))

    async def sees(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """Wait until a regular expression matches what stands in the terminal."""
        compiled = re.compile(pattern, re.MULTILINE | re.DOTALL)
        deadline = time.monotonic() + seconds
        while True:
            seen = len(_OUTPUT.findall(self.output))
            text = (await self.screen()).rstrip()
            match = compiled.search(text)
            if match is not None:
                return match
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"waited {seconds:g} s for {pattern!r}; there is\n{text}")
            try:
                await self.until(
                    lambda seen=seen: len(_OUTPUT.findall(self.output)) > seen, "output", left
                )
            except AssertionError:
                continue  # the last look says what there is

    async def keys(self, *keys: str) -> None:
        """Press keys, such as ``Enter`` or ``M-Down``."""
        await self.ask(" ".join(("send-keys", *keys)))

    async def type(self, text: str, enter: bool = True) -> None:
        """Type a text, and Enter."""
        await self.ask(f"send-keys -l -- {_quoted(text)}")
        if enter:
            await self.keys("Enter")

    async def paste(self, path: Path) -> None:
        """Paste the text of a file."""
        await self.ask(f"load-buffer {path}")
        await self.ask("paste-buffer -p -d")

    async def program_id(self) -> int:
        """Return the process id of the program in the terminal."""
        return int(await self.ask("display-message -p '#{pane_pid}'"))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


class TerminalTestCase(LiveTestCase):
    """Tests of programs in a terminal."""

    async def terminal(self, *command: str, columns: int = 100, rows: int = 30) -> Terminal:
        """Start a program in a terminal of its own."""
        directory = Path(tempfile.mkdtemp())  # trial's own are too long for the name of a socket
        self.addCleanup(shutil.rmtree, directory)
        settings, socket = directory / "tmux.conf", directory / "socket"
        settings.write_text(_SETTINGS)
        running: Terminal = self.spawn(
            *(program("tmux"), "-S", str(socket), "-f", str(settings), "-u", "-C"),
            *("new-session", "-x", str(columns), "-y", str(rows), "exec cat"),
            cwd=directory,
            kind=Terminal,
            without=("TMUX", "NO_COLOR", "COLORTERM"),
        )
        await running.until(lambda: _REPLY.search(running.output), "the terminal")
        await running.ask(f"refresh-client -C {columns},{rows}")
        await running.ask(f"respawn-pane -k {' '.join(map(_quoted, command))}")
        return running
