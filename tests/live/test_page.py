"""The page in a real browser, against a real ``twistd netchat``."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

from twisted.web import resource, server

from tests.live.browser import PHONE, WIDE, BrowserTestCase, Tab, axe_source
from tests.live.harness import LOCALHOST, Client, Server

ALL_SENT = "document.querySelector('.pending') === null"
OFFLINE = "document.querySelector('.conn.open') === null"
FOCUSED = "document.activeElement.id || document.activeElement.tagName"
NEWEST = "#pages .page:last-child"
COUNT = "document.querySelectorAll('#pages .m').length"
# Scrolls to the upper end and says what is seen first and where; then, where that is now.
WATCH_PLACE = """
const after = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
const all = () => [...document.querySelectorAll('#pages .m')];
const textOf = (each) => each.querySelector('p').textContent;
const placeOfElement = (each) => each.getBoundingClientRect().top;
window.scrollUp = async () => {
  const log = document.getElementById('log');
  log.scrollTop = 0;
  const top = log.getBoundingClientRect().top;
  const seen = all().find((each) => each.getBoundingClientRect().bottom > top + 1);
  return [textOf(seen), placeOfElement(seen)];
};
window.placeOf = async (text) => {
  await after();
  return placeOfElement(all().find((each) => textOf(each) === text));
};
null
"""
# Measures what the page does before a frame, and the layout that this makes necessary.
MEASURE_FRAMES = """
window.times = [];
const frame = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (action) => frame((time) => {
  const begin = performance.now();
  action(time);
  document.getElementById('log').scrollHeight;
  window.times.push(performance.now() - begin);
});
null
"""
# The most rows that stood at a time for messages that are not sent.
COUNT_UNSENT = """
window.most = 0;
const unsent = document.getElementById('unsent');
new MutationObserver(() => (window.most = Math.max(window.most, unsent.children.length)))
  .observe(unsent, { childList: true });
null
"""
READ_OUT = """
window.read = [];
const announcer = document.getElementById('announcer');
new MutationObserver(() => window.read.push(announcer.textContent))
  .observe(announcer, { childList: true });
null
"""
AXE = """
axe.run().then(({ violations }) => violations.map(({ id, nodes }) =>
  [id, nodes.map((node) => [node.html.slice(0, 200), node.failureSummary])]))
"""
LONG_TOPIC = "see https://example.org/" + " for what is planned" * 10
# How many lines of the topic can be read, and what its button says.
TOPIC = """
(() => {
  const topic = document.getElementById('topic');
  const { height, width, left, right } = topic.getBoundingClientRect();
  const isSeen = width > 100 && left >= 0 && right <= innerWidth;
  const lines = isSeen ? height / parseFloat(getComputedStyle(topic).lineHeight) : 0;
  const more = document.getElementById('topic-more');
  return [Math.round(lines), more.getAttribute('aria-expanded')];
})()
"""
AT_END = """
document.getElementById('jump').hidden &&
  log.scrollHeight - log.scrollTop - log.clientHeight < 2
"""
# The message box grows.
GROW = "text.value = 'x\\n'.repeat(7); text.rows = 8; null"
# A phone is turned: the browser keeps in place what it finds best, and may tell so at any time.
TURN = """
document.getElementById('app').style.setProperty('width', '700px');
document.getElementById('app').style.setProperty('height', '300px');
log.scrollTop;
log.dispatchEvent(new Event('scroll'));
"""
HEIGHT = "document.getElementById('log').scrollHeight"


class JsonProgram(Client):
    """A program in the chat, over plain TCP."""

    def request(self, **message: Any) -> None:
        """Send a request."""
        self.send(json.dumps(message).encode() + b"\n")

    def say(self, *texts: str, room: str = "lobby") -> None:
        """Send messages."""
        for text in texts:
            self.request(type="message", room=room, text=text)

    def messages(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of a type that it has received."""
        lines = [line for line in self.received.split(b"\n") if line.startswith(b"{")]
        found = [json.loads(line) for line in lines if line.endswith(b"}")]
        return [each for each in found if each["type"] == kind]


class PageTestCase(BrowserTestCase):
    """Starts a chat and opens pages of it."""

    async def chat(self, *flags: str, again: bool = False) -> Server:
        """Start a chat on a local port; ``self.port`` and ``self.url`` say where.

        ``self.url`` is an endpoint for browsers alone, since on a busy machine a request may come
        so late that the chat's own port takes its sender for a person with a terminal.

        :param again: whether to use the same ports as before.
        """
        port, web = (self.port, self.web) if again else (0, 0)
        where = f"tcp:{web}:interface={LOCALHOST}"
        server = self.twistd(
            *("netchat", "--port", str(port), "--interface", LOCALHOST, "--web", where), *flags
        )
        self.port = await server.port(f"--port {port}")
        self.web = await server.port(f"--web {where}")
        self.url = f"http://localhost:{self.web}/"
        return server

    async def program(self, nick: str, room: str = "lobby", **more: str) -> JsonProgram:
        """Connect a program and join a room."""
        client: JsonProgram = await self.connect(self.port, JsonProgram)
        client.request(type="hello", nick=nick, room=room, **more)
        await client.has(b'"type":"joined"')
        return client

    async def person(self, nick: str, *rooms: str, **how: Any) -> Tab:
        """Open a page, and take a name; join further rooms."""
        tab = await self.open(self.url, **how)
        await tab.say(f"/nick {nick}")
        await tab.shows(nick, "#my-name")
        for room in rooms:
            await tab.say(f"/join {room}")
            await tab.shows(room, "#title")
        return tab

    async def fill(self, program: JsonProgram, count: int, room: str = "lobby") -> None:
        """Have a program say ``m1``, ``m2`` and so on, and wait until it is stored."""
        for first in range(1, count + 1, 50):
            last = min(first + 49, count)
            program.say(*(f"m{number}" for number in range(first, last + 1)), room=room)
            await program.until(
                lambda last=last: f'"offset":{last}}}'.encode() in program.received, f"ack {last}"
            )


