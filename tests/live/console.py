"""Reads the programs and terminal sessions of a page of the guide, and plays them.

A page in ``docs/`` has two things that a test can use:

- Files that the reader saves: ``.. literalinclude:: ../../examples/NAME``, and ``.. code-block::``
  whose ``:caption:`` is the name of a file.
- Sessions: ``.. code-block:: console``. Its ``:caption:`` names the terminal (``Terminal 1`` if
  there is none); blocks of one terminal continue each other. A line after ``$ `` is a command. A
  line of ``:emphasize-lines:`` is typed into the program that runs, and ``^C``, ``^D`` and ``^Z``
  are keys. Every other line is what the terminal shows, without colours. ``...`` in a line stands
  for any text, and as a line for any lines; a time of the log stands for any other.

``:class: not-run`` keeps a block from being played; ``tests/live/test_guide.py`` says why. The
comment ``.. saved before: NAME NAME`` gives the page files of ``examples/`` that an earlier page
has shown.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pexpect  # type: ignore[import-untyped]

CHECKOUT = Path(__file__).resolve().parents[2]
EXAMPLES = CHECKOUT / "examples"
PATIENCE = 60.0  # how many seconds a line may take
SUBSHELL = (
    3.0  # after how many seconds a fork of the shell is taken for a subshell, not a beginning
)

_DIRECTIVE = re.compile(r"^( *)\.\. (code-block|literalinclude):: *(\S*)$")
_SAVED = re.compile(r"^\.\. saved before: (.+)$")
_OPTION = re.compile(r"^ +:([a-z-]+): *(.*)$")
_FILE_NAME = re.compile(r"^[\w.-]+\.(py|js|tac|conf|toml|ini|html|txt|sh)$")
_PORTS = re.compile(r"\b(2222|6379|7000|8080|8081|8082|8443|9000|9001|9090|9100|9191|9443)\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_PROGRAMS = re.compile(r"\b(nc|curl|openssl|sqlite3|redis-server|redis-cli|node)\b")
_PROMPT = "\x01ready\x02"
_KEYS = {"^C": "\x03", "^D": "\x04", "^Z": "\x1a"}


@dataclass(frozen=True)
class Saved:
    """A file that the reader has: its name and text."""

    name: str
    text: str


@dataclass(frozen=True)
class Line:
    """A line of a session.

    :ivar kind: ``command``, ``typed``, ``key`` or ``shown``.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Session:
    """A block of a session: the terminal, its lines, and whether it is played."""

    terminal: str
    lines: tuple[Line, ...]
    played: bool = True


@dataclass
class Page:
    """What a page has for the reader to do, in order."""

    path: Path
    steps: list[Saved | Session] = field(default_factory=list)

    @property
    def sessions(self) -> list[Session]:
        """Return the sessions, played or not."""
        return [step for step in self.steps if isinstance(step, Session)]

    @property
    def programs(self) -> set[str]:
        """Return the programs that the sessions need and a machine may not have."""
        lines = (line for each in self.sessions if each.played for line in each.lines)
        return {
            name
            for line in lines
            if line.kind == "command"
            for name in _PROGRAMS.findall(line.text)
        }


def read_page(path: Path) -> Page:
    """Read a page.

    :raises ValueError: a session has a line that is typed before any command.
    """
    page = Page(path)
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if saved := _SAVED.match(line):
            page.steps += [_example(EXAMPLES / name) for name in saved[1].split()]
        if found := _DIRECTIVE.match(line):
            options, content = _block(lines[number + 1 :], len(found[1]))
            page.steps += _steps(path, found[2], found[3], options, content)
    return page


def _block(lines: list[str], indent: int) -> tuple[dict[str, str], list[str]]:
    """Return the options and the content of the directive that these lines follow."""
    options: dict[str, str] = {}
    content: list[str] = []
    for line in lines:
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        option = _OPTION.match(line)
        if option and not content:
            options[option[1]] = option[2]
        elif line.strip() or content:
            content.append(line)
    while content and not content[-1].strip():
        content.pop()
    margin = min((len(each) - len(each.lstrip()) for each in content if each.strip()), default=0)
    return options, [each[margin:] for each in content]


