"""Completion in real shells: bash with our file, and zsh with Twisted's."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.live.harness import LiveTestCase, program, script
from twisted_net.services.completion import bash_completion

DOCS = Path(__file__).resolve().parents[2] / "docs/deployment"

ASK_BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
compopt() { :; }  # it works only while bash itself completes
_twistd_netchat
printf '%s\\n' "${COMPREPLY[@]}"
"""

# An interactive zsh on a terminal of its own, with twistd on its PATH. What Tab finds is listed.
ASK_ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1='ready''> '; autoload -Uz compinit; compinit -u -D; LISTMAX=0"
zpty -w shell "zstyle ':completion:*' list-prompt ''; stty columns 200 rows 500; print be''gin"
zpty -r shell seen '*begin*'
zpty -w -n shell $1$'\\t'
zpty -r shell seen $2
print -r -- $seen
zpty -d shell
"""


async def run(*command: str, cwd: Path) -> str:
    """Run a program, and return its output."""
    path = f"{Path(script('twistd')).parent}:{os.environ['PATH']}"
    done = await deferToThread(
        subprocess.run,
        command,
        cwd=cwd,
        env={**os.environ, "PATH": path, "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return str(done.stdout)


class BashTests(LiveTestCase):
    """``docs/deployment/netchat.bash``."""

    async def complete(self, line: str) -> list[str]:
        """Return what bash finds for the last word of a line, in a directory with some files."""
        words = [each for each in re.split(r" +|(=)", line) if each is not None]
        found = await run(
            *(program("bash"), "-c", ASK_BASH, "-", str(DOCS / "netchat.bash"), *words),
            cwd=self.place,
        )
        return sorted(found.split("\n")[:-1])

    def setUp(self) -> None:
        self.place = self.directory()
        for name in ("certificate.pem", "certificate key.pem"):
            (self.place / name).touch()
        (self.place / "certificates").mkdir()

    def test_it_is_current(self) -> None:
        """The file is what the command prints."""
        self.assertEqual(
            (DOCS / "netchat.bash").read_text(),
            bash_completion(),
            "python -m twisted_net.services.completion > docs/deployment/netchat.bash",
        )

    async def test_flags(self) -> None:
        """Each service has its own flags, and so has twistd."""
        for line, flags in (
            ("twistd -n netchat --ori", ["--origin"]),
            ("twistd -n netecho --ori", [""]),
            ("twistd -n netidle --up", ["--upstream"]),
            ("twistd -n netchat --port 0 --max-m", ["--max-message"]),
            ("twistd --pid", ["--pidfile"]),
            ("twistd -n net", ["netchat", "netecho", "netidle"]),
            ("twistd --pidfile= netchat --tls-d", ["--tls-dir"]),
        ):
            self.assertEqual(await self.complete(line), flags, line)

    async def test_values(self) -> None:
        """Values that are few, files and directories are completed, also after ``=``."""
        files = ["certificate key.pem", "certificate.pem", "certificates"]
        for line, values in (
            ("twistd netchat --slow ", ["close", "drop-newest", "drop-oldest"]),
            ("twistd netchat --slow=", ["close", "drop-newest", "drop-oldest"]),
            ("twistd netchat --slow=drop-o", ["drop-oldest"]),
            ("twistd netecho --min-tls ", ["1.2", "1.3"]),
            ("twistd netecho --cert cert", files),
            ("twistd netecho --cert=cert", files),
            ("twistd netecho --tls-dir cert", ["certificates"]),
            ("twistd --logfile cert", files),
            ("twistd --rundir cert", ["certificates"]),
            ("twistd netchat --port ", [""]),
        ):
            self.assertEqual(await self.complete(line), values, line)


class ZshTests(LiveTestCase):
    """zsh's own ``_twisted``, which asks ``twistd``."""

    async def complete(self, line: str, last: str) -> str:
        """Return what an interactive zsh shows after Tab.

        :param last: what it is expected to show.
        """
        place = self.directory()
        (place / "certificate.pem").touch()
        return await run(program("zsh"), "-f", "-c", ASK_ZSH, "-", line, f"*{last}*", cwd=place)

    async def test_flags_and_values(self) -> None:
        """Flags, values that are few, and files."""
        for line, last in (
            ("twistd -n netchat --ori", "--origin="),
            ("twistd -n netchat --slow drop-o", "drop-oldest"),
            ("twistd -n netecho --min-tls=1.", "1.3"),
            ("twistd -n netecho --cert certif", "certificate.pem"),
        ):
            self.assertIn(last, await self.complete(line, last), line)
