"""Every example is run as its reader would run it, and does what it promises."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import socket
import sys
import textwrap
from pathlib import Path
from typing import Any

import trustme
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from tests.buffers import more_than_buffers
from tests.live.harness import (
    LOCALHOST,
    Bounded,
    Client,
    LiveTestCase,
    Program,
    memory,
    program,
    script,
)
from tests.web.sockets import MASK, opening
from twisted_net.wire.websocket import WebSocket


def client_frame(text: str) -> bytes:
    """Return a text frame as clients send it."""
    return WebSocket(make_mask=lambda: MASK).encode(text)


EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(
    path
    for path in EXAMPLES.iterdir()
    if path.suffix in (".py", ".tac", ".js") and path.name != "__init__.py"
)
SOLUTIONS = sorted(
    path for path in (EXAMPLES / "solutions").iterdir() if re.fullmatch(r"[a-z]\w*\.\w+", path.name)
)
DOCS = EXAMPLES.parent / "docs"
MIB = 1 << 20


class Counting(Client):
    """A client that discards what it reads.

    :ivar count: the number of bytes it has read.
    """

    count = 0

    def dataReceived(self, data: bytes) -> None:
        self.count += len(data)


class Unread(Bounded):
    """A client that does not read."""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.pauseProducing()


class Alerting(Client):
    """A server of TLS that answers plain text with an alert."""

    def dataReceived(self, data: bytes) -> None:
        self.send(b"\x15\x03\x03\x00\x02\x02\x46")


class ExampleCase(LiveTestCase):
    """Starts examples, and reads their output."""

    def setUp(self) -> None:
        self.where = self.directory()

    def start(self, name: str, *arguments: object, without: tuple[str, ...] = ()) -> Program:
        """Start an example, in this test's directory.

        :param without: environment variables that it does not get.
        """
        interpreter = (program("node"),) if name.endswith(".js") else (sys.executable, "-u")
        command = (*interpreter, str(EXAMPLES / name), *map(str, arguments))
        started: Program = self.spawn(*command, cwd=self.where, without=without)
        return started

    async def port(self, example: Program) -> int:
        """Wait until it prints its port, and return that; the next call is for the next port."""
        return int((await example.expect(rb"^Listening on port (\d+)$"))[1])

    async def serve_example(self, name: str, *arguments: object) -> int:
        """Start an example that listens on one port, and return the port."""
        return await self.port(self.start(name, 0, *arguments))

    async def hears(self, client: Client, *lines: str) -> None:
        """Wait until a client has received these lines, and check them."""
        expected = "".join(line + "\n" for line in lines).encode()
        await client.until(lambda: len(client.received) >= len(expected), repr(expected))
        self.assertEqual(bytes(client.received), expected)
        client.received.clear()

    async def curl(self, port: int, *flags: str, path: str = "") -> str:
        """Return the page that curl gets."""
        url = f"http://{LOCALHOST}:{port}/{path}"
        fetching: Program = self.spawn(program("curl"), "-sS", "--noproxy", "*", *flags, url)
        self.assertEqual(await fetching.ended(), 0, fetching)
        return fetching.output.decode()


class RoadTests(SynchronousTestCase):
    """The list of examples is complete, and each is short."""

    def test_each_is_under_forty_lines(self) -> None:
        """An example fits on a screen."""
        sizes = {path.name: len(path.read_text().splitlines()) for path in FILES}
        self.assertEqual({name: size for name, size in sizes.items() if size >= 40}, {})

    def test_each_says_first_what_it_teaches(self) -> None:
        """An example begins with a whole sentence, in its docstring or a comment."""
        for path in FILES:
            text = path.read_text()
            if path.suffix == ".js":
                self.assertRegex(text, r"\A// [A-Z].*\.\n", path.name)
                continue
            docstring = ast.get_docstring(ast.parse(text))
            assert docstring is not None, path.name
            first = docstring.splitlines()[0]
            self.assertTrue(text.startswith(f'"""{first}'), path.name)
            self.assertTrue(first.endswith("."), path.name)

    def test_each_solution_is_short(self) -> None:
        """A solution of an exercise fits on a page, and the course shows it."""
        pages = "".join(page.read_text() for page in (DOCS / "course").glob("solutions-*.rst"))
        for path in SOLUTIONS:
            self.assertLess(len(path.read_text().splitlines()), 50, path.name)
            self.assertIn(f".. literalinclude:: ../../examples/solutions/{path.name}\n", pages)

    def test_the_readme_names_each_once(self) -> None:
        """The README lists every example once."""
        readme = (EXAMPLES / "README.rst").read_text()
        listed = re.findall(r"^#\. `(\S+) <\1>`_: \S.*\.$", readme, re.MULTILINE)
        self.assertEqual(sorted(listed), [path.name for path in FILES])

    def test_each_is_run_by_a_test(self) -> None:
        """Every example has a test in this file, or in that of the how-to pages."""
        here = Path(__file__).parent
        tests = "".join(path.read_text() for path in here.glob("test_*examples.py"))
        self.assertEqual([path.name for path in FILES if f'"{path.name}"' not in tests], [])