def _steps(
    path: Path, directive: str, argument: str, options: dict[str, str], content: list[str]
) -> Iterator[Saved | Session]:
    caption = options.get("caption", "").strip("`")
    if directive == "literalinclude":
        source = (path.parent / argument).resolve()
        if "lines" not in options and "pyobject" not in options and EXAMPLES in source.parents:
            name = caption if _FILE_NAME.match(caption) else source.name
            yield Saved(name, source.read_text())
    elif argument == "console":
        typed = _numbers(options.get("emphasize-lines", ""))
        lines = tuple(_line(text, number in typed) for number, text in enumerate(content, 1))
        played = "not-run" not in options.get("class", "").split()
        yield Session(caption or "Terminal 1", lines, played)
    elif _FILE_NAME.match(caption):
        yield Saved(caption, "\n".join(content) + "\n")


def _example(path: Path) -> Saved:
    return Saved(path.name, path.read_text())


def _numbers(text: str) -> set[int]:
    """Return the numbers of ``1,3-5``."""
    found: set[int] = set()
    for each in filter(None, text.replace(" ", "").split(",")):
        first, _, last = each.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _line(text: str, typed: bool) -> Line:
    if text.startswith("$ "):
        return Line("command", text[2:])
    if text in _KEYS:
        return Line("key", text)
    return Line("typed" if typed else "shown", text)


def pattern_of(text: str) -> re.Pattern[str]:
    """Return what a shown line matches: ``...`` is any text, a time is any time."""
    parts = []
    for part in re.split(rf"(\.\.\.|{_TIME.pattern})", text.rstrip()):
        if part == "...":
            parts.append(".*")
        elif _TIME.fullmatch(part):
            parts.append(_TIME.pattern)
        else:
            parts.append(re.escape(part))
    return re.compile("".join(parts) + r"\s*")


class Terminal:
    """A shell in a terminal, as a reader has it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.seen: list[str] = []  # for the error
        self._at_prompt = False
        self._interrupted = False
        self._skipping = False  # after a line "..."
        self._last = ""  # the kind of the last line
        self._has_ended = False  # see leave()
        search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        omitted = ("PYTHONPATH", "PYTHONWARNINGS")
        self._child = pexpect.spawn(
            "bash",
            ["--norc", "--noprofile", "--noediting", "-i"],
            cwd=str(directory),
            env={key: value for key, value in os.environ.items() if key not in omitted}
            | {
                "PATH": search,
                "PS1": "",
                "PROMPT_COMMAND": f"printf '{_PROMPT}'",
                "HISTFILE": "",
                "TERM": "dumb",
            },
            echo=False,
            encoding="utf-8",
            codec_errors="replace",
            timeout=PATIENCE,
            dimensions=(50, 400),
            preexec_fn=_default_signals,
        )
        self._child.delaybeforesend = None
        self.wait_for_prompt()

    def play(self, line: Line) -> None:
        """Type a line, or check that it is shown.

        :raises AssertionError: something else is shown, or nothing in time.
        """
        if line.kind == "command":
            self.wait_for_prompt()
            self._at_prompt = False
            self._child.sendline(line.text)
        elif line.kind == "typed":
            self._wait_for_program()
            self._child.sendline(line.text)
        elif line.kind == "key":
            self._wait_for_program()
            self._interrupted = True
            self._child.send(_KEYS[line.text])
        else:
            self._expect(line.text)

    def play_all(self, lines: tuple[Line, ...]) -> None:
        """Play a block. A line ``...`` skips what is shown until the next line is, which may be in
        the next block."""
        for line in lines:
            self._last = line.kind
            if line == Line("shown", "..."):
                self._skipping = True
            elif self._skipping and line.kind == "shown":
                pattern = pattern_of(line.text)
                while not pattern.fullmatch(self._next(repr(line.text))):
                    pass
                self._skipping = False
            else:
                if line.kind == "command":
                    self._skip_to_prompt(f"the end of the command before {line.text!r}")
                self._skipping = False
                self.play(line)

    def _skip_to_prompt(self, what: str) -> None:
        while self._skipping and not self._at_prompt:
            self._next(what)

    def wait_for_prompt(self) -> None:
        """Wait until the command has ended, and check that it has shown nothing more."""
        while not self._at_prompt:
            left = self._next("the end of the command")
            if left.strip():
                raise AssertionError(f"{self.name} shows {left!r}, which the page does not")

    def wait_for_command(self) -> None:
        """Wait until the last command has ended, if the page shows nothing of it."""
        if self._last == "command":
            self.wait_for_prompt()

    def leave(self) -> None:
        """Note whether the last command has ended: what another terminal does now may end it.

        After a command of which the page shows nothing, nobody knows whether it has begun.
        """
        self._has_ended = self._last == "shown" and not self._skipping and self._shell_waits()

    def finish(self) -> None:
        """Check that the last command, if it had ended when the page left it, has shown nothing
        more."""
        if self._has_ended:
            self.wait_for_prompt()

    def close(self) -> None:
        """End the shell, and whatever still runs in its session: a service takes the end of its
        terminal (SIGHUP) for the wish to read its files again, and lives on."""
        session = self._child.pid
        self._child.close(force=True)
        deadline = time.monotonic() + PATIENCE
        while (left := _processes_of(session)) and time.monotonic() < deadline:
            for process in left:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.005)

    def _shell_waits(self) -> bool:
        """Return whether no program runs in the terminal."""
        foreground: int = os.tcgetpgrp(self._child.child_fd)
        return foreground == self._child.pid

    def _wait_for_program(self) -> None:
        """Wait until a program runs: before, a key would reach the shell."""
        began = time.monotonic()
        deadline = began + PATIENCE
        while self._shell_waits() or (self._is_beginning() and time.monotonic() < began + SUBSHELL):
            if self._at_prompt or time.monotonic() > deadline:
                raise AssertionError(f"{self.name}: no program runs that could read; {self.seen}")
            time.sleep(0.005)

    def _is_beginning(self) -> bool:
        """Return whether the shell has forked, and its child is no other program yet: a signal
        would still meet the shell's handler, and be lost."""
        try:
            foreground = os.tcgetpgrp(self._child.child_fd)
            lines = [
                Path(f"/proc/{each}/cmdline").read_bytes() for each in (foreground, self._child.pid)
            ]
        except OSError:  # it has ended
            return False
        return lines[0] == lines[1]

    def _expect(self, text: str) -> None:
        shown = self._next(repr(text))
        if self._interrupted and not shown.strip() and text.strip():
            shown = self._next(repr(text))  # the shell begins a new line after Ctrl-C
        if not pattern_of(text).fullmatch(shown):
            raise AssertionError(f"{self.name} shows {shown!r}, and the page {text!r}")

    def _next(self, what: str) -> str:
        """Return the next line that is shown; empty if it is the prompt."""
        if self._at_prompt:
            raise AssertionError(f"{self.name}: the command ended before {what}; {self.seen}")
        try:
            ending = self._child.expect_exact(["\n", _PROMPT])
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            rest = self._child.before
            raise AssertionError(
                f"{self.name}: {type(error).__name__}, waiting for {what}; {self.seen}, {rest!r}"
            ) from None
        self._at_prompt = ending == 1
        shown = _COLOURS.sub("", self._child.before.replace("\r", ""))
        self.seen.append(shown)
        return shown


