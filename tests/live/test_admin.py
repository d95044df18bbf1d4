"""The operator's view of real services: ``curl``, ``promtool``, ``netchat-admin``, taps."""

from __future__ import annotations

import json
import os
import re
import ssl
from pathlib import Path
from typing import Any

import trustme

from tests.live.harness import LOCALHOST, LiveTestCase, Program, Server, program, script
from tests.live.test_tls_reload import Authority

ADMIN = "tcp:0:interface=127.0.0.1"

CHANGE = ("-X", "POST", "-H", "X-Netchat-Admin: 1")

CHECKOUT = Path(__file__).resolve().parent.parent.parent


class AdminLiveCase(LiveTestCase):
    """A service with ``--admin``."""

    async def operated(self, service: str, *flags: str) -> tuple[Server, int, str]:
        """Start a service; return it, its port, and the URL of its operator's view."""
        server, port = await self.serve(service, "--admin", ADMIN, *flags)
        return server, port, f"http://localhost:{await server.port(f'--admin {ADMIN}')}"

    async def curl(self, *words: str) -> tuple[int, str]:
        """Return the status of HTTP, and the body."""
        curl: Program = self.spawn(program("curl"), "-s", "-w", "\n%{http_code}", *words)
        self.assertEqual(await curl.ended(), 0, curl)
        body, _, status = curl.output.decode().rpartition("\n")
        return int(status), body

    async def ask(self, url: str, *words: str) -> Any:
        """Return the JSON value of an answer."""
        status, body = await self.curl(*words, url)
        self.assertEqual(status, 200, body)
        return json.loads(body)

    async def metric(self, url: str, pattern: str) -> float:
        """Return the value of the first metric that matches."""
        _, text = await self.curl(f"{url}/metrics")
        found = re.search(rf"^twisted_net_{pattern} (\S+)$", text, re.MULTILINE)
        assert found is not None, text
        return float(found[1])

    def admin(self, url: str, *words: str) -> Program:
        """Start ``netchat-admin``."""
        started: Program = self.spawn(script("netchat-admin"), "--at", url, *words)
        return started


class MetricsLiveTests(AdminLiveCase):
    async def test_promtool(self) -> None:
        """``promtool check metrics`` finds nothing to say about any service's."""
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        directory = self.directory()
        cert, key = directory / "cert.pem", directory / "key.pem"
        issued.cert_chain_pems[0].write_to_path(str(cert))
        issued.private_key_pem.write_to_path(str(key))
        tls = ("--tls-port", "0", "--cert", str(cert), "--key", str(key))
        for service in ("netchat", "netecho", "netidle"):
            server, port, url = await self.operated(service, *tls)
            client = await self.connect(port)
            client.send(b"hello\n")
            context = ssl.create_default_context()
            authority.configure_trust(context)
            secure = await server.port("--tls-port 0")
            openssl: Program = self.spawn(
                *(program("openssl"), "s_client", "-connect", f"{LOCALHOST}:{secure}", "-quiet")
            )
            await openssl.until(lambda each=openssl: b"verify" in each.errors, "a handshake")
            _, text = await self.curl(f"{url}/metrics")
            promtool: Program = self.spawn(program("promtool"), "check", "metrics")
            promtool.write(text.encode())
            promtool.end_input()
            self.assertEqual(await promtool.ended(), 0, promtool)
            self.assertEqual(bytes(promtool.output + promtool.errors), b"")
            labels = rf'{{service="{service}",version="TLSv1.3"}}'
            self.assertEqual(await self.metric(url, rf"tls_handshakes_total{labels}"), 1)
            expires = await self.metric(url, r"certificate_expiry_timestamp_seconds\{.*\}")
            self.assertGreater(expires, 1e9)
            for label in ("--port 0", "--tls-port 0"):
                accepted = rf'connections_accepted_total{{listener="{label}".*}}'
                self.assertEqual(await self.metric(url, accepted), 1)
            await server.stop()

    async def test_certificates_of_all_listeners(self) -> None:
        """Those of ``nettls:`` and of ``--web`` are in the metrics as those of ``--tls-port``."""
        issued = trustme.CA().issue_cert("localhost")
        pem = self.directory() / "all.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(pem))
        where = f"nettls:0:interface=127.0.0.1:cert={pem}:key={pem}"
        flags = ("--listen", where, "--web", where, "--port", "0")
        server, _, url = await self.operated("netchat", *flags)
        await server.until(lambda: server.log("Listening on .*web nettls"), "it to listen")
        for flag in ("--listen", "--web"):
            label = rf'\{{listener="{flag} nettls:[^"]*",service="netchat"\}}'
            expires = await self.metric(url, f"certificate_expiry_timestamp_seconds{label}")
            self.assertGreater(expires, 1e9)

    async def test_alerts(self) -> None:
        """``promtool`` finds nothing wrong with the alerts, and they fire when they should."""
        rules = CHECKOUT / "docs/monitoring"
        for words in (("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")):
            promtool: Program = self.spawn(program("promtool"), *words, cwd=rules)
            self.assertEqual(await promtool.ended(), 0, promtool)
            self.assertIn(b"SUCCESS", promtool.output)