SERVERS = {
    path.name
    for path in FILES
    if path.suffix == ".py" and re.search(r"await serve\(", path.read_text())
}

FOREIGN = {"embedding_autobahn.py", "embedding_conch.py", "embedding_klein.py"}
"""Servers that need more than the tests: ``test_howto_examples.py`` starts them."""

README_SERVER = re.compile(
    r"Your first server\n-+\n\n\.\. code-block:: python\n\n((?:    .*\n|\n)+)"
)


class StartTests(ExampleCase):
    """A server says where it listens, or why it does not."""

    def taken(self) -> int:
        """Return a port that is in use."""
        busy = socket.socket()
        self.addCleanup(busy.close)
        busy.bind(("", 0))
        busy.listen()
        return int(busy.getsockname()[1])

    async def refused(self, example: Program, port: int) -> None:
        self.assertEqual(await example.ended(), 1, example)
        self.assertNotIn(b"Listening", example.output)
        expected = rf"Cannot listen: .*port.*{port}.*: Address already in use\n|"
        expected += rf"Cannot listen: tcp:{port}(:interface=\S+)?: Address already in use\n"
        self.assertRegex(example.errors.decode(), rf"\A(?:{expected})\Z")

    async def test_a_taken_port(self) -> None:
        """Every example ends with one line and status 1."""
        self.assertGreater(len(SERVERS), 9)
        for name in SERVERS - FOREIGN:
            port = self.taken()
            await self.refused(self.start(name, port), port)

    def readme(self, where: str) -> Program:
        """Start the README's server on another endpoint."""
        found = README_SERVER.search((EXAMPLES.parent / "README.rst").read_text())
        assert found is not None
        text = textwrap.dedent(found[1])
        self.assertEqual(text.count('"tcp:8080"'), 1)
        (self.where / "shout.py").write_text(text.replace("tcp:8080", where))
        started: Program = self.spawn(sys.executable, "shout.py", cwd=self.where)
        return started

    async def test_the_readmes_server(self) -> None:
        """The server of the README does the same, and works."""
        port = self.taken()
        await self.refused(self.readme(f"tcp:{port}"), port)
        example = self.readme("tcp:0")
        client = await self.connect(await self.port(example))
        client.send(b"hello\n")
        await self.hears(client, "HELLO")
        example = self.readme("unix:socket")  # the kernel takes 107 bytes: no path from the root
        await example.expect(rb"^Listening on socket$")

    async def test_a_wrong_endpoint(self) -> None:
        """A string that is no endpoint is one line too, which says what to write."""
        example = self.readme("8080")
        self.assertEqual(await example.ended(), 1, example)
        self.assertRegex(
            example.errors.decode(), r"\ACannot listen: endpoint '8080': .*; write 'tcp:8080'\n\Z"
        )