class TogetherTests(PageTestCase):
    async def test_browsers_nc_and_a_program_in_one_room(self) -> None:
        """Two browsers, ``nc`` and a program talk to each other, on one port."""
        await self.chat()
        self.url = f"http://localhost:{self.port}/"
        ann, bea = await self.person("ann"), await self.person("bea")
        program = await self.program("prog")
        nc = self.nc(self.port)
        await nc.expect(rb"Welcome to the chat server!")
        await ann.shows("prog", "#member-list")
        await ann.say("hello from a browser")
        for tab in (ann, bea):
            await tab.shows("hello from a browser")
        await nc.expect(rb"<ann> hello from a browser")
        await program.has(b'"text":"hello from a browser"')
        nc.write(b"hello from nc\n")
        program.say("hello from a program")
        for tab in (ann, bea):
            await tab.shows("hello from nc")
            await tab.shows("hello from a program")
        self.assertEqual(await ann.texts(".pending, .failed"), [])

    async def test_over_tls(self) -> None:
        """The page and its WebSocket work on the TLS port, together with everybody else."""
        server = await self.chat("--tls-port", "0", "--self-signed")
        port = await server.port("--tls-port 0")
        ann = await self.open(f"https://localhost:{port}/", ignore_https_errors=True)
        program = await self.program("bea")
        await ann.say("hello over TLS")
        await program.has(b'"text":"hello over TLS"')
        program.say("hello in plain")
        await ann.shows("hello in plain")

    async def test_private_conversations(self) -> None:
        """They go both ways, are counted while they are not seen, and survive a reload."""
        await self.chat()
        ann = await self.person("ann")
        program = await self.program("bea")
        program.request(type="private", to="ann", text="psst")
        await ann.shows("1", "#talk-list .mention")
        await ann.do(lambda tab: tab.click("#talk-list a"))
        await ann.shows("psst")
        await ann.say("what?")
        await program.has(b'"text":"what?"')
        await ann.waits(ALL_SENT)
        self.assertEqual(await ann.texts("#talk-list .badge"), [])
        await ann.reload()
        for text in ("psst", "what?"):
            await ann.shows(text)
        await ann.shows("bea", "#title")

    async def test_topics_names_and_members(self) -> None:
        """A topic, a new name, and who comes and goes are shown."""
        await self.chat()
        ann = await self.person("ann")
        program = await self.program("bea")
        await ann.shows("bea", "#member-list")
        await ann.say("/topic see https://example.org/")
        await ann.shows("see https://example.org/", "#topic")
        await program.has(b'"topic":"see https://example.org/"')
        program.request(type="nick", nick="zoe")
        await ann.shows("zoe", "#member-list")
        await ann.shows("bea is zoe now", ".fold")
        program.request(type="quit")
        await ann.waits("!document.getElementById('member-list').textContent.includes('zoe')")
        await ann.shows("left", ".fold")

    async def test_a_topic_that_does_not_fit(self) -> None:
        """One line of it is shown on phones and wide windows, and all of it on demand."""
        await self.chat()
        program = await self.program("bea")
        program.request(type="topic", room="lobby", topic=LONG_TOPIC)
        for size in (PHONE, WIDE):
            tab = await self.open(self.url, size=size)
            await tab.shows(LONG_TOPIC, "#topic")
            await tab.waits("!document.getElementById('topic-more').hidden")
            self.assertEqual(await tab.evaluate(TOPIC), [1, "false"])
            await tab.do(lambda page: page.focus("#topic-more"))
            await tab.press("Enter")
            lines, is_expanded = await tab.evaluate(TOPIC)
            self.assertEqual((lines > 1, is_expanded), (True, "true"))
            await tab.do(lambda page: page.click("#topic", position={"x": 3, "y": 3}))
            self.assertEqual(await tab.evaluate(TOPIC), [1, "false"])
            await tab.evaluate("document.getElementById('topic-more').click()")
            self.assertEqual((await tab.evaluate(TOPIC))[1], "true")
            await tab.say("/join ops")
            await tab.shows("ops", "#title")
            await tab.waits("document.getElementById('topic-more').hidden")
            await tab.press("Alt+ArrowUp")
            await tab.shows(LONG_TOPIC, "#topic")
            self.assertEqual(await tab.evaluate(TOPIC), [1, "false"])

    async def test_an_account(self) -> None:
        """With accounts, the page offers a login; a wrong password is told."""
        users = self.directory() / "users"
        users.write_text("ann:secret\n")
        await self.chat("--auth", f"file:{users}", "--allow-anonymous", "--allow-plain-login")
        tab = await self.open(self.url)
        await tab.do(lambda page: page.click("#log-in"))
        for password in ("wrong", "secret"):
            await tab.do(lambda page, password=password: (
                page.fill("#login-user", "ann"), page.fill("#login-password", password),
                page.press("#login-password", "Enter"),
            ))  # fmt: skip
            if password == "wrong":
                await tab.shows("The login failed.", "#login-why")
        await tab.shows("logged in as ann", "#my-account")
        self.assertEqual(await tab.texts("#my-name"), ["ann"])

    async def test_accounts_alone(self) -> None:
        """A server that lets nobody in without an account asks for it at once."""
        users = self.directory() / "users"
        users.write_text("ann:secret\n")
        await self.chat("--auth", f"file:{users}", "--allow-plain-login")
        tab = await self.open(self.url, is_connected=False)
        await tab.shows("This server requires a login.", "#login-dialog[open]")
        self.assertEqual(await tab.evaluate("document.querySelector('#login-why.bad')"), None)
        await tab.press("Escape")
        await tab.shows("Not logged in", "#conn")
        await tab.shows("not logged in", "#my-account")
        await tab.waits("document.getElementById('who').hidden")
        await tab.do(lambda page: page.click("#banner-action"))
        await tab.do(lambda page: (
            page.fill("#login-user", "ann"), page.fill("#login-password", "secret"),
            page.press("#login-password", "Enter"),
        ))  # fmt: skip
        await tab.connected()
        await tab.shows("logged in as ann", "#my-account")
        await tab.shows("Nothing has been said")

    async def test_no_password_in_plain(self) -> None:
        """Where passwords are taken over TLS only, the page says so and asks for none."""
        users = self.directory() / "users"
        users.write_text("ann:secret\n")
        for flags in ((), ("--allow-anonymous",)):
            await self.chat("--auth", f"file:{users}", *flags)
            tab = await self.open(self.url, is_connected=bool(flags))
            if not flags:
                await tab.shows("Passwords are taken over TLS only", "#banner:not([hidden])")
                await tab.shows("Not logged in", "#conn")
                await tab.shows("not logged in", "#my-account")
            else:
                await tab.shows("guest (login over TLS only)", "#my-account")
            await tab.say("/login")
            await tab.shows("Passwords are taken over TLS only", "#log" if flags else "#banner")
            self.assertFalse(await tab.evaluate("document.getElementById('login-dialog').open"))
            self.assertTrue(await tab.evaluate("document.getElementById('log-in').hidden"))

    async def test_the_time_for_a_login_ends(self) -> None:
        """It is no failed login; the way to log in is still there."""
        users = self.directory() / "users"
        users.write_text("ann:secret\n")
        flags = ("--auth", f"file:{users}", "--allow-plain-login", "--login-timeout", "1")
        await self.chat(*flags)
        tab = await self.open(self.url, is_connected=False)
        await tab.shows("You are not logged in.", "#banner:not([hidden])")
        await tab.evaluate("void (window.old = document.getElementById('banner-text').firstChild)")
        await tab.waits("window.old !== document.getElementById('banner-text').firstChild")
        await tab.shows("You are not logged in.", "#banner:not([hidden])")
        await tab.do(lambda page: (
            page.fill("#login-user", "ann"), page.fill("#login-password", "secret"),
            page.press("#login-password", "Enter"),
        ))  # fmt: skip
        await tab.shows("logged in as ann", "#my-account")