class AccessLiveTests(AdminLiveCase):
    async def test_open_to_others(self) -> None:
        """Without a token, the start ends with one line that names the flag."""
        server = self.twistd("netecho", "--port", "0", "--admin", "tcp:0")
        self.assertEqual(await server.ended(), 1)
        lines = server.errors.decode().splitlines()
        self.assertEqual(len(lines), 1, server)
        self.assertIn("netecho: --admin tcp:0: other machines can connect", lines[0])

    async def test_a_token(self) -> None:
        """Nobody gets anything without it, and ``netchat-admin`` reads it from a file."""
        token = self.directory() / "token"
        token.write_text("0123456789abcdef\n")
        flags = ("--admin", "tcp:0", "--admin-token-file", str(token))
        server, _ = await self.serve("netecho", *flags)
        url = f"http://localhost:{await server.port('--admin tcp:0')}"
        self.assertEqual((await self.curl(f"{url}/metrics"))[0], 401)
        self.assertEqual((await self.curl(f"{url}/readyz"))[0], 200)
        header = ("-H", "Authorization: Bearer 0123456789abcdef")
        self.assertEqual((await self.curl(*header, f"{url}/metrics"))[0], 200)
        refused = self.admin(url, "who")
        self.assertEqual(await refused.ended(), 1)
        self.assertIn(b"A token is needed", refused.errors)
        who = self.spawn(script("netchat-admin"), "--at", url, "--token-file", str(token), "who")
        self.assertEqual(await who.ended(), 0, who)

    async def test_a_unix_socket(self) -> None:
        """It needs no token."""
        path = self.directory() / "admin"
        server, _ = await self.serve("netecho", "--admin", f"unix:{path}:mode=600")
        await server.until(lambda: server.log("--admin unix:"), "it to listen")
        status, body = await self.curl("--unix-socket", str(path), "http://localhost/connections")
        self.assertEqual((status, json.loads(body)["total"]), (200, 0))
        who = self.admin(f"unix:{path}", "top", "--once")
        self.assertEqual(await who.ended(), 0, who)
        self.assertIn(b"ready   0 connections", who.output)

    async def test_other_pages(self) -> None:
        """A page of elsewhere can neither read nor change anything."""
        _, port, url = await self.operated("netecho")
        client = await self.connect(port)
        for words in (
            ("-H", "Origin: http://evil.example", *CHANGE, f"{url}/drain"),
            ("-H", "Host: evil.example", f"{url}/metrics"),
            ("-X", "POST", f"{url}/drain"),
            ("-H", "Sec-Fetch-Site: cross-site", f"{url}/connections/1/tap"),
        ):
            self.assertEqual((await self.curl(*words))[0], 403)
        self.assertEqual((await self.curl(f"{url}/readyz"))[0], 200)
        client.send(b"still here")
        await client.has(b"still here")


