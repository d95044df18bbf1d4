"""A real browser for the live tests: Debian's Chromium, driven by Playwright.

Playwright's calls block, and all of them have to come from one thread. So each runs in a thread of
its own, and the test waits without blocking the reactor::

    page = await self.open(url)
    await page.do(lambda tab: tab.fill("#text", "hello"))
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SkipTest

from tests.live.harness import PATIENCE, LiveTestCase, program

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

WIDE = {"width": 1180, "height": 760}
PHONE = {"width": 390, "height": 780}

Result = TypeVar("Result")

# Breaches of the page's policy are errors of a test, and so are exceptions of its modules.
_WATCH = """
addEventListener('securitypolicyviolation', (event) => {
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
});
"""


# What the browser reports too, and the page handles: a refused connection; and, on a busy machine,
# a request that came so late that the chat's port greeted a person with a terminal. A browser asks
# for an icon by itself after a document that names none, as an error's does, at any later time.
_LATE = "net::ERR_INVALID_HTTP_RESPONSE"
_HANDLED = ("WebSocket connection to", _LATE)
_ICON = "/favicon.ico"


class Tab:
    """A tab with a page.

    :ivar errors: what the page has reported: exceptions, and breaches of its policy.
    """

    def __init__(self, tab: Any, run: Callable[..., Deferred[Any]]) -> None:
        self.tab = tab
        self._call = run
        self.errors: list[str] = []
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.on("console", self._logged)
        tab.on("dialog", lambda dialog: self.errors.append(f"dialog: {dialog.message}"))

    def _logged(self, message: Any) -> None:
        handled = any(each in message.text for each in _HANDLED)
        handled = handled or message.location.get("url", "").endswith(_ICON)
        if message.type == "error" and not handled:
            self.errors.append(message.text)

    async def do(self, action: Callable[[Any], Result]) -> Result:
        """Call ``action`` with Playwright's page, in the thread of the browser."""
        result: Result = await self._call(action, self.tab)
        return result

    async def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        await self.do(lambda tab: [tab.keyboard.press(each) for each in keys])

    async def type(self, text: str, *keys: str) -> None:
        """Type a text, and then press keys."""
        await self.do(lambda tab: tab.keyboard.type(text))
        await self.press(*keys)

    async def say(self, text: str) -> None:
        """Send a message, or a command, from the message box."""
        await self.do(lambda tab: (tab.fill("#text", text), tab.press("#text", "Enter")))

    async def shows(self, text: str, selector: str = "#log") -> None:
        """Wait until an element contains a text."""
        await self.waits(
            "([selector, text]) => [...document.querySelectorAll(selector)]"
            ".some((each) => each.textContent.includes(text))",
            [selector, text],
        )

    async def waits(self, condition: str, argument: Any = None) -> None:
        """Wait until a function of JavaScript, or an expression, is true."""
        # Playwright's own wait would need eval(), which the page's policy forbids.
        is_function = re.match(r"\([^()]*\) =>", condition)
        function = condition if is_function else f"() => ({condition})"
        what = json.dumps(f"{condition} {argument}")
        await self.evaluate(
            f"""async (argument) => {{
                const isTrue = {function};
                const end = performance.now() + {PATIENCE * 1000};
                do {{
                  if (performance.now() > end) {{
                    const seen = document.body.innerText.slice(-500);
                    throw new Error('waited for ' + {what} + '; there is ' + seen);
                  }}
                  await new Promise(requestAnimationFrame); // what is due is drawn first
                  await new Promise((done) => setTimeout(done));
                }} while (!isTrue(argument));
            }}""",
            argument,
        )

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is true of what the browser has told."""
        end = time.monotonic() + PATIENCE
        while not true():
            if time.monotonic() > end:
                raise AssertionError(f"waited {PATIENCE:g} s; the page told {self.errors}")
            await self.do(lambda tab: tab.wait_for_timeout(20))  # which takes its events, too

    async def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements of a selector, once what is due is drawn."""
        await self.waits("true")
        return await self.do(lambda tab: list(tab.locator(selector).all_text_contents()))

    async def evaluate(self, expression: str, argument: Any = None) -> Any:
        """Return the value of a JavaScript expression."""
        return await self.do(lambda tab: tab.evaluate(expression, argument))

    async def reload(self) -> None:
        """Load the page again, and wait until it is connected."""
        await self.do(lambda tab: tab.reload())
        await self.connected()

    async def connected(self) -> None:
        """Wait until all files of the page have come, and it is connected.

        A page loads itself again if one has not come, which is as good as any.
        """
        end = time.monotonic() + PATIENCE
        while not await self.do(_is_whole):
            if time.monotonic() > end:
                raise AssertionError(f"not connected after {PATIENCE:g} s: {self.errors}")