class FirstStepsTests(ExampleCase):
    """The first server, the first client, and a server with many clients."""

    async def test_plain_socket(self) -> None:
        """It shows each read, and answers when the client has sent its last byte."""
        example = self.start("plain_socket.py", 0)
        nc = self.nc(await self.port(example), "-N")
        nc.write(b"one\n")
        await example.expect(rb"^Read b'one\\n'$")
        nc.write(b"two")
        nc.end_input()
        self.assertEqual(await nc.ended(), 0, nc)
        self.assertEqual(nc.output, b"7 bytes have arrived.\n")
        self.assertEqual(await example.ended(), 0, example)
        self.assertTrue(example.output.endswith(b"The client has sent its last byte.\n"), example)

    async def test_first_server(self) -> None:
        """Every line comes back in capitals, to the client that sent it."""
        port = await self.serve_example("first_server.py")
        one, other = await self.connect(port), await self.connect(port)
        one.send(b"hello\r\nhow are you?\n")
        other.send(b"and I\n")
        await self.hears(one, "HELLO", "HOW ARE YOU?")
        await self.hears(other, "AND I")

    async def test_first_client(self) -> None:
        """The client prints the answer of the first server, and ends cleanly."""
        port = await self.serve_example("first_server.py")
        client = self.start("first_client.py", port, "good morning")
        self.assertEqual(await client.ended(), 0, client)
        self.assertEqual(client.output, b"The server says: GOOD MORNING\n")

    async def test_first_client_and_tls(self) -> None:
        """On a port for TLS, the client says what is wrong; so does a TLS client on a plain one."""
        port = await self.serve_example("tls_server.py")
        client = self.start("first_client.py", port)
        self.assertEqual(await client.ended(), 1, client)
        said = "No answer: peer-closed (it has answered nothing; perhaps it speaks TLS)\n"
        self.assertEqual((client.output, client.errors.decode()), (b"", said))
        alert = self.listen(Alerting)  # as GnuTLS, rustls and Java answer
        client = self.start("first_client.py", alert.port)
        self.assertEqual(await client.ended(), 1, client)
        said = "No answer: bad-input (it speaks TLS, and this side does not)\n"
        self.assertEqual((client.output, client.errors.decode()), (b"", said))
        port = await self.serve_example("first_server.py")
        client = self.start("tls_client.py", port)
        self.assertEqual(await client.ended(), 1, client)
        self.assertIn(b"does not speak TLS", client.errors)

    async def test_first_client_without_a_server(self) -> None:
        """A port on which nobody listens is one line too."""
        client = self.start("first_client.py", 1)
        self.assertEqual(await client.ended(), 1, client)
        self.assertRegex(client.errors.decode(), r"\ANo connection: ECONNREFUSED: [^\n]*\n\Z")

    async def test_many_clients(self) -> None:
        """Each client gets its number; its lines and its leaving are sent to all others."""
        port = await self.serve_example("many_clients.py")
        clients = []
        for number in (1, 2, 3):
            clients.append(await self.connect(port))
            await self.hears(clients[-1], f"You are number {number}; {number} are here.")
        one, two, three = clients
        two.send(b"hello\n")
        await self.hears(one, "2: hello")
        await self.hears(three, "2: hello")
        one.send(b"hello to you\n")
        await self.hears(two, "1: hello to you")  # the first line is not its own
        await self.hears(three, "1: hello to you")
        three.transport.loseConnection()
        await self.hears(one, "3 has left: The peer closed the connection.")
        await self.hears(two, "3 has left: The peer closed the connection.")


class TroubleTests(ExampleCase):
    """Errors and timeouts."""

    async def test_errors_of_a_connect(self) -> None:
        """A failed connection is an error with code, address and port."""
        example = self.start("errors.py", 0)
        await example.expect(rb"^Failed: code=ECONNREFUSED address=127\.0\.0\.1 port=1$")
        await self.port(example)  # the program continues

    async def test_errors_of_a_hook(self) -> None:
        """A hook that fails closes its own connection with a traceback; other connections stay."""
        example = self.start("errors.py", 0)
        port = await self.port(example)
        unlucky, other = await self.connect(port), await self.connect(port)
        address = unlucky.address
        unlucky.send(b"6 3\n")
        await self.hears(unlucky, "2")
        unlucky.send(b"6 0\n")
        await unlucky.closed()
        self.assertEqual(unlucky.received, b"")
        await example.expect(rb"^Connection 1 ended: failed \(.*by zero\)$")
        await example.until(lambda: b"ZeroDivisionError" in example.errors, "the traceback")
        self.assertIn(f"Connection 1 from {address}: a hook failed", example.errors.decode())
        other.send(b"8 2\n")
        await self.hears(other, "4")

    async def test_timeouts_of_ones_own_connections(self) -> None:
        """A silent connection is closed after the limit, with the reason; others stay."""
        example = self.start("timeouts.py", 0, 0, 1)
        await self.silence_ends(await self.port(example))
        await example.expect(rb"^Connection 1 ended: idle$")

    async def test_timeouts_before_any_factory(self) -> None:
        """The other port does the same for a protocol of Twisted's without timeouts."""
        example = self.start("timeouts.py", 0, 0, 1)
        await self.port(example)
        await self.silence_ends(await self.port(example))

    async def silence_ends(self, port: int) -> None:
        from twisted.internet import reactor

        clock: Any = reactor
        begin = clock.seconds()
        silent, talking = await self.connect(port), await self.connect(port)
        talk = LoopingCall(talking.send, b"still here\n")
        talk.start(0.3)
        self.addCleanup(lambda: talk.stop() if talk.running else None)
        await silent.closed()
        self.assertGreater(clock.seconds() - begin, 1)
        self.assertIsNone(talking.lost)
        talk.stop()
        await talking.closed()