class StoppingLiveTests(AdminLiveCase):
    async def test_sigterm(self) -> None:
        """While it stops, ``/readyz`` says 503 and why, until the last connection has ended."""
        server, port, url = await self.operated("netecho", "--drain", "30")
        client = await self.connect(port)
        client.send(b"x")
        await client.has(b"x")
        client.transport.pauseProducing()  # it does not notice the end
        server.signal(15)
        await server.until(lambda: server.log("Port .* Closed"), "it to stop accepting")
        self.assertEqual(await self.curl(f"{url}/readyz"), (503, "netecho is draining\n"))
        self.assertEqual(await self.curl(f"{url}/healthz"), (200, "ok\n"))
        client.transport.abortConnection()
        self.assertEqual(await server.ended(), -15)  # twistd ends by the signal

    async def test_drain(self) -> None:
        """``netchat-admin drain`` ends all connections, and the server runs on."""
        server, port, url = await self.operated("netchat")
        client = await self.connect(port)
        await client.has(b"Welcome")
        drain = self.admin(url, "drain", "--wait")
        await client.closed()
        self.assertIn(b"restarting", client.received)
        self.assertEqual(await drain.ended(), 0, drain)
        self.assertIn(b"All connections have ended.", drain.output)
        ended = (await self.ask(f"{url}/ended"))["ended"]
        self.assertEqual([each["reason"] for each in ended], ["draining"])
        self.assertIsNone(server.status)
        self.assertEqual((await self.curl(f"{url}/readyz"))[0], 503)


class StoreLiveTests(AdminLiveCase):
    async def test_a_file_that_is_away(self) -> None:
        """A chat is not ready while its file is away, and ready again when it is back."""
        path = self.directory() / "chat.db"
        server, port, url = await self.operated("netchat", "--store", f"sqlite:{path}")
        client = await self.connect(port)
        client.send(b"hello\n")
        await client.has(b"You are guest-1 in #lobby")
        self.assertEqual((await self.curl(f"{url}/readyz"))[0], 200)
        path.rename(path.with_name("away"))
        client.send(b"is it stored?\n")
        await client.has(b"the server cannot store it now")
        why = "netchat: the store cannot be written: chat.db was removed while it was open\n"
        self.assertEqual(await self.curl(f"{url}/readyz"), (503, why))
        self.assertEqual(await self.metric(url, r"ready\{.*\}"), 0)
        path.with_name("away").rename(path)
        await server.until(lambda: b"The store works: " in server.output, "the file to be used")
        self.assertEqual((await self.curl(f"{url}/readyz"))[0], 200)


class PagesLiveTests(AdminLiveCase):
    async def test_browsers_that_fetch_the_page(self) -> None:
        """Their connections are shown, counted, tapped and closed as all others."""
        _, port, url = await self.operated("netchat")
        person = await self.connect(port)
        await person.has(b"Welcome")
        pages = [await self.connect(port) for _ in range(3)]
        request = f"GET / HTTP/1.1\r\nHost: {LOCALHOST}\r\nCookie: secret=1\r\n\r\n".encode()
        for page in pages:
            page.send(request)
            await page.has(b"</html>")
        shown = await self.ask(f"{url}/connections")
        self.assertEqual(shown["total"], 4)
        self.assertEqual(
            sorted(row["form"] for row in shown["connections"]), ["page", "page", "page", "text"]
        )
        self.assertEqual(len({row["id"] for row in shown["connections"]}), 4)
        opened = r'connections\{form="page",service="netchat",state="open"\}'
        self.assertEqual(await self.metric(url, opened), 3)
        accepted = r'connections_accepted_total\{listener="--port 0",service="netchat"\}'
        self.assertEqual(await self.metric(url, accepted), 4)
        number = next(row["id"] for row in shown["connections"] if row["peer"] == pages[0].address)
        tap: Program = self.spawn(program("curl"), "-sN", f"{url}/connections/{number}/tap")
        await tap.expect(rb'^\{"tap":')
        pages[0].send(request)
        await tap.expect(rb'"dir":"in".*GET / HTTP/1.1')
        await tap.expect(rb'"dir":"out".*HTTP/1.1 200 OK')
        self.assertNotIn(b"secret", tap.output)
        closing = self.admin(url, "close", str(number))
        self.assertEqual(await closing.ended(), 0, closing)
        await pages[0].closed()
        drain = self.admin(url, "drain", "--wait")
        for client in (person, *pages):
            await client.closed()
        self.assertEqual(await drain.ended(), 0, drain)
        reasons = [row["reason"] for row in (await self.ask(f"{url}/ended"))["ended"]]
        self.assertEqual(sorted(reasons), ["draining", "draining", "draining", "kicked"])
        ended = r'connections_ended_total\{reason="draining",service="netchat"\}'
        self.assertEqual(await self.metric(url, ended), 3)


