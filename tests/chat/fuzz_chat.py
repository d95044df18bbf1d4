"""Fuzz the chat, guided by coverage: ``python -m tests.chat.fuzz_chat --help``.

The command ends with status 0 after its time, or at the first failure. It then writes the input to
a file ``crash-...`` in the current folder; ``python -m tests.chat.fuzz_chat crash-...`` repeats it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

TEXT = [
    "hello", "//x", "/nick eve", "/nick ann", "/join cellar", "/leave", "/leave lobby", "/rooms",
    "/who", "/who lobby", "/me waves", "/msg ann hi", "/msg bob hi", "/topic tea", "/topic -",
    "/topic", "/history 3", "/ping", "/help", "/help me", "/ignore bob", "/ignore",
    "/unignore bob", "/login eve secret", "/kick bob", "/ban bob 5 why", "/mute bob", "/quit",
    "/bans", "/unban bob", "/ban 192.0.2.0/24", "/ban 2001:db8::1 5", "/nick aIice",
]  # fmt: skip
JSON = [
    '{"type":"hello","nick":"eve","room":"lobby","session":"x"}',
    '{"type":"join","room":"lobby","since":{"epoch":"e","offset":1}}',
    '{"type":"message","room":"lobby","text":"hi","id":"c1","action":true}',
    '{"type":"private","to":"z\\u200d","text":"hi"}',
    '{"type":"private","to":"bob","text":"hi","id":"p1"}', '{"type":"leave","room":"lobby"}',
    '{"type":"nick","nick":"zoe"}', '{"type":"who","room":"lobby"}', '{"type":"rooms"}',
    '{"type":"topic","room":"lobby","topic":"tea"}', '{"type":"ping"}', '{"type":"pong"}',
    '{"type":"history","room":"lobby","before":9,"limit":3}', '{"type":"quit"}',
    '{"type":"login","user":"eve","password":"secret"}', '{"type":"mute","nick":"bob"}',
    '{"type":"kick","nick":"bob","text":"x"}', '{"type":"ban","nick":"bob","minutes":5}',
    '{"type":"bans"}', '{"type":"unban","nick":"192.0.2.7"}',
]  # fmt: skip
WORDS = [
    b"\n", b"\r\n", b"\xff\xfb\x01", b"\xff\xfa", b"\xff\xf0", b"\x1b[31m", b"\x1b]0;t\x07",
    b"\xe2\x80\xae", b"\xe2\x80\xa8", b"\xc2\x9b", b"\\n", b"\\u001b", b"\\u202e", b"\\ud800",
    b"\\u0000", b"1e999", b"NaN", b"[[[[[[[[[", b"null", b"true", b"lobby", b"#", b"ann", b"bob",
]  # fmt: skip


def write_seeds(directory: Path) -> tuple[Path, Path]:
    """Write the seeds of the search: whole lines, and words from which to make others."""
    corpus, words = directory / "corpus", directory / "words"
    corpus.mkdir()
    for number, lines in enumerate([*TEXT, *JSON, "\n".join(TEXT), "\n".join(JSON)]):
        (corpus / str(number)).write_bytes(bytes(4) + lines.encode() + b"\nhello\n")
    commands = [line.partition(" ")[0] + " " for line in TEXT if line[0] == "/"]
    messages = [*WORDS, *(line.encode() for line in (*commands, *JSON))]
    quoted = ["".join(f"\\x{byte:02x}" for byte in message) for message in messages]
    words.write_text("".join(f'"{each}"\n' for each in quoted))
    return corpus, words


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chat.fuzz_chat", description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, metavar="S", help="[default: 30]")
    parser.add_argument("--form", choices=("text", "json"), default="text", help="[default: text]")
    parser.add_argument("again", nargs="?", metavar="FILE", help="only what a crash- file has")
    arguments = parser.parse_args()
    try:
        import atheris
    except ImportError:
        print("This needs atheris: pip install atheris", file=sys.stderr)
        sys.exit(2)

    with atheris.instrument_imports(include=["twisted_net"]):
        from tests.chat.chat_attack import attack
    from twisted.logger import globalLogBeginner

    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    one: Callable[[bytes], None] = lambda data: attack(data, arguments.form)  # noqa: E731
    with tempfile.TemporaryDirectory() as directory:
        corpus, words = write_seeds(Path(directory))
        flags = [f"-max_total_time={arguments.seconds}", f"-dict={words}", "-max_len=1024"]
        where = arguments.again or str(corpus)
        atheris.Setup([sys.argv[0], *flags, "-print_final_stats=1", where], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