class ComposerTests(PageTestCase):
    async def test_rooms_of_commands(self) -> None:
        """Tab completes a room that somebody else has begun; Enter joins what was typed."""
        await self.chat()
        await self.program("bea", "kitchen")
        ann = await self.person("ann")
        await ann.do(lambda tab: tab.focus("#text"))
        await ann.type("/join ki")
        await ann.waits("text.value === '/join ki'")
        await ann.press("Control+k")  # its list of rooms comes after the one for the completion
        await ann.shows("kitchen", "#rooms-found")
        await ann.press("Escape", "Tab")
        self.assertEqual(await ann.evaluate("text.value"), "/join #kitchen ")
        await ann.press("Enter")
        await ann.shows("kitchen", "#title")
        await ann.type("/join ki", "Enter")
        await ann.waits("document.getElementById('title').textContent === '#ki'")

    async def test_enter_after_a_name(self) -> None:
        """A name that is typed to its end needs no second Enter, and Tab adds the space."""
        await self.chat()
        program = await self.program("bob")
        await self.program("bobby")
        ann = await self.person("ann")
        await ann.shows("bobby", "#member-list")
        await ann.do(lambda tab: tab.focus("#text"))
        await ann.type("thanks @bob", "Enter")
        await program.has(b"thanks @bob")
        await ann.type("@bobby", "Tab")
        self.assertEqual(await ann.evaluate("text.value"), "@bobby ")
        await ann.type("hi @bobb", "Enter")
        self.assertEqual(await ann.evaluate("text.value"), "@bobby hi @bobby ")


class LoadingTests(PageTestCase):
    async def test_a_file_that_did_not_come(self) -> None:
        """The page is loaded again, until all of its files are there."""
        await self.chat()
        ann = await self.person("ann")
        for name in ("page.css", "main.js", "chat.js"):
            await self.load_without(ann, name)
            await ann.shows("ann", "#my-name")
            await ann.waits("getComputedStyle(document.body).margin === '0px'")
        self.assertEqual(ann.errors, ["Failed to load resource: net::ERR_FAILED"] * 6)
        ann.errors.clear()
        self.assertEqual(await ann.evaluate("sessionStorage.getItem('netchat.loads')"), None)

    async def load_without(self, ann: Tab, name: str) -> None:
        """Load the page while a file does not come, twice."""
        requests: list[str] = []
        await ann.do(lambda tab: tab.route(f"**/{name}", failing_twice(requests)))
        await ann.do(lambda tab: tab.reload())
        await ann.until(lambda: len(requests) == 3)
        await ann.connected()

    async def test_a_file_that_never_comes(self) -> None:
        """It is not tried for ever."""
        await self.chat()
        ann = await self.person("ann")
        await ann.do(lambda tab: tab.route("**/chat.js", lambda route: route.abort()))
        await ann.do(lambda tab: tab.reload())
        await ann.until(lambda: len(ann.errors) == 6)
        self.assertEqual(await ann.evaluate("sessionStorage.getItem('netchat.loads')"), "6")
        ann.errors.clear()


def failing_twice(requests: list[str]) -> Callable[[Any], None]:
    """Return a handler that lets the first two requests fail, and lists all of them."""

    def handle(route: Any) -> None:
        requests.append(route.request.url)
        if len(requests) <= 2:
            route.abort()
        else:
            route.continue_()

    return handle