class CommandLiveTests(AdminLiveCase):
    async def test_people(self) -> None:
        """``who`` and ``top`` list them, ``close`` ends one, and everybody sees why."""
        server, port, url = await self.operated("netchat")
        people = [await self.connect(port) for _ in range(3)]
        for client, name in zip(people, ("ann", "bob", "cleo"), strict=True):
            await client.has(b"Welcome")
            client.send(f"/nick {name}\n".encode())
            await client.has(f"{name}".encode())
        who = self.admin(url, "who", "--room", "lobby")
        self.assertEqual(await who.ended(), 0, who)
        lines = who.output.decode().splitlines()
        self.assertEqual(len(lines), 4)
        number = next(line.split()[0] for line in lines if " bob " in line)
        closing = self.admin(url, "close", number, "--text", "too loud")
        self.assertEqual(await closing.ended(), 0, closing)
        await people[1].has(b"An operator closed the connection")
        people[1].transport.loseConnection()
        await server.until(lambda: server.log(r"ended: kicked \(too loud\)"), "the end")
        top = self.admin(url, "top", "--once")
        self.assertEqual(await top.ended(), 0, top)
        self.assertIn(b"2 connections", top.output)
        module: Program = self.spawn(
            *(script("python"), "-m", "twisted_net.admin", "--at", url, "close", number)
        )
        self.assertEqual(await module.ended(), 1)
        self.assertIn(f"There is no connection {number}.".encode(), module.errors)

    async def test_something_else(self) -> None:
        """A server that is none of ours is one line, whatever it answers."""
        _, port = await self.serve("netchat")
        who = self.admin(f"http://{LOCALHOST}:{port}", "who")
        self.assertEqual(await who.ended(), 1)
        lines = who.errors.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("HTTP 404 Not Found: this is no --admin of twisted_net", lines[0])

    async def test_a_certificate_that_is_not_trusted(self) -> None:
        """The line says why, and which names it is for if it is for others."""
        directory = self.directory()
        authority, cert, key = Authority(directory), directory / "cert.pem", directory / "key.pem"
        authority.issue(cert, key, "chat.example", "other.example")
        admin = f"nettls:0:interface={LOCALHOST}:cert={cert}:key={key}"
        server = self.twistd("netecho", "--port", "0", "--admin", admin)
        url = f"https://{LOCALHOST}:{await server.port(f'--admin {admin}')}"
        for trusts, why in (
            (os.devnull, "unable to get local issuer certificate"),
            (authority.ca, "IP address mismatch.*; it is for 'chat.example', 'other.example'"),
        ):
            command = ("env", f"SSL_CERT_FILE={trusts}", script("netchat-admin"), "--at", url)
            who: Program = self.spawn(*command, "who")
            self.assertEqual(await who.ended(), 1)
            line = f"^netchat-admin: {url}: certificate verify failed: {why}\n$"
            self.assertRegex(who.errors.decode(), line)

    async def test_a_ban_and_the_log_level(self) -> None:
        """By ``curl``, as the documents show."""
        server, port, url = await self.operated("netchat")
        client = await self.connect(port)
        await client.has(b"Welcome")
        client.send(b"/nick bob\n")
        await client.has(b"bob")
        body = ("-d", '{"target": "bob", "minutes": 5, "text": "spam"}')
        done = await self.ask(f"{url}/bans", *CHANGE, *body)
        self.assertEqual(done, {"done": "bob is kept out for 5 minutes."})
        await client.has(b"banned by the operator: spam")
        client.transport.loseConnection()
        await self.ask(f"{url}/log-level", *CHANGE, "-d", '{"level": "warn"}')
        quiet = await self.connect(port)
        await quiet.has(b"Welcome")
        quiet.send(b"/quit\n")
        await quiet.closed()
        await self.ask(f"{url}/log-level", *CHANGE, "-d", '{"level": "debug"}')
        last = await self.connect(port)
        await last.has(b"Welcome")
        last.send(b"/quit\n")
        await last.closed()
        await server.until(lambda: server.log("Connection 3 .*quit"), "the last end")
        self.assertEqual(server.log("Connection 2 "), [])


