"""``netchat-client`` as people use it: in a terminal, which is ``tmux``, and in pipes."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import trustme

from tests.live.harness import LOCALHOST, LiveTestCase, Program, script
from tests.live.tmux import Terminal, TerminalTestCase


def client(*words: str) -> tuple[str, ...]:
    """Return the words that start the client."""
    return (script("netchat-client"), *words)


class InTerminalTests(TerminalTestCase):
    """In a terminal."""

    async def chat(self, port: int, *flags: str, nick: str = "ann") -> Terminal:
        """Start the client, and wait until it is in a room."""
        terminal = await self.terminal(*client("-n", nick, *flags, f"{LOCALHOST}:{port}"))
        await terminal.sees(r"You are in #.* \| connected")
        return terminal

    async def test_talking(self) -> None:
        """Somebody in a terminal and somebody with ``nc`` hear each other; names are completed."""
        _, port = await self.serve("netchat")
        bob = self.nc(port)
        bob.write(b"/nick bobby\nearly\n/ping\n")
        await bob.expect(rb"^\* pong\n")
        ann = await self.chat(port)
        await ann.sees(r"^--- earlier in #lobby ---.*\d\d:\d\d <bobby> early\n--- now ---$")
        await ann.sees(r"^#lobby>\s*\n ann \| #lobby \(2\) \| connected")
        await ann.type("hello, tøm")
        await bob.expect("^<ann> hello, tøm\n".encode())
        await ann.sees(r"^\d\d:\d\d <ann> hello, tøm$")
        bob.write(b"hi ann\n")
        await ann.sees(r"^\d\d:\d\d <bobby> hi ann$")
        await ann.type("bo", enter=False)
        await ann.keys("Tab")
        await ann.sees(r"^#lobby> bobby:")
        await ann.type("you are right")
        await bob.expect(rb"^<ann> bobby: you are right\n")
        await ann.type("/to", enter=False)
        await ann.keys("Tab")
        await ann.sees(r"^#lobby> /topic")
        await ann.type("all sorts")
        await bob.expect(rb"ann changed the topic of #lobby: all sorts\n")
        await ann.type("/msg bobby psst")
        await ann.sees(r"^\d\d:\d\d \[to bobby\] psst$")
        await bob.expect(rb"^\* ann tells you: psst\n")

    async def test_several_completions(self) -> None:
        """They are listed, and Tab goes through them."""
        _, port = await self.serve("netchat")
        ann = await self.chat(port)
        await ann.type("/un", enter=False)
        await ann.keys("Tab")
        await ann.sees(r"/unban.*/unignore")
        await ann.keys("Tab")
        await ann.keys("Tab")
        await ann.sees(r"^#lobby> /unignore")
        await ann.keys("Enter")  # takes it
        await ann.type("bob")
        await ann.sees(r"^! You do not ignore bob\.$")

    async def test_unread_marks(self) -> None:
        """Messages elsewhere are marked below, and shown when the user turns there."""
        _, port = await self.serve("netchat")
        ann = await self.chat(port, "-r", "lobby", "-r", "dev")
        await ann.sees(r"\| #dev\s*$")
        bob = self.nc(port)
        bob.write(b"/nick bob\n/join dev\none\n")
        await ann.sees(r"connected \| #dev 1\s*$")
        bob.write(b"two, ann?\n")
        await ann.sees(r"connected \| #dev 2!\s*$")
        await ann.keys("M-Down")
        await ann.sees(r"^--- #dev, 2 unread ---.*<bob> one\n\d\d:\d\d <bob> two, ann\?$")
        await ann.sees(r"^#dev>\s*\n ann \| #dev \(2\) \| connected \| #lobby\s*$")
        await ann.type("/join ops")
        await ann.sees(r"^#ops>")
        await ann.type("/leave")
        await ann.sees(r"^\* You left #ops\.$")

    async def test_a_restart(self) -> None:
        """The server is restarted: nothing is missed, and the client says so."""
        store = f"sqlite:{self.directory() / 'chat.db'}"
        server, port = await self.serve("netchat", "--store", store)
        ann = await self.chat(port)
        await ann.type("before")
        await ann.sees(r"<ann> before$")
        # The chat goes on at another port first, so that messages are surely missed.
        await server.stop()
        server, elsewhere = await self.serve("netchat", "--store", store)
        bob = self.nc(elsewhere)
        bob.write(b"/nick bob\none\ntwo\n/ping\n")
        await bob.expect(rb"^\* pong\n")
        await server.stop()
        server = self.twistd(
            *("netchat", "--store", store, "--port", str(port), "--interface", LOCALHOST)
        )
        await server.port(f"--port {port}")
        await ann.sees(r"^! The connection was lost: .*Connecting again\.\.\.$")
        await ann.sees(
            r"^\* Back in #lobby after \d+ s\. You missed nothing: 2 messages were fetched\.\n"
            r"(--- \S+, \S+ \S+ \d+ ---\n)?\d\d:\d\d <bob> one\n\d\d:\d\d <bob> two$",
            seconds=60,
        )
        bob = self.nc(port)
        await bob.expect(rb"<bob> two\n")
        await ann.type("after")
        await bob.expect(rb"^<ann> after\n")

    async def test_typing_while_the_server_is_away(self) -> None:
        """The message waits above the prompt, and is sent when the server is back."""
        server, port = await self.serve("netchat")
        ann = await self.chat(port)
        await server.stop()
        await ann.sees(r"\| connecting: ")
        await ann.type("waiting")
        await ann.sees(r"^\.\.\. #lobby waiting\n#lobby>")
        server = self.twistd("netchat", "--port", str(port), "--interface", LOCALHOST)
        await ann.sees(r"^\d\d:\d\d <ann> waiting\n#lobby>", seconds=60)
        await ann.sees(r"^! Back in #lobby after \d+ s\. Messages were lost here\.$|missed nothing")

    async def test_pasting(self) -> None:
        """Several lines are sent only after a question; one line is only inserted."""
        _, port = await self.serve("netchat")
        ann = await self.chat(port)
        bob = self.nc(port)
        await bob.expect(b"Welcome")
        text = self.directory() / "text"
        text.write_text("one\n\n/quit\nthree\nfour\n")
        await ann.paste(text)
        await ann.sees(
            r"^  one\n  /quit\n  three\n  \.\.\. 1 more\nSend 4 lines to #lobby\? \(y/n\)"
        )
        await ann.keys("x", "Enter", "n")
        await ann.sees(r"^#lobby>")
        await ann.type("nothing was sent")
        await bob.expect(rb"^<ann> nothing was sent\n")
        self.assertNotIn(b"one", bytes(bob.output))
        await ann.paste(text)
        await ann.sees(r"Send 4 lines to #lobby")
        await ann.keys("C-c")
        await ann.sees(r"^#lobby>\s*\n ann \| #lobby")
        await ann.paste(text)
        await ann.sees(r"Send 4 lines to #lobby")
        answer = self.directory() / "answer"
        answer.write_text("y")
        await ann.paste(answer)  # this is no answer
        await ann.keys("Up", "y")
        await bob.expect(rb"^<ann> one\n<ann> /quit\n<ann> three\n<ann> four\n")
        text.write_text("a line\n")
        await ann.paste(text)
        await ann.sees(r"^#lobby> a line")
        await ann.type(" more")
        await bob.expect(rb"^<ann> a line more\n")

    async def test_a_flood(self) -> None:
        """Thousands of lines leave what is typed whole, and none is lost or broken."""
        _, port = await self.serve("netchat")
        ann = await self.chat(port)
        flood = self.spawn(*client("-n", "bob", f"{LOCALHOST}:{port}"))
        lines = [f"line {number} of a flood" for number in range(5000)]
        flood.write("".join(f"{line}\n" for line in lines).encode())
        flood.end_input()
        typed = ""
        for number in range(20):
            await ann.type(f"w{number} ", enter=False)
            typed += f"w{number} "
        self.assertEqual(await flood.ended(), 0)
        await ann.sees(r"line 4999 of a flood")
        await ann.sees(rf"^#lobby> {typed.strip()}\s*\n ann \| #lobby")
        text = await ann.screen()
        found = re.findall(r"^\d\d:\d\d <bob> (line \d+ of a flood)$", text, re.M)
        self.assertEqual(found, lines)
        await ann.keys("Enter")
        await ann.sees(rf"<ann> {typed.strip()}")

    async def test_a_hostile_server(self) -> None:
        """Nothing that a server sends controls the terminal."""
        upstream = self.listen()
        terminal = await self.terminal(*client("-n", "ann", f"{LOCALHOST}:{upstream.port}"))
        server: Any = await upstream.hears(b'"hello"')
        attack = r"x\u001b[2J\u001b]0;gotcha\u0007\u009b31m\u202ey\nz"
        limits = ["message", "nick", "topic", "id", "rooms", "history", "recover"]
        numbers = ",".join(f'"{each}":9999' for each in limits)
        server.send(
            f'{{"type":"welcome","nick":"ann","session":"s","server":"t","heartbeat":45,'
            f'"limits":{{{numbers}}}}}\n'
            f'{{"type":"joined","room":"lobby","epoch":"e","offset":0,"members":["{attack}"],'
            f'"count":1,"topic":"{attack}","recovered":null}}\n'
            f'{{"type":"message","room":"lobby","offset":1,"from":"{attack}","text":"{attack}",'
            f'"time":"{attack}"}}\n{{"type":"notice","text":"{attack}"}}\n'.encode()
        )
        await terminal.sees(r"^\* You are in #lobby now, with 0 others\. Topic: xyz$")
        await terminal.sees(r"^--:-- <xyz> xyz\n\* xyz$")
        self.assertNotIn("gotcha", await terminal.ask("display-message -p '#{pane_title}'"))

    async def test_leaving(self) -> None:
        """With Ctrl-D, Ctrl-C, /quit and signals: the terminal is as it was."""
        _, port = await self.serve("netchat")
        for way, status in (("C-d", 0), ("C-c", 0), ("/quit", 0), ("TERM", 143), ("INT", 130)):
            command = " ".join(client("-n", "ann", f"{LOCALHOST}:{port}"))
            terminal = await self.terminal(
                *("sh", "-c", f"{command}; echo status $?; stty -a; exec cat")
            )
            await terminal.sees(r"\| connected")
            if way in ("TERM", "INT"):
                shell = await terminal.program_id()
                children = Path(f"/proc/{shell}/task/{shell}/children").read_text()
                os.kill(int(children.split()[0]), getattr(signal, f"SIG{way}"))
            elif way == "/quit":
                await terminal.type(way)
            else:
                await terminal.keys(way)
            await terminal.sees(rf"^status {status}\n.* icanon .* echo ")
            self.assertNotIn("| connected", await terminal.screen())

    async def test_colors(self) -> None:
        """Names have colours, unless NO_COLOR is set (https://no-color.org)."""
        _, port = await self.serve("netchat")
        command = client("-n", "ann", f"{LOCALHOST}:{port}")
        for words, is_colored in ((command, True), (("env", "NO_COLOR=1", *command), False)):
            ann = await self.terminal(*words)
            await ann.sees(r"\| connected")
            await ann.type("colours")
            await ann.sees(r"> colours$")
            self.assertEqual("\x1b[38;5;" in await ann.screen("-e"), is_colored)
            await ann.stop()

    async def test_nobody_answers(self) -> None:
        """A wrong address ends the program with a line."""
        terminal = await self.terminal(
            "sh", "-c", f"{' '.join(client(f'{LOCALHOST}:1'))}; echo status $?; exec cat"
        )
        await terminal.sees(r"^netchat-client: 127\.0\.0\.1:1: .*refused.*\nstatus 1$")
        terminal = await self.terminal(
            "sh", "-c", f"{' '.join(client('unix:/nowhere'))}; echo status $?; exec cat"
        )
        await terminal.sees(r"^netchat-client: unix:/nowhere: .*No such file.*\nstatus 1$")


class TLSTests(TerminalTestCase):
    """Over TLS, and with accounts."""

    async def start(self, *flags: str) -> tuple[str, str]:
        """Start a server with a certificate. Return its address, and the file of its CA."""
        directory = self.directory()
        authority = trustme.CA()
        issued = authority.issue_cert("localhost", LOCALHOST)
        authority.cert_pem.write_to_path(directory / "ca.pem")
        issued.private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
        server = self.twistd(
            *("netchat", "--tls-port", "0", "--interface", LOCALHOST, *flags),
            *("--cert", str(directory / "server.pem"), "--key", str(directory / "server.pem")),
        )
        port = await server.port("--tls-port 0")
        return f"tls://localhost:{port}", str(directory / "ca.pem")

    async def test_trusted(self) -> None:
        """With ``--ca`` the server's certificate is trusted."""
        where, ca = await self.start()
        ann = await self.terminal(*client("-n", "ann", "--ca", ca, where))
        await ann.sees(r"\| connected")
        await ann.type("secret")
        await ann.sees(r"<ann> secret$")

    async def test_a_certificate_of_ones_own(self) -> None:
        """``--cert`` and ``--key`` are shown to a server that asks for them."""
        directory = self.directory()
        people = trustme.CA()
        people.cert_pem.write_to_path(directory / "people.pem")
        ann = people.issue_cert("ann@example.org", common_name="ann")
        ann.private_key_pem.write_to_path(directory / "ann.key")
        for place, part in enumerate(ann.cert_chain_pems):
            part.write_to_path(directory / "ann.pem", append=place > 0)
        where, ca = await self.start("--client-ca", str(directory / "people.pem"))
        own = ("--cert", str(directory / "ann.pem"), "--key", str(directory / "ann.key"))
        for flags, status in ((own, 0), ((), 1)):
            piped = self.spawn(*client(*flags, "--ca", ca, "--timeout", "3", where))
            piped.write(b"hi\n")
            piped.end_input()
            self.assertEqual(await piped.ended(), status)

    async def test_tls_or_not(self) -> None:
        """TLS on a port without, and no TLS on a port with it, are told so."""
        where, _ = await self.start()
        _, plain = await self.serve("netchat")
        for wrong, why in (
            (where.removeprefix("tls://"), "perhaps it speaks TLS"),
            (f"tls://localhost:{plain}", "perhaps .*does not speak TLS|wrong version number"),
        ):
            piped = self.spawn(*client("--timeout", "2", wrong))
            piped.write(b"hi\n")
            piped.end_input()
            self.assertEqual(await piped.ended(), 1)
            self.assertRegex(piped.errors.decode(), why)

    async def test_not_trusted(self) -> None:
        """Without it, the program ends and says why; so does the filter."""
        where, _ = await self.start()
        command = " ".join(client(where))
        terminal = await self.terminal("sh", "-c", f"{command}; echo status $?; exec cat")
        await terminal.sees(r"^netchat-client: tls://localhost:\d+: .*verify failed.*status 1$")
        piped = self.spawn(*client("--timeout", "2", where))
        piped.write(b"secret\n")
        piped.end_input()
        self.assertEqual(await piped.ended(), 1)
        self.assertIn("verify failed", piped.errors.decode())

    async def test_accounts(self) -> None:
        """The password is asked for, and not shown; a wrong one ends the program."""
        users = self.directory() / "users"
        users.write_text("ann:opensesame\n")
        where, ca = await self.start("--auth", f"file:{users}")
        words = " ".join(client("--user", "ann", "--ca", ca, where))
        for password, end in (
            ("opensesame", r"ann \| #lobby \(1\) \| connected"),
            ("wrong", r"^netchat-client: .*\nstatus 1$"),
        ):
            terminal = await self.terminal("sh", "-c", f"{words}; echo status $?; exec cat")
            await terminal.sees(r"^Password of ann:")
            await terminal.type(password)
            await terminal.sees(end)
            self.assertNotIn(password, await terminal.screen())
        secret = self.directory() / "password"
        secret.write_text("opensesame\n")
        piped = self.spawn(
            *client("--user", "ann", "--password-file", str(secret), "--ca", ca, where)
        )
        piped.write(b"hi\n")
        piped.end_input()
        self.assertEqual(await piped.ended(), 0)
        secret.write_text("wrong\n")
        for lines in (b"hi\n", b""):  # it does not wait for more of them
            piped = self.spawn(
                *client("--user", "ann", "--password-file", str(secret), "--ca", ca, where)
            )
            if lines:
                piped.write(lines)
            self.assertEqual(await piped.ended(), 1)
            self.assertNotIn(b"wrong\n", bytes(piped.errors))
            self.assertRegex(piped.errors.decode(), r"^netchat-client: [^\n]+\n$")


class PipeTests(LiveTestCase):
    """In a pipe."""

    def pipe(self, port: int, *flags: str) -> Program:
        """Start the client with pipes."""
        running: Program = self.spawn(*client(*flags, f"{LOCALHOST}:{port}"))
        return running

    async def test_lines_are_stored(self) -> None:
        """The status is 0, and nothing is printed."""
        _, port = await self.serve("netchat")
        bob = self.nc(port)
        await bob.expect(b"Welcome")
        ann = self.pipe(port, "-n", "ann")
        ann.write(b"one\n\ntwo")
        ann.end_input()
        self.assertEqual(await ann.ended(), 0)
        self.assertEqual((bytes(ann.output), bytes(ann.errors)), (b"", b""))
        await bob.expect(rb"^<ann> one\n<ann> two\n")

    async def test_from_a_file(self) -> None:
        """The input may be a file, and the output nothing at all."""
        _, port = await self.serve("netchat")
        bob = self.nc(port)
        await bob.expect(b"Welcome")
        file = self.directory() / "lines"
        file.write_text("from a file\n")
        command = " ".join(client("-n", "ann", f"{LOCALHOST}:{port}"))
        shell = self.spawn("/bin/sh", "-c", f"{command} <{file} >/dev/null")
        self.assertEqual(await shell.ended(), 0)
        await bob.expect(rb"^<ann> from a file\n")

    async def test_not_stored(self) -> None:
        """The status is 1, and the error names the line and the reason."""
        _, port = await self.serve("netchat", "--max-message", "200")
        ann = self.pipe(port, "-n", "ann")
        ann.write(b"good\n" + b"x" * 300 + b"\nbad \xff\n")
        ann.end_input()
        self.assertEqual(await ann.ended(), 1)
        errors = ann.errors.decode()
        self.assertRegex(errors, r"netchat-client: line 2 was not sent: .*200")
        self.assertRegex(errors, r"netchat-client: line 3 was not sent: not UTF-8 at byte 4")
        self.assertIn("2 of 3 lines were not sent", errors)

    async def test_the_server_is_away(self) -> None:
        """What was read is sent when it is back; after ``--timeout`` it has failed."""
        server, port = await self.serve("netchat")
        await server.stop()
        late = self.pipe(port, "-n", "late", "--timeout", "1")
        late.write(b"too late\n")
        late.end_input()
        self.assertEqual(await late.ended(), 1)
        self.assertRegex(late.errors.decode(), "line 1 was not sent: .*refused")
        ann = self.pipe(port, "-n", "ann", "--timeout", "60")
        ann.write(b"hello\n")
        ann.end_input()
        await ann.until(lambda: b"trying again" in ann.errors, "an attempt")
        server = self.twistd("netchat", "--port", str(port), "--interface", LOCALHOST)
        await server.port(f"--port {port}")
        self.assertEqual(await ann.ended(60), 0)

    async def test_listening(self) -> None:
        """What others say is printed as plain lines until the program is interrupted."""
        _, port = await self.serve("netchat")
        ann = self.pipe(port, "-n", "ann", "-r", "lobby", "-r", "dev", "--listen")
        bob = self.nc(port)
        bob.write(b"/nick bob\n")
        await bob.expect(rb"^\* You are bob now")
        ann.write(b"I listen\n")
        ann.end_input()  # it still listens
        await bob.expect(rb"^<ann> I listen\n")
        bob.write("hellø\n/me waves\n/join dev\nin dev\n/msg ann psst\n".encode())
        for line in ("#lobby <bob> hellø", "#lobby * bob waves", "#dev <bob> in dev",
                     "* bob tells you: psst"):  # fmt: skip
            await ann.until(lambda line=line: f"{line}\n".encode() in ann.output, line)
        self.assertEqual(ann.output.count(b"\n"), 4)
        ann.signal(signal.SIGINT)
        self.assertEqual(await ann.ended(), 130)
        self.assertEqual(bytes(ann.errors), b"")

    async def test_nobody_reads(self) -> None:
        """When the reader of its output has gone, it ends as other filters do."""
        _, port = await self.serve("netchat")
        command = " ".join(client("-n", "ann", "--listen", f"{LOCALHOST}:{port}"))
        shell = self.spawn(
            *("/bin/bash", "-c", f"{command} </dev/null | head -1; echo ${{PIPESTATUS[0]}}")
        )
        bob = self.nc(port)
        await bob.expect(rb"^\* ann joined")
        bob.write(b"one\n")
        await shell.expect(rb"^<guest-\d> one\n")
        bob.write(b"two\n")
        await shell.expect(rb"^141\n")
        self.assertEqual(bytes(shell.errors), b"")

    async def test_many_lines(self) -> None:
        """A large file is sent in order, and not read faster than it is stored."""
        _, port = await self.serve("netchat")
        bob = self.nc(port)
        await bob.expect(b"Welcome")
        ann = self.pipe(port, "-n", "ann")
        ann.write(b"".join(b"line %d\n" % number for number in range(3000)))
        ann.end_input()
        self.assertEqual(await ann.ended(), 0)
        await bob.expect(rb"^<ann> line 2999\n")
        said = re.findall(rb"^<ann> line (\d+)$", bytes(bob.output), re.M)
        self.assertEqual([int(each) for each in said], list(range(3000)))