class ForeignTests(PageTestCase):
    """A page of somebody else's, in the browser of somebody who may use the chat."""

    async def test_a_foreign_page_is_refused(self) -> None:
        """Neither its WebSocket nor its forms reach a room."""
        await self.chat()
        self.url = f"http://localhost:{self.port}/"
        program = await self.program("bea")
        foreign = await self.open(
            f"{self.serve(ForeignPage())}?action={self.url}", is_connected=False
        )
        closed = await foreign.evaluate(
            """(url) => new Promise((done) => {
              const socket = new WebSocket(url, 'netchat.v1');
              socket.onopen = () => done('open');
              socket.onclose = (event) => done(event.code);
            })""",
            self.url.replace("http", "ws") + "ws",
        )
        self.assertEqual(closed, 1006)
        body = '{"type":"hello","nick":"eve","room":"lobby"}\n/join lobby\nspam\n'
        await foreign.evaluate(
            """([url, body]) => fetch(url, { method: 'POST', mode: 'no-cors', body })
              .then((answer) => answer.type, () => 'failed')""",
            [self.url, body],
        )
        await foreign.do(lambda tab: (tab.fill("textarea", body), tab.click("button")))
        await foreign.do(lambda tab: tab.wait_for_url(self.url))
        refused = [error for error in foreign.errors if "405 (Method Not Allowed)" in error]
        self.assertEqual((len(refused), refused), (2, foreign.errors))
        foreign.errors.clear()
        program.request(type="who", room="lobby")
        await program.has(b'"type":"who"')
        self.assertEqual(program.messages("who")[0]["members"], ["bea"])
        self.assertEqual(program.messages("message") + program.messages("presence"), [])

    async def test_no_page_shows_the_chat_in_a_frame(self) -> None:
        """A page that lays the chat under its own buttons gets nothing."""
        await self.chat()
        foreign = await self.open(self.serve(ForeignPage()), is_connected=False)
        await foreign.evaluate(
            """(url) => new Promise((done) => {
              const frame = document.createElement('iframe');
              frame.onload = done;
              frame.src = url;
              document.body.append(frame);
            })""",
            self.url,
        )
        inner = await foreign.do(lambda tab: tab.frames[1].content())
        self.assertNotIn("netchat", inner)
        self.assertTrue(foreign.errors.pop().startswith("Framing"))

    def serve(self, page: resource.Resource) -> str:
        """Serve a page in this process, and return its URL."""
        from twisted.internet import reactor

        listening: Any = reactor.listenTCP(0, server.Site(page), interface=LOCALHOST)  # type: ignore[attr-defined]
        self.addCleanup(listening.stopListening)
        return f"http://{LOCALHOST}:{listening.getHost().port}/"


class ForeignPage(resource.Resource):
    """A page with a form that leads to where ``action`` says."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        action = request.args.get(b"action", [b""])[0]
        return (
            b"""<!doctype html><title>foreign</title>