class BrowserTestCase(LiveTestCase):
    """A test with a browser, which is closed with it. A page that has reported an error fails."""

    timeout = 180

    def setUp(self) -> None:
        self.tabs: list[Tab] = []
        self._browser: Any = None
        self._pool: ThreadPool | None = None

    async def browser(self) -> Any:
        """Start the browser, unless it runs, and return it."""
        if self._browser is None:
            chromium = program("chromium")
            try:
                from playwright.sync_api import sync_playwright
            except ImportError:
                raise SkipTest("playwright is not installed") from None
            self._pool = ThreadPool(1, 1)
            self._pool.start()
            self.addCleanup(self._pool.stop)
            self._playwright = await self._call(sync_playwright().start)
            self.addCleanup(self._call, self._playwright.stop)
            launch = functools.partial(
                self._playwright.chromium.launch, executable_path=chromium, args=FLAGS
            )
            self._browser = await self._call(launch)
            self.addCleanup(self._call, self._browser.close)
            self.addCleanup(self._check_errors)
        return self._browser

    def _call(self, action: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        from twisted.internet import reactor

        assert self._pool is not None
        return deferToThreadPool(reactor, self._pool, action, *arguments)  # type: ignore[arg-type]

    async def open(
        self,
        url: str,
        size: dict[str, int] = WIDE,
        scheme: str = "light",
        is_connected: bool = True,
        **how: Any,
    ) -> Tab:
        """Open a page in a profile of its own, and wait until it is connected.

        :param is_connected: whether to wait.
        :param how: settings of Playwright's ``new_context``.
        """
        browser = await self.browser()
        tab = await self._call(self._new_tab, browser, size, scheme, how)
        self.tabs.append(tab)
        await tab.do(lambda page: _load(page, url))
        if is_connected:
            await tab.connected()
        return tab

    def _new_tab(self, browser: Any, size: Any, scheme: str, how: Any) -> Tab:
        context = browser.new_context(viewport=size, color_scheme=scheme, **how)
        context.add_init_script(_WATCH)
        context.set_default_timeout(PATIENCE * 1000)
        return Tab(context.new_page(), self._call)

    async def duplicate(self, tab: Tab) -> Tab:
        """Open the same page in a new tab, with a copy of what the first keeps for itself."""

        def open_copy(page: Any) -> Tab:
            with page.context.expect_page() as opened:
                page.evaluate("void open(location.href)")
            return Tab(opened.value, self._call)

        copy = await tab.do(open_copy)
        self.tabs.append(copy)
        return copy

    def _check_errors(self) -> None:
        for tab in self.tabs:
            self.assertEqual(tab.errors, [])


def _is_whole(page: Any) -> bool:
    page.wait_for_selector(".conn.open", state="attached", timeout=PATIENCE * 1000)
    try:
        whole: bool = page.evaluate(
            "document.readyState === 'complete' && sessionStorage.getItem('netchat.loads') === null"
        )
    except Exception as error:  # Playwright's own, which may not be installed
        if "Execution context was destroyed" not in str(error):
            raise
        return False  # it is just being loaded again
    if not whole:
        page.wait_for_timeout(20)
    return whole


def _load(page: Any, url: str) -> None:
    """Load a page, as a person does: again, if there is none."""
    for left in range(5, -1, -1):
        try:
            page.goto(url)
            return
        except Exception as error:  # Playwright's own, which may not be installed
            if _LATE not in str(error) or not left:
                raise


def axe_source() -> str:
    """Return the program of axe-core, which finds what people with disabilities cannot use.

    :raises SkipTest: neither does the variable ``AXE_CORE`` name it, nor is it installed with
        ``npm install --global axe-core``.
    """
    named = os.environ.get("AXE_CORE")
    if named is None:
        command = [program("npm"), "root", "--global"]
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        named = f"{found.stdout.strip()}/axe-core/axe.min.js"
    if not Path(named).exists():
        raise SkipTest(f"axe-core is not installed: there is no {named}")
    return Path(named).read_text()