class MessageTests(ExampleCase):
    """Messages that are not lines."""

    async def test_pieces(self) -> None:
        """It shows each piece, and the lines that it completes."""
        example = self.start("pieces.py", 0)
        client = await self.connect(await self.port(example))
        client.send(b"one\ntw")
        await example.expect(rb"^Read b'one\\ntw': lines \[b'one'\], and a line has begun$")
        client.send(b"o\n")
        await example.expect(rb"^Read b'o\\n': lines \[b'two'\], and nothing waits$")

    async def test_json_messages(self) -> None:
        """JSON is answered by objects, also if it is of another shape; what is no JSON closes."""
        example = self.start("json_messages.py", 0)
        client = await self.connect(await self.port(example))
        client.send(b'{"add": [1, 2]}\n{"add"')
        await self.hears(client, '{"sum":3}')
        client.send(b": [20, 22]}\n")
        await self.hears(client, '{"sum":42}')
        client.send(b'{"add": "everything"}\n')
        await client.has(b"\n")
        self.assertEqual(list(json.loads(client.received)), ["error"])
        client.send(b"{add\n")
        await client.closed()
        await example.expect(rb"^Connection 1 ended: bad-input \(not JSON: .*\)$")

    async def test_own_framing(self) -> None:
        """Records are answered by records, and one over the limit closes the connection."""
        client = await self.connect(await self.serve_example("own_framing.py"))
        client.send(b"one;tw")
        await client.has(b"ONE;")
        client.send(b"o;")
        await client.has(b"TWO;")
        client.send(b"x" * 70_000)
        await client.closed()
        self.assertEqual(client.received, b"ONE;TWO;")

    async def test_json_messages_with_nc(self) -> None:
        """The command in the docstring gets its answer, although it half-closes first."""
        nc = self.nc(await self.serve_example("json_messages.py"), "-N")
        nc.write(b'{"add": [1, 2]}\n')
        nc.end_input()
        self.assertEqual(await nc.ended(), 0, nc)
        self.assertEqual(nc.output, b'{"sum":3}\n')

    async def test_large_file(self) -> None:
        """A file larger than the memory in use arrives whole, while another client does not
        read."""
        size = max(256 * MIB, more_than_buffers())
        with (self.where / "large").open("wb") as file:
            file.truncate(size)  # takes no space on the disk
        example = self.start("large_file.py", 0, "large")
        port = await self.port(example)
        before = memory(example.pid, "VmHWM")
        await self.connect(port, Unread)
        reading = await self.connect(port, Counting)
        await reading.closed()
        self.assertEqual(reading.count, size)
        self.assertLess(memory(example.pid, "VmHWM") - before, 16 * MIB)

    async def test_large_file_as_it_is(self) -> None:
        """The file arrives unchanged; without a path, the example sends itself."""
        client = await self.connect(await self.serve_example("large_file.py"))
        await client.closed()
        self.assertEqual(client.received, (EXAMPLES / "large_file.py").read_bytes())