class TapLiveTests(AdminLiveCase):
    """One member of five hundred is looked at."""

    members = 500
    messages = 40

    async def test_a_broadcast(self) -> None:
        """The viewer sees each message once and in order, and nobody notices."""
        server, port, url = await self.operated("netchat")
        people = [await self.connect(port) for _ in range(self.members)]
        for client in people:
            await client.has(b"Welcome")
        pages = await self.ask(f"{url}/connections?limit=1000")
        watched = people[250]
        number = next(row["id"] for row in pages["connections"] if row["peer"] == watched.address)
        tap: Program = self.spawn(program("curl"), "-sN", f"{url}/connections/{number}/tap")
        await tap.expect(rb'^\{"tap":')
        second = await self.curl(f"{url}/connections/{number}/tap")
        self.assertEqual(second[0], 409)
        texts = [f"message {at}." for at in range(self.messages)]
        for text in texts:
            people[0].send(f"{text}\n".encode())
        for client in people[1:]:
            await client.has(texts[-1].encode())
        await tap.until(lambda: texts[-1].encode() in tap.output, "the last message")
        watched.send(b"/login ann secret\n")
        await tap.until(lambda: b"/login ann ***" in tap.output, "the login")
        self.assertNotIn(b"secret", tap.output)
        lines = [json.loads(line) for line in tap.output.splitlines()]
        heard = [line["text"].partition("> ")[2] for line in lines if line.get("dir") == "out"]
        self.assertEqual([each for each in heard if each.startswith("message")], texts)
        for client in people[1:]:
            said = re.findall(r"> (message \d+\.)", client.received.decode())
            self.assertEqual(said, texts)
        await tap.stop()
        await server.until(
            lambda: server.log(f"looks on at connection {number} no more"), "the end"
        )
        people[0].send(b"afterwards\n")
        await watched.has(b"afterwards")
        await people[251].has(b"afterwards")

    async def test_over_tls(self) -> None:
        """What is shown is decrypted."""
        tls = ("--tls-port", "0", "--self-signed")
        server, _, url = await self.operated("netecho", *tls)
        secure = await server.port("--tls-port 0")
        openssl: Program = self.spawn(
            *(program("openssl"), "s_client", "-connect", f"{LOCALHOST}:{secure}", "-quiet")
        )
        openssl.write(b"hello\n")
        await openssl.expect(b"hello")
        tap: Program = self.spawn(program("curl"), "-sN", f"{url}/connections/1/tap")
        await tap.expect(rb'^\{"tap":')
        openssl.write(b"over TLS\n")
        await openssl.expect(b"over TLS")
        await tap.expect(rb'"dir":"in".*"text":"over TLS\\n"')
        await tap.expect(rb'"dir":"out".*"text":"over TLS\\n"')

    async def test_behind_netidle(self) -> None:
        """Both directions of a forwarded connection, and the password of another protocol."""
        upstream = self.listen()
        _, port, url = await self.operated("netidle", "--upstream", upstream.endpoint)
        client = await self.connect(port)
        client.send(b"PING\r\n")
        behind = await upstream.hears(b"PING")
        shown = (await self.ask(f"{url}/connections"))["connections"][0]["upstream"]
        self.assertEqual(shown["peer"], f"{LOCALHOST}:{upstream.port}")
        self.assertEqual((shown["state"], shown["bytes_sent"], shown["queued"]), ("open", 6, 0))
        who = self.admin(url, "who")
        self.assertEqual(await who.ended(), 0, who)
        self.assertIn(shown["peer"].encode(), who.output)
        tap: Program = self.spawn(program("curl"), "-sN", f"{url}/connections/1/tap")
        await tap.expect(rb'^\{"tap":')
        client.send(b"AUTH secret\r\n")
        await behind.has(b"AUTH secret")
        behind.send(b"+OK\r\n")
        await client.has(b"+OK")
        await tap.expect(rb'"text":"AUTH \*\*\*\\r\\n"')
        await tap.expect(rb'"text":"\+OK\\r\\n"')


class EagerTapLiveTests(TapLiveTests):
    """The same with the reactor whose broadcasts go to the sockets themselves."""

    reactor = "eager"