def _default_signals() -> None:
    """Let a program end when nobody reads what it writes: Python ignores this signal."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def _processes_of(session: int) -> list[int]:
    """Return the ids of the processes of a session (setsid(2)) that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(path.parent.name))
    return found


class Player:
    """Plays a page, in a directory that is empty at first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._terminals: dict[str, Terminal] = {}
        self._ports: dict[str, str] = {}

    def play(self, page: Page) -> None:
        """Save each file and play each session, in order.

        Before a key in one terminal, a command just typed in another has ended: the key may end a
        program that the command needs.
        """
        before: Terminal | None = None
        for step in page.steps:
            if isinstance(step, Saved):
                (self._directory / step.name).write_text(self._with_ports(step.text))
            elif step.played:
                lines = tuple(Line(each.kind, self._with_ports(each.text)) for each in step.lines)
                terminal = self._terminal(step.terminal)
                if before and before is not terminal:
                    before.leave()
                if before and before is not terminal and lines[0].kind == "key":
                    before.wait_for_command()
                terminal.play_all(lines)
                before = terminal
        if before:
            before.leave()
        for terminal in self._terminals.values():
            terminal.finish()

    def close(self) -> None:
        """End every terminal."""
        for terminal in self._terminals.values():
            terminal.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _terminal(self, name: str) -> Terminal:
        if name not in self._terminals:
            self._terminals[name] = Terminal(name, self._directory)
        return self._terminals[name]

    def _with_ports(self, text: str) -> str:
        """Put free ports of this machine where the page has its own."""
        return _PORTS.sub(lambda found: self._port(found[0]), text)

    def _port(self, shown: str) -> str:
        if shown not in self._ports:
            self._ports[shown] = str(_free_port(set(self._ports.values())))
        return self._ports[shown]


def _free_port(taken: set[str]) -> int:
    """Return a free port below those that the kernel gives out by itself."""
    random = Random()
    while True:
        port = random.randrange(20_000, 32_000)
        with closing(socket.socket(socket.AF_INET6)) as trial:
            try:
                trial.bind(("::", port))
            except OSError:
                continue
        if str(port) not in taken:
            return port