class TlsTests(ExampleCase):
    """The TLS server and the TLS client."""

    async def test_tls_client_and_server(self) -> None:
        """The client trusts the certificate that the server made, and talks to it."""
        port = await self.serve_example("tls_server.py")
        client = self.start("tls_client.py", port)
        self.assertEqual(await client.ended(), 0, client)
        self.assertEqual(client.output, b"The server says: HELLO\n")

    async def test_tls_client_refuses_others(self) -> None:
        """To a server with an untrusted certificate, the client sends nothing; it prints why."""
        port = await self.serve_example("tls_server.py")
        trustme.CA().cert_pem.write_to_path(str(self.where / "other.pem"))
        client = self.start("tls_client.py", port, "other.pem")
        self.assertEqual(await client.ended(), 1, client)
        self.assertEqual(client.output, b"")
        expected = rf"^No connection: CERTIFICATE: localhost:{port}: .*\n$"
        self.assertRegex(client.errors.decode(), expected)

    async def test_tls_files_that_cannot_be_used(self) -> None:
        """A file that is missing, or does not fit, is one line that names it."""
        server = self.start("tls_server.py", 0, "cert.pem", "key.pem")
        self.assertEqual(await server.ended(), 1, server)
        missing = rf"{re.escape(str(self.where))}/\w+\.pem: No such file or directory\n\Z"
        self.assertRegex(server.errors.decode(), rf"\ACannot use {missing}")
        client = self.start("tls_client.py", 1, "ca.pem")
        self.assertEqual(await client.ended(), 1, client)
        self.assertRegex(client.errors.decode(), rf"\ANo connection: ca {missing}")

    async def test_tls_server_with_files(self) -> None:
        """The server loads its certificate and key from files; ``openssl`` can connect."""
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        authority.cert_pem.write_to_path(str(self.where / "ca.pem"))
        issued.private_key_pem.write_to_path(str(self.where / "key.pem"))
        issued.cert_chain_pems[0].write_to_path(str(self.where / "cert.pem"))
        port = await self.serve_example("tls_server.py", "cert.pem", "key.pem")
        verified = ("-verify_return_error", "-verify_hostname", "localhost", "-CAfile", "ca.pem")
        connect = ("s_client", "-quiet", "-connect", f"{LOCALHOST}:{port}")
        client: Program = self.spawn(program("openssl"), *connect, *verified, cwd=self.where)
        client.write(b"hello\n")
        await client.expect(rb"^HELLO$")
        self.assertFalse((self.where / "server.pem").exists())


class StartTlsTests(ExampleCase):
    """TLS that begins in the middle of a connection."""

    async def test_starttls_client_and_server(self) -> None:
        """The client gets its answer over TLS; one that trusts somebody else gets none."""
        port = await self.serve_example("starttls_server.py")
        client = self.start("starttls_client.py", port)
        self.assertEqual(await client.ended(), 0, client)
        self.assertEqual(client.output, b"The server says: HELLO\n")
        trustme.CA().cert_pem.write_to_path(str(self.where / "other.pem"))
        client = self.start("starttls_client.py", port, "other.pem")
        self.assertEqual(await client.ended(), 1, client)
        self.assertRegex(client.errors.decode(), r"^No answer: handshake \(.*verify failed.*\)\n$")

    async def test_starttls_server_with_openssl(self) -> None:
        """The command in the docstring verifies the certificate and gets its answer."""
        port = await self.serve_example("starttls_server.py")
        connect = ("s_client", "-quiet", "-starttls", "pop3", "-connect", f"{LOCALHOST}:{port}")
        trust = ("-CAfile", "server.pem", "-verify_return_error", "-verify_hostname", "localhost")
        client: Program = self.spawn(program("openssl"), *connect, *trust, cwd=self.where)
        client.write(b"hello\n")
        await client.expect(rb"^HELLO$")

    async def test_starttls_server_takes_no_line_from_before(self) -> None:
        """A line in plain text behind the request for TLS ends the connection."""
        port = await self.serve_example("starttls_server.py")
        client = await self.connect(port)
        client.send(b"hello\nSTLS\nevil\n")
        await client.closed()
        self.assertNotIn(b"EVIL", client.received)


class PortedTests(ExampleCase):
    """Programs before and after they were ported do the same."""

    async def test_from_twisted(self) -> None:
        """In both rooms, a line goes to all others, and a silent member is closed."""
        for name in ("from_twisted_before.py", "from_twisted_after.py"):
            port = await self.serve_example(name, 3)
            one, two, silent = [await self.connect(port) for _ in range(3)]
            for number, client in enumerate((one, two, silent), 1):
                await self.hears(client, f"Members: {number}")
            talk = LoopingCall(one.send, b"hello\n")
            talk.start(0.3)
            self.addCleanup(lambda talk=talk: talk.stop() if talk.running else None)
            await two.has(b"hello\nhello\n")
            await silent.closed()
            self.assertIsNone(one.lost, name)
            self.assertEqual(one.received, b"", name)

    async def test_from_asyncio(self) -> None:
        """Both answer in capitals, and print why a connection that was reset has ended."""
        for name in ("from_asyncio_before.py", "from_asyncio_after.py"):
            example = self.start(name, 0)
            port = await self.port(example)
            client = await self.connect(port)
            client.send(b"hello\n")
            await self.hears(client, "HELLO")
            client.transport.abortConnection()
            await example.expect(rb"^A connection ended: .*reset.*$")
            client = await self.connect(port)
            client.send(b"again\n")
            await self.hears(client, "AGAIN")

    async def test_asyncio_program(self) -> None:
        """Twisted's server and clients run on the loop of asyncio, and the program ends."""
        example = self.start("asyncio_program.py")
        self.assertEqual(await example.ended(), 0, example)
        self.assertEqual(example.output, b"ONE TWO\n")