<form method=post enctype=text/plain action="%s"><textarea name=x></textarea><button>Go</button>
</form>"""
            % action
        )


class RestartTests(PageTestCase):
    async def test_nothing_is_missed(self) -> None:
        """The server restarts: the page comes back by itself, and has everything once."""
        store = f"sqlite:{self.directory() / 'chat.db'}"
        server = await self.chat("--store", store)
        ann, bea = await self.person("ann"), await self.person("bea")
        await ann.say("before")
        await bea.shows("before")
        await server.stop()
        await ann.waits(OFFLINE)
        await ann.say("written while it was away")
        await ann.shows("written while it was away", ".pending")
        await self.chat("--store", store, again=True)
        program = await self.program("prog")
        program.say("said before you came back")
        for tab in (ann, bea):
            await tab.connected()
            await tab.shows("said before you came back")
            await tab.shows("written while it was away")
        await ann.shows("You missed nothing:", "#banner")
        await ann.waits(ALL_SENT)
        for tab in (ann, bea):
            texts = [text for text in await tab.texts("#pages .m p") if text]
            self.assertEqual(len(texts), len(set(texts)), texts)
            self.assertEqual(texts[0], "before")

    async def test_a_stalled_connection(self) -> None:
        """A server that does not answer is shown before the connection is given up."""
        server = await self.chat()
        ann = await self.person("ann", size=PHONE)
        for trouble in ("dispatchEvent(new Event('offline'))", "null"):
            server.signal(signal.SIGSTOP)
            await ann.say(f"kept, {trouble}")
            await ann.evaluate(trouble)
            await ann.shows("No answer…", "#conn")
            await ann.shows("The server does not answer.", "#banner:not([hidden])")
            server.signal(signal.SIGCONT)
            await ann.connected()
            await ann.waits("document.getElementById('banner').hidden")
            await ann.waits(ALL_SENT)

    async def test_killed_again_and_again(self) -> None:
        """Whatever is written while the server is killed is in the room once, in one order."""
        store = f"sqlite:{self.directory() / 'chat.db'}"
        server = await self.chat("--store", store)
        ann, bea = await self.person("ann"), await self.person("bea")
        for round in range(4):
            for number in range(5):
                for tab, nick in ((ann, "ann"), (bea, "bea")):
                    await tab.say(f"{nick} {round}.{number}")
                if number == 2:  # what was sent last may be stored, and its ack lost
                    server.signal(signal.SIGKILL)
                    await server.ended()
            server = await self.chat("--store", store, again=True)
            for tab in (ann, bea):
                await tab.connected()
        for tab in (ann, bea):
            await tab.waits(ALL_SENT)
        program = await self.program("prog")
        program.request(type="history", room="lobby", limit=100)
        await program.has(b'"type":"history"')
        await program.until(lambda: program.messages("history"), "the history")
        (page,) = program.messages("history")
        stored = [each["text"] for each in page["messages"]]
        written = [
            f"{nick} {round}.{number}"
            for nick in ("ann", "bea")
            for round in range(4)
            for number in range(5)
        ]
        self.assertEqual(sorted(stored), sorted(written))
        for nick in ("ann", "bea"):
            own = [text for text in stored if text.startswith(nick)]
            self.assertEqual(own, sorted(own))
        for tab in (ann, bea):
            await tab.shows(stored[-1], "#pages")
            self.assertEqual(await tab.texts("#pages .m p"), stored)
            self.assertEqual(await tab.texts(".failed"), [])

    async def test_a_duplicated_tab(self) -> None:
        """It has the same rooms, and a name of its own; the first tab goes on."""
        await self.chat()
        ann = await self.person("ann", "ops")
        await ann.say("before")
        await ann.waits(ALL_SENT)
        # The copy gets what the tab has saved, and that is a moment behind what it shows.
        await ann.waits("Object.values(sessionStorage).some((each) => each.includes('ops'))")
        copy = await self.duplicate(ann)
        await copy.connected()
        await copy.shows("ann-2", "#my-name")
        await copy.shows("before", "#pages")
        await copy.say("from the copy")
        await ann.shows("from the copy", "#pages")
        await ann.say("from the first")
        await copy.shows("from the first", "#pages")
        self.assertEqual(await ann.texts("#my-name"), ["ann"])

    async def test_a_reload_loses_nothing(self) -> None:
        """A message that was sent right before a reload is in the room once."""
        await self.chat()
        ann = await self.person("ann")
        texts = [f"message {number}" for number in range(8)]
        for text in texts:
            await ann.say(text)
            await ann.reload()
        await ann.shows(texts[-1], "#pages")
        await ann.waits(ALL_SENT)
        self.assertEqual(await ann.texts("#pages .m p"), texts)
        self.assertEqual(await ann.texts("#my-name"), ["ann"])
        self.assertEqual(await ann.texts("#member-list .name"), ["ann"])

    async def test_what_is_lost_is_said(self) -> None:
        """A restart without a lasting store: the banner says so, and so does the place."""
        server = await self.chat()
        ann = await self.person("ann")
        await ann.say("before")
        await ann.waits(ALL_SENT)
        await server.stop()
        await self.chat(again=True)
        await ann.shows("Messages were lost here:", "#banner")
        await ann.shows("Messages were lost here", ".lost")
        await ann.say("after")
        await ann.waits(ALL_SENT)
        order = await ann.texts("#pages .m p, #pages .lost")
        self.assertEqual(order, ["before", "Messages were lost here", "after"])

    async def test_a_message_that_is_refused(self) -> None:
        """It stays, with the reason; Edit takes it back, Discard throws it away."""
        await self.chat("--max-message", "300")
        ann = await self.person("ann")
        for _ in range(2):
            await ann.say("x" * 400)
        await ann.shows("Not sent: longer than 300 bytes.", ".failed")
        await ann.do(lambda tab: tab.click(".failed >> text=Discard >> nth=0"))
        await ann.do(lambda tab: tab.click(".failed >> text=Edit"))
        self.assertEqual(await ann.evaluate("document.getElementById('text').value"), "x" * 400)
        await ann.waits("document.querySelector('.failed') === null")

    async def test_where_the_focus_goes(self) -> None:
        """A button that takes itself away hands the focus on, by itself or with its message."""
        server = await self.chat("--max-message", "300")
        ann = await self.person("ann")
        for _ in range(3):
            await ann.say("x" * 400)
        await ann.waits("document.querySelectorAll('.failed').length === 3")
        await ann.do(lambda tab: tab.focus(".failed >> text=Discard >> nth=1"))
        await ann.press("Enter")
        await ann.waits("document.querySelectorAll('.failed').length === 2")
        second = "document.querySelectorAll('.failed')[1].contains(document.activeElement)"
        self.assertTrue(await ann.evaluate(second))
        self.assertEqual(await ann.evaluate("document.activeElement.textContent"), "Discard")
        for left in (1, 0):
            await ann.do(lambda tab: tab.focus(".failed >> text=Discard >> nth=-1"))
            await ann.press("Enter")
            await ann.waits(f"document.querySelectorAll('.failed').length === {left}")
            self.assertEqual(await ann.evaluate(FOCUSED), "text")
        await server.stop()
        await ann.waits("!document.getElementById('banner-action').hidden")
        await ann.do(lambda tab: tab.focus("#banner-action"))
        await self.chat("--max-message", "300", again=True)
        await ann.press("Enter")
        await ann.connected()
        await ann.waits("document.getElementById('banner-action').checkVisibility() === false")
        self.assertEqual(await ann.evaluate(FOCUSED), "text")
        await ann.waits("document.getElementById('banner').checkVisibility()")
        await ann.do(lambda tab: tab.focus("#banner-close"))
        await ann.press("Enter")
        self.assertEqual(await ann.evaluate(FOCUSED), "text")

    async def test_the_focus_of_a_member_who_leaves(self) -> None:
        """It goes to the next one, then to the message box; that of the others stays."""
        await self.chat()
        ann = await self.person("ann")
        people = [await self.program(nick) for nick in ("bea", "cas", "dan")]
        await ann.shows("dan", "#member-list")
        await ann.do(lambda tab: tab.focus("#member-list [data-key=cas]"))
        for person, nick in zip(people, ("cas", "dan", "text"), strict=True):
            person.request(type="quit")
            await ann.waits("(nick) => nick === (document.activeElement.dataset.key ??"
                            " document.activeElement.id)", nick)  # fmt: skip

    async def test_an_operators_kick_is_final(self) -> None:
        """Who is kicked does not come back by itself, and is told why."""
        users = self.directory() / "users"
        users.write_text("boss:secret\n")
        await self.chat("--auth", f"file:{users}", "--allow-anonymous", "--allow-plain-login",
                        "--operator", "boss")  # fmt: skip
        ann = await self.person("ann")
        boss = await self.program("boss", user="boss", password="secret")
        boss.request(type="kick", nick="ann")
        await ann.shows("Not connected", "#conn")
        await ann.shows("An operator closed the connection.", "#banner")
        await ann.do(lambda tab: tab.click("#banner-action"))
        await ann.connected()


class TextTests(PageTestCase):
    async def test_markup_stays_text(self) -> None:
        """Markup and script as messages, topics and private messages are shown as they are."""
        await self.chat()
        ann = await self.person("ann")
        program = await self.program("eve")
        hostile = [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "`<svg onload=alert(1)>`",
            "```<iframe src=javascript:alert(1)>```",
            "https://x.example/\"onmouseover='alert(1)'",
            "javascript:alert(1) <a href=javascript:alert(1)>x</a>",
            "&lt;b&gt; {{constructor}} ${alert(1)}",
        ]
        program.say(*hostile)
        program.request(type="topic", room="lobby", topic=hostile[0])
        program.request(type="private", to="ann", text=hostile[1])
        await ann.shows(hostile[-1])
        await ann.shows(hostile[0], "#topic")
        shown = [text.strip("`") for text in await ann.texts("#pages .m p")]
        self.assertEqual([text.replace("`", "") for text in hostile], shown)
        await ann.do(lambda tab: tab.click("#talk-list a"))
        await ann.shows(hostile[1])
        foreign = "#app img, #app script, #app svg, #app iframe, #app [onerror], #app [onload]"
        self.assertEqual(await ann.evaluate(f"document.querySelectorAll('{foreign}').length"), 0)
        links = await ann.evaluate("[...document.querySelectorAll('#log a')].map((a) => a.href)")
        self.assertEqual([link for link in links if not link.startswith("https://")], [])

    async def test_code_and_links(self) -> None:
        """Code, fenced code over several lines, and links are formatted."""
        await self.chat()
        ann = await self.person("ann")
        await ann.do(lambda tab: tab.focus("#text"))
        await ann.type("```", "Shift+Enter")
        await ann.type("if x:", "Shift+Enter")
        await ann.type("    `y`", "Shift+Enter")
        await ann.type("```", "Enter")
        await ann.say("see `z`, https://example.org/a.")
        await ann.waits(ALL_SENT)
        await ann.shows("if x:\n    `y`", "pre code")
        self.assertEqual(await ann.texts("p code"), ["z"])
        link = await ann.do(lambda tab: tab.get_attribute("#pages a", "href"))
        self.assertEqual(link, "https://example.org/a")
        await ann.reload()
        await ann.shows("if x:\n    `y`", "pre code")

    async def test_mentions_and_unread(self) -> None:
        """They are counted in other rooms, in the title too; the line survives a reload."""
        await self.chat()
        ann = await self.person("ann", "ops", "lobby")
        program = await self.program("bea", "ops")
        program.say("one", "hi ann", "three", room="ops")
        await ann.waits("document.title.startsWith('(1) #lobby')")
        await ann.shows(", mentioned, 1 time", "#room-list .badge.mention")
        await ann.shows(", mentioned, 1 time", "#burger-badge")
        self.assertEqual(await ann.texts(".badge.mention"), [", mentioned, 1 time"] * 2)
        for _ in range(2):
            await ann.reload()
            await ann.shows("1", "#room-list .badge.mention")
        await ann.press("Alt+ArrowDown")
        await ann.shows("three")
        above = "document.querySelector('.new').nextElementSibling.textContent.includes('one')"
        self.assertTrue(await ann.evaluate(above))
        self.assertEqual(await ann.texts(".hit p"), ["hi ann"])
        self.assertEqual(await ann.texts("#room-list .badge"), [])
        await ann.reload()
        await ann.shows("three")
        self.assertTrue(await ann.evaluate(above))

    async def test_mentions_of_a_new_name(self) -> None:
        """What is shown is drawn again, and stays in place where the reader has scrolled up."""
        await self.chat()
        ann = await self.open(self.url)
        program = await self.program("bea")
        program.say("is ann here?")
        await ann.shows("is ann here?")
        self.assertEqual(await ann.texts(".hit p"), [])
        await ann.say("/nick ann")
        await ann.shows("is ann here?", ".hit p")
        program.say("hi @ann")
        await ann.shows("hi @ann", ".hit p")
        await self.fill(program, 60)
        await ann.shows("m60")
        await ann.evaluate(WATCH_PLACE)
        text, place = await ann.evaluate("scrollUp()")
        await ann.say("/nick m7")
        await ann.shows("m7", ".hit p")
        self.assertEqual(await ann.texts(".hit p"), ["m7"])
        now = await ann.evaluate("(text) => placeOf(text)", text)
        self.assertLess(abs(now - place), 2)

    async def test_notifications(self) -> None:
        """A mention in another room makes one, once they are switched on."""
        await self.chat()
        ann = await self.person("ann", "ops", permissions=["notifications"])
        await ann.evaluate(
            "window.told = []; const { permission } = Notification; window.Notification = class {"
            " static permission = permission; static requestPermission = async () => permission;"
            " constructor(title, { body }) { window.told.push([title, body]); } }; null"
        )
        program = await self.program("bea")
        program.say("ann, not yet")
        await ann.shows("1", "#room-list .mention")
        await ann.do(lambda tab: tab.click("#notify"))
        program.say("nothing for you", "ann, look")
        await ann.waits("window.told.length > 0")
        self.assertEqual(await ann.evaluate("window.told"), [["bea in #lobby", "ann, look"]])


class KeyboardTests(PageTestCase):
    async def test_everything_by_keys(self) -> None:
        """Rooms, messages, completion, the list of members: without a mouse."""
        await self.chat()
        program = await self.program("dominic")
        tab = await self.open(self.url)
        await tab.shows("dominic", "#member-list")
        await tab.press("Tab", "Enter")  # the link to the message box
        await tab.type("hi @do", "Tab")
        await tab.type("there", "Enter")
        await program.has(b'"text":"hi @dominic there"')
        await tab.press("Control+k")
        await tab.type("ops", "Enter")
        await tab.shows("ops", "#title")
        await tab.type("in ops", "Enter")
        await tab.shows("in ops", "#pages")
        await tab.press("Alt+ArrowUp")
        await tab.shows("lobby", "#title")
        await tab.press("Alt+ArrowDown")
        await tab.shows("ops", "#title")
        await tab.press("Control+k")
        await tab.type("@dom", "Enter")
        await tab.shows("dominic", "#title")
        await tab.type("psst", "Enter")
        await program.has(b'"text":"psst"')
        await tab.press("Alt+ArrowUp", "Alt+ArrowUp")
        await tab.shows("lobby", "#title")
        for _ in range(30):
            await tab.press("Tab")
            if await tab.evaluate("document.activeElement.closest('#member-list') !== null"):
                break
        await tab.press("Enter")
        await tab.shows("dominic", "#title")
        await tab.type("/nick ann", "Enter")
        await tab.shows("ann", "#my-name")
        await tab.type("/help", "Enter")
        await tab.shows("Keys and commands", "dialog[open]")
        await tab.press("Escape")
        self.assertEqual(await tab.texts("dialog[open]"), [])

    async def test_drafts(self) -> None:
        """Each conversation keeps what was being written, also when a command leads elsewhere."""
        await self.chat()
        ann = await self.person("ann", "ops")
        await ann.do(lambda tab: tab.fill("#text", "a draft"))
        await ann.press("Alt+ArrowUp")
        await ann.shows("lobby", "#title")
        draft = "document.getElementById('text').value"
        self.assertEqual(await ann.evaluate(draft), "")
        await ann.say("/join ops")
        await ann.shows("ops", "#title")
        self.assertEqual(await ann.evaluate(draft), "a draft")
        await ann.reload()
        self.assertEqual(await ann.evaluate(draft), "a draft")
        await ann.press("Alt+ArrowUp")
        await ann.shows("lobby", "#title")
        self.assertEqual(await ann.evaluate(draft), "")

    async def test_tab_leaves_the_box(self) -> None:
        """Every control is reached by Tab, and the message box does not hold the focus."""
        await self.chat()
        await self.program("bea")
        tab = await self.person("ann")
        await tab.shows("bea", "#member-list")
        await tab.evaluate("document.activeElement.blur()")
        found = []
        for _ in range(30):
            await tab.press("Tab")
            found.append(await tab.evaluate(FOCUSED))
        for name in ("skip", "find-room", "rename", "help", "who", "log", "text"):
            self.assertIn(name, found)
        self.assertGreater(found.count("BODY") + found.count("skip"), 1, found)

    async def test_what_was_not_sent_is_edited(self) -> None:
        """↑ in the empty box takes back what has not been sent."""
        server = await self.chat("--store", f"sqlite:{self.directory() / 'chat.db'}")
        ann = await self.person("ann")
        await server.stop()
        await ann.waits(OFFLINE)
        await ann.do(lambda tab: tab.focus("#text"))
        await ann.type("a tpyo", "Enter", "ArrowUp")
        self.assertEqual(await ann.evaluate("document.getElementById('text').value"), "a tpyo")
        self.assertEqual(await ann.texts(".pending"), [])

    async def test_escape_goes_to_the_newest(self) -> None:
        """Escape goes to the end; until then, what comes is counted on a button."""
        await self.chat()
        ann = await self.person("ann")
        program = await self.program("bea")
        await self.fill(program, 120)
        await ann.shows("m120")
        await ann.evaluate("document.getElementById('log').scrollTop = 900; null")
        await ann.waits("!document.getElementById('jump').hidden")
        program.say("new1", "new2")
        await ann.shows("↓ 2 new messages", "#jump")
        await ann.press("Escape")
        await ann.waits("document.getElementById('jump').hidden")
        await ann.waits(f"{HEIGHT} - log.scrollTop - log.clientHeight < 2")


class AccessibilityTests(PageTestCase):
    async def test_axe_finds_nothing(self) -> None:
        """axe-core has no finding: light and dark, wide and narrow, with each panel and dialog."""
        source = axe_source()
        await self.chat()
        program = await self.program("bea")
        program.request(type="topic", room="lobby", topic=LONG_TOPIC)
        program.say("hello", "`code` https://example.org/", "```", "long " * 60, "```", "hi ann")
        for scheme in ("light", "dark"):
            for size in (WIDE, PHONE):
                ann = await self.person("ann", size=size, scheme=scheme, bypass_csp=True)
                program.request(type="private", to="ann", text="psst")
                program.say("hi ann", "/me waves")
                await ann.shows("1", "#talk-list .mention")
                await ann.say("x" * 9000)
                await ann.evaluate(source)
                await self.check_with_axe(ann, f"{scheme}, {size['width']} px")
                await ann.do(lambda tab: tab.context.close())

    async def check_with_axe(self, ann: Tab, what: str) -> None:
        """Check the conversation, and each panel and dialog."""
        for id, more in (
            ("", ""),
            ("find-room", ""),
            ("help", ""),
            ("rename", ""),
            ("topic-more", ""),
            ("burger", ""),
            ("who", ""),
            ("text", "@b"),
        ):
            if id:
                await ann.press("Escape")
                await ann.evaluate(f"document.getElementById('{id}').click()")
            if more:
                await ann.do(lambda tab: (tab.fill("#text", ""), tab.type("#text", "@b")))
                await ann.shows("@bea", "#complete")
            self.assertEqual(await ann.evaluate(AXE), [], f"{id or 'the conversation'}, {what}")

    async def test_what_is_read_out(self) -> None:
        """New messages are read out one by one; history is not."""
        await self.chat()
        program = await self.program("bea")
        program.say("of the past")
        ann = await self.person("ann")
        await ann.shows("of the past")
        await ann.evaluate(READ_OUT)
        program.say("now", "and now")
        await ann.waits("window.read.length >= 2")
        self.assertEqual(await ann.evaluate("window.read"), ["bea: now", "bea: and now"])


class LongTests(PageTestCase):
    """A room with many messages."""

    async def test_history_comes_in_pages_without_a_jump(self) -> None:
        """Scrolling up brings what came before, and what is seen stays where it is."""
        await self.chat()
        program = await self.program("bea")
        await self.fill(program, 400)
        ann = await self.person("ann")
        await ann.shows("m400")
        self.assertLess(await ann.evaluate(COUNT), 200)
        await ann.evaluate(WATCH_PLACE)
        for _ in range(40):
            if await ann.evaluate("document.querySelector('.began') !== null"):
                break
            count = await ann.evaluate(COUNT)
            text, place = await ann.evaluate("scrollUp()")
            is_longer = f"(count) => {COUNT} > count || document.querySelector('.began')"
            await ann.waits(is_longer, count)
            self.assertLess(abs(await ann.evaluate("placeOf", text) - place), 3, text)
        texts = await ann.texts("#pages .m p")
        self.assertEqual(texts, [f"m{number}" for number in range(1, 401)])

    async def test_the_end_stays_in_sight(self) -> None:
        """A window, a keyboard or a message box of another size moves nobody from the newest."""
        await self.chat()
        program = await self.program("bea")
        program.say(*(f"m{number} " + "word " * (number * 7 % 60) for number in range(80)))
        for size in (WIDE, PHONE):
            ann = await self.open(self.url, size=size)
            await ann.shows("m79")
            await ann.waits(AT_END)
            for width, height in ((700, 760), (1180, 400), (390, 300), (390, 780)):
                what = {"width": width, "height": height}
                await ann.do(lambda tab, what=what: tab.set_viewport_size(what))
                await ann.waits(f"innerWidth === {width} && innerHeight === {height}")
                await ann.waits(AT_END)
            await ann.evaluate(GROW)
            await ann.waits(AT_END)
            await ann.evaluate(TURN)
            for _ in range(3):
                await ann.waits("true")
            self.assertTrue(await ann.evaluate(AT_END))
            # Who scrolls by himself is not held back.
            await ann.evaluate("log.scrollTop -= 200; null")
            await ann.waits("!document.getElementById('jump').hidden")

    async def test_a_paste_of_many_lines(self) -> None:
        """Few of them are drawn while they wait, and all come in order, as fast as is allowed."""
        await self.chat("--rate", "500", "--burst", "20")
        program = await self.program("bea")
        ann = await self.open(self.url)
        await ann.evaluate(COUNT_UNSENT)
        lines = [f"line {number}" for number in range(1, 1501)]
        begin = time.monotonic()
        await ann.say("\n".join(lines))
        await ann.shows(" more messages to be sent", "#unsent")
        await ann.waits(ALL_SENT)
        self.assertGreater(time.monotonic() - begin, 2)
        await ann.shows("line 1500", NEWEST)
        self.assertLess(await ann.evaluate("window.most"), 60)
        await program.until(lambda: len(program.messages("message")) == 1500, "all messages")
        self.assertEqual([each["text"] for each in program.messages("message")], lines)
        self.assertEqual(await ann.texts("#unsent *"), [])

    async def test_code_that_begins_before_what_is_shown(self) -> None:
        """It is code, and what follows is not; as soon as more is known, pages below are right."""
        await self.chat()
        program = await self.program("bea")
        before = [f"t{number}" for number in range(1, 46)]
        code = [f"k{number}" for number in range(1, 61)]
        program.say("```", *code, "```", *before[:30], room="lobby")
        await program.until(lambda: len(program.messages("ack")) == 92, "all acks")
        ann = await self.person("ann")
        await ann.shows("t30")
        shown = "document.querySelector('#pages pre').textContent"
        self.assertTrue((await ann.evaluate(shown)).endswith("k59\nk60"))
        self.assertEqual((await ann.texts("#pages .m p"))[-30:], before[:30])
        program.request(type="join", room="ops", id="join ops")
        await program.has(b'"room":"ops"')
        program.say(*before, "```", *code, room="ops")  # its end is not written yet
        await program.until(lambda: len(program.messages("ack")) == 198, "all acks")
        await ann.say("/join ops")
        await ann.shows("k60")
        for _ in range(40):
            if await ann.evaluate("document.querySelector('.began') !== null"):
                break
            await ann.evaluate("log.scrollTop = 0; null")
            await ann.waits("true")
        self.assertEqual(await ann.texts("#pages .m p"), before)
        self.assertEqual("\n".join(await ann.texts("#pages pre")).split(), code)

    async def test_ten_thousand_messages(self) -> None:
        """A new message is shown within a frame, and a reload shows the newest within a second."""
        await self.chat()
        ann = await self.person("ann")
        program = await self.program("bea")
        for first in range(0, 10_000, 50):
            program.say(*(f"m{number}" for number in range(first + 1, first + 51)))
            await ann.shows(f"m{first + 50}", NEWEST)
        self.assertGreater(await ann.evaluate(COUNT), 9_000)
        await ann.evaluate(MEASURE_FRAMES)
        for number in range(100):
            program.say(f"late {number}")
            await ann.shows(f"late {number}", NEWEST)
        times = sorted(await ann.evaluate("window.times"))
        median = times[len(times) // 2]
        self.assertGreaterEqual(len(times), 100)
        begin = time.monotonic()
        await ann.do(lambda tab: tab.reload(wait_until="commit"))
        await ann.shows("late 99", NEWEST)
        seconds = time.monotonic() - begin
        print(f"append and layout: {median:.1f} ms; reload: {seconds:.2f} s")
        self.assertLess(median, 16)
        self.assertLess(seconds, 1)