class ApplicationTests(ExampleCase):
    """The chat: as a program of its own, and embedded."""

    async def test_chat(self) -> None:
        """A line is sent to all others, without characters that could harm a terminal."""
        await self.chat("chat.py")

    async def test_chat_for_node(self) -> None:
        """The chat for Node does the same."""
        await self.chat("chat_node.js")

    async def chat(self, name: str) -> None:
        port = await self.serve_example(name)
        one = await self.connect(port)
        await self.hears(one, "You are guest 1. Others here: 0.")
        two = await self.connect(port)
        await self.hears(two, "You are guest 2. Others here: 1.")
        one.send(b"hello\n")
        await self.hears(two, "<1> hello")
        two.send("\x1b[31mhé\x07\n".encode())
        await self.hears(one, "<2> hé")
        two.transport.loseConnection()
        await two.closed()
        three = await self.connect(port)  # greeted after two has left
        await three.has(b"You are guest 3.")
        four = await self.connect(port)
        await self.hears(four, "You are guest 4. Others here: 2.")

    async def test_chat_slow_readers(self) -> None:
        """Who does not read is told afterwards how many lines were dropped; others go on."""
        port = await self.serve_example("chat_slow_readers.py")
        slow, fast = await self.connect(port), await self.connect(port)
        await slow.has(b"Others here: 0.\n")
        await fast.has(b"You are guest 2.")
        slow.transport.pauseProducing()
        fast.send((b"x" * 60_000 + b"\n") * (more_than_buffers() // 60_000))
        late = await self.connect(port)
        await late.has(b"You are guest 3.")
        fast.send(b"end\n")
        await late.has(b"<2> end\n")
        slow.transport.resumeProducing()
        await slow.has(b"<2> end\n")
        await slow.has(b" lines.\n")
        self.assertRegex(slow.received, rb"\* You have missed [1-9][0-9]* lines\.\n")

    async def test_chat_names(self) -> None:
        """A name has one owner at a time."""
        port = await self.serve_example("chat_names.py")
        one = await self.connect(port)
        await self.hears(one, "What is your name?")
        one.send(b"ann\n")
        two = await self.connect(port)
        await self.hears(two, "What is your name?")  # after one has sent its name
        two.send(b"bob\nhello\n")
        await self.hears(one, "<bob> hello")
        three = await self.connect(port)
        three.send(b"bob\ncarl\nhello\n")
        await self.hears(one, "<carl> hello")

    async def test_chat_history(self) -> None:
        """Who joins is shown five lines, and then hears the others."""
        port = await self.serve_example("chat_history.py")
        one = await self.connect(port)
        one.send(b"".join(b"%d\n" % number for number in range(8)))
        other = await self.connect(port)
        await other.has(b"<1> 7\n")
        late = await self.connect(port)
        await self.hears(late, *(f"<1> {number}" for number in range(3, 8)))
        one.send(b"8\n")
        await self.hears(late, "<1> 8")

    async def test_recovering_client(self) -> None:
        """It is sent what was said while it was away, and is told if that is lost."""
        _, port = await self.serve("netchat")
        client = self.start("recovering_client.py", port)
        await client.expect(rb"^recovered: None$")
        ann = await self.connect(port)
        await ann.has(b"/help lists commands.\n")
        ann.send(b"one\n")
        await client.expect(rb"^1 guest-1 one$")
        ann.send(b"two\n")
        await client.expect(rb"^2 guest-1 two$")  # so the position after the first is in the file
        client.signal(signal.SIGKILL)
        await client.ended()
        ann.send(b"three\n")
        client = self.start("recovering_client.py", port)
        await client.expect(rb"\Arecovered: True\n(2 guest-1 two\n)?3 guest-1 three\n\Z")
        _, other = await self.serve("netchat")
        client = self.start("recovering_client.py", other)
        await client.expect(rb"^recovered: False$")

    async def test_chat_limits(self) -> None:
        """An address has two connections, and a line 500 bytes."""
        example = self.start("chat_limits.py", 0)
        port = await self.port(example)
        one, two = await self.connect(port), await self.connect(port)
        await self.hears(one, "You are guest 1.")
        await self.hears(two, "You are guest 2.")
        three = await self.connect(port)
        await three.closed()
        await example.expect(rb"^Refused: too-many$")
        two.send(b"x" * 501)
        await two.closed()
        await example.expect(rb"^Connection 2 ended: too-long$")
        one.send(b"".join(b"%d\n" % number for number in range(15)) + b"slow")
        await example.expect(rb"^Connection 1 ended: unfinished$")

    async def test_chat_service(self) -> None:
        """SIGTERM is announced before the connections are closed."""
        variables = (program("env"), "PORT=0")
        command = (script("twistd"), "-n", "--pidfile=", "-y", str(EXAMPLES / "chat_service.tac"))
        example: Program = self.spawn(*variables, *command)
        port = int((await example.expect(rb"Listening on \S+:(\d+) \(tcp:0\)$"))[1])
        ann = await self.connect(port)
        await self.hears(ann, "You are guest 1.")
        example.signal(signal.SIGTERM)
        await self.hears(ann, "* The server is stopping.")
        await ann.closed()
        await example.expect(rb"Connection 1 from \S+ ended: draining, ")
        await example.ended()

    async def test_chat_watched(self) -> None:
        """The view has the connections of the chat."""
        example = self.start("chat_watched.py", 0, 0)
        chat, view = await self.port(example), await self.port(example)
        ann, bob = await self.connect(chat), await self.connect(chat)
        await self.hears(ann, "You are guest 1.")
        bob.send(b"hello\n")
        await self.hears(ann, "<2> hello")
        shown = json.loads(await self.curl(view, path="connections"))
        self.assertEqual([row["bytes_received"] for row in shown["connections"]], [0, 6])

    async def test_chat_upgrade(self) -> None:
        """SIGUSR2 starts a new process, which goes on with the members."""
        log = self.where / "log"
        flags = f"-n --pidfile= --logfile={log} -y {EXAMPLES}/" + "chat_upgrade.tac"
        # Without the pipes of this test, which would be the new process's as well.
        command = f"PORT=0 exec {script('twistd')} {flags} < /dev/null > {self.where}/output 2>&1"
        example: Program = self.spawn(program("sh"), "-c", command)

        async def logged(pattern: str) -> int:
            await self.poll(lambda: log.exists() and bool(re.search(pattern, log.read_text())))
            return int(re.findall(pattern, log.read_text())[0])

        port = await logged(r"Listening on \S+:(\d+) \(tcp:0\)")
        ann, bob = await self.connect(port), await self.connect(port)
        await self.hears(ann, "You are guest 1.")
        await self.hears(bob, "You are guest 2.")
        example.signal(signal.SIGUSR2)
        new = await logged(r"process (\d+) goes on with 2 connections")
        self.addCleanup(os.kill, new, signal.SIGKILL)
        await example.ended()
        bob.send(b"hello\n")
        await self.hears(ann, "<2> hello")

    async def test_websocket_echo(self) -> None:
        """A browser gets back what it sends."""
        browser = await self.connect(await self.serve_example("websocket_echo.py"))
        browser.send(opening(host="localhost") + client_frame("hello"))
        await browser.has(WebSocket().encode("hello"))

    async def test_websocket_chat(self) -> None:
        """A browser and a person hear each other, and not themselves."""
        example = self.start("websocket_chat.py", 0, 0)
        ann, web = (
            await self.connect(await self.port(example)),
            await self.connect(await self.port(example)),
        )
        web.send(opening(host="localhost"))
        await web.has(b"HTTP/1.1 101 ")
        ann.send(b"hello, web\n")
        await web.has(WebSocket().encode("hello, web"))
        web.send(client_frame("hello, ann"))
        await self.hears(ann, "hello, ann")

    async def test_chat_bot(self) -> None:
        """The bot is in the room, and answers."""
        _, port = await self.serve("netchat")
        bot = self.start("chat_bot.py", f"tcp:{LOCALHOST}:{port}")
        await bot.expect(rb"^I am in lobby$")
        ann = await self.connect(port)
        await ann.has(b"/help lists commands.\n")
        ann.send(b"!echo hello\nnothing\n")
        await ann.has(b"<bot> guest-1 says: hello\n")
        await bot.expect(rb"^Answered guest-1 at 2$|^Answered guest-1 at 3$")

    async def test_chat_program(self) -> None:
        """The program is in the room, gets its messages, and knows the offsets of its own."""
        _, port = await self.serve("netchat")
        ann = await self.connect(port)
        await ann.has(b"/help lists commands.\n")
        node = self.start("chat_program.js", port, "nod", "hi, \u00e5nn")
        await node.expect(rb"\AI am nod\nIn lobby: guest-1, nod\nStored first at 1\n\Z")
        await ann.has("* nod joined #lobby.\n<nod> hi, \u00e5nn\n".encode())
        ann.send(b"hi\n")
        await node.expect(rb"^guest-1: hi\n\Z")

    async def test_chat_dice(self) -> None:
        """Both forms roll the dice, see what others roll, and are told the rule."""
        port = await self.serve_example("chat_dice.py")
        ann, bob = await self.connect(port), await self.connect(port)
        bob.send(b'{"type":"hello","nick":"bob","room":"lobby"}\n')
        await bob.has(b'"type":"joined"')
        ann.send(b"/nick ann\n/dice 20\n/dice 1\n/join staff\n/help dice\n")
        await ann.has(b"! sides must be from 2 to 100.\n! Only the staff may join #staff.\n")
        await ann.has(b"* /dice [SIDES]: roll a dice, with 6 sides or as many as you say\n")
        await ann.has(b"* ann rolled ")
        await bob.has(b'{"type":"dice","room":"lobby","text":"ann rolled ')
        bob.send(b'{"type":"dice","sides":2,"id":"d"}\n{"type":"join","room":"staff","id":"j"}\n')
        await bob.has(b',"id":"d"}\n')
        await bob.has(b'"code":"staff-only"')
        await ann.has(b"* bob rolled ")

    async def test_operator_view(self) -> None:
        """The view shows who is connected, on its own port."""
        example = self.start("operator_view.py", 0, 0)
        shout, view = await self.port(example), await self.port(example)
        client = await self.connect(shout)
        client.send(b"hello\n")
        await self.hears(client, "HELLO")
        shown = json.loads(await self.curl(view, path="connections"))
        self.assertEqual([row["bytes_received"] for row in shown["connections"]], [6])
        self.assertEqual(await self.curl(view, path="readyz"), "ready\n")
        metrics = await self.curl(view, path="metrics")
        self.assertIn('twisted_net_received_messages_total{service="shout"} 1.0\n', metrics)

    async def test_embedding(self) -> None:
        """The site counts the users in the chat, and sends them what is posted to it."""
        example = self.start("embedding.py", 0, 0)
        chat, web = await self.port(example), await self.port(example)
        self.assertEqual(await self.curl(web), "In the chat: 0\n")
        ann = await self.connect(chat)
        await self.hears(
            ann, "Welcome to the chat server! You are guest-1 in #lobby. /help lists commands."
        )
        self.assertEqual(await self.curl(web, "-d", "Lunch!"), "In the chat: 1\n")
        await self.hears(ann, "* Lunch!")

    async def test_embedding_in_twistd(self) -> None:
        """``twistd -y`` runs the chat and the site of the application, until SIGTERM."""
        ports = (program("env"), "PORT=0", "WEB_PORT=0")
        command = (script("twistd"), "-n", "--pidfile=", "-y", str(EXAMPLES / "embedding.tac"))
        example: Program = self.spawn(*ports, *command)
        chat = int((await example.expect(rb"ChatFactory starting on (\d+)$"))[1])
        web = int((await example.expect(rb" starting on (\d+)$"))[1])
        ann, bob = await self.connect(chat), await self.connect(chat)
        await ann.has(b"/help lists commands.\n")
        await bob.has(b"/help lists commands.\n")
        ann.send(b"hello\n")
        await bob.has(b"<guest-1> hello\n")
        self.assertEqual(await self.curl(web), "Talk to us: nc localhost 8080\n")
        example.signal(signal.SIGTERM)
        await bob.has(b"* The server is restarting.\n")
        await example.expect(rb"Server Shut Down\.$")
        await example.ended()
