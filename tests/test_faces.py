"""The public modules of the package."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import types
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import twisted_net
from twisted_net import ConnectionFactory, EchoFactory, IdleTimeoutFactory, TwistedNetError
from twisted_net.chat import ChatClient, ChatError, ChatFactory, StoreError

CHECKOUT = Path(__file__).resolve().parent.parent

FACES = (
    *("twisted_net", "twisted_net.chat", "twisted_net.eager", "twisted_net.web"),
    "twisted_net.testing",
)

WANTED = {
    "twisted_net": "Connection ConnectionFactory connect ReconnectingClient ListenerService "
    "Broadcast EncodedBroadcast WebSocketConnection WebSocketFactory TrustedProxies "
    "GuardFactory IdleTimeoutFactory ForwardFactory EchoFactory Limits OverflowPolicy "
    "CloseReason Backoff Certificates TLSServerEndpoint Raw Lines Netstrings LengthPrefixed "
    "JsonLines JsonStream TwistedNetError UpgradableService UpgradeFailed",
    "twisted_net.chat": "ChatFactory ChatClient ChatLimits ChatError ChatUser",
    "twisted_net.eager": "eager install",
    "twisted_net.web": "AdminFactory ChatGateway WebEndpoint page_site",
}
"""The names that users may rely on; there may be more."""


def run(program: str) -> str:
    """Run a Python program in its own process, and return its output."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


class FacesTests(SynchronousTestCase):
    """The modules that README, docs and examples import from."""

    def test_what_is_promised_is_there(self) -> None:
        """Each promised name can be imported."""
        for face, names in WANTED.items():
            module = importlib.import_module(face)
            self.assertLessEqual(set(names.split()), set(module.__all__))

    def test_all_names_exist(self) -> None:
        """Each name in ``__all__`` exists and is in ``dir()``."""
        for face in FACES:
            module = importlib.import_module(face)
            self.assertEqual(len(module.__all__), len(set(module.__all__)))
            for name in module.__all__:
                self.assertFalse(isinstance(getattr(module, name), types.ModuleType), name)
                self.assertIn(name, dir(module))

    def test_type_checkers_see_the_same(self) -> None:
        """Type checkers see the same names as exist at run time."""
        for face in FACES[:-1]:
            module = importlib.import_module(face)
            assert module.__file__ is not None
            tree = ast.parse(Path(module.__file__).read_text())
            (block,) = (node for node in tree.body if isinstance(node, ast.If))
            seen = {}
            for node in block.body:
                assert isinstance(node, ast.ImportFrom)
                assert node.module is not None
                for alias in node.names:
                    source = importlib.import_module(node.module)
                    seen[alias.asname] = getattr(source, alias.name)
            real = {name: getattr(module, name) for name in module.__all__}
            real.pop("TwistedNetError", None)  # defined there
            self.assertEqual(seen, real)

    def test_an_unknown_name(self) -> None:
        """An unknown name raises AttributeError, as for modules."""
        with self.assertRaisesRegex(AttributeError, "'twisted_net' has no attribute 'Conection'"):
            getattr(twisted_net, "Conection")  # noqa: B009

    def test_importing_loads_nothing(self) -> None:
        """Importing a face loads no Twisted, and using all of one installs no reactor."""
        for face in FACES[:-1]:
            loaded = run(
                f"import sys, {face}\n"
                "print(*(name for name in sys.modules if name.split('.')[0] == 'twisted'))"
            )
            self.assertEqual(loaded, "")
        for face in FACES:
            installed = run(
                f"import sys\nfrom {face} import *\n"
                "print('twisted.internet.reactor' in sys.modules)"
            )
            self.assertEqual(installed, "False")

    def test_errors_have_one_base(self) -> None:
        """``except TwistedNetError`` catches every error that is raised for users."""
        for name in twisted_net.__all__:
            value = getattr(twisted_net, name)
            if isinstance(value, type) and issubclass(value, Exception):
                self.assertTrue(issubclass(value, TwistedNetError), name)
        for error in (ChatError, StoreError):
            self.assertTrue(issubclass(error, TwistedNetError))

    def test_pages_use_faces_alone(self) -> None:
        """README, docs and examples import only from public modules."""
        pages = [CHECKOUT / "README.rst", *(CHECKOUT / "docs").rglob("*.rst")]
        pages += [*(CHECKOUT / "examples").rglob("*.py"), *(CHECKOUT / "examples").glob("*.tac")]
        imports = 0
        for page in pages:
            for line in page.read_text().splitlines():
                words = line.split()
                if words[:1] == ["from"] and words[1].split(".")[0] == "twisted_net":
                    imports += 1
                    self.assertIn(words[1], FACES, f"{page.name}: {line}")
        self.assertGreater(imports, 10)


class KeywordTests(SynchronousTestCase):
    """Misspelt keyword arguments."""

    def assertMeant(self, meant: str, call: object, *args: object, **keywords: object) -> None:
        """Check that a call raises a TypeError that contains the right name."""
        assert callable(call)
        with self.assertRaises(TypeError) as caught:
            call(*args, **keywords)
        self.assertIn(f"did you mean {meant!r}?", str(caught.exception))

    def test_the_nearest_word(self) -> None:
        """The error suggests the most similar keyword, even if the class passes it on."""
        self.assertMeant("idle_timeout", ConnectionFactory, idle_timout=60)
        self.assertMeant("idle_timeout", ConnectionFactory.forProtocol, object, idle_timout=60)
        self.assertMeant("log_ends", EchoFactory, log_end=True)
        self.assertMeant("operators", ChatFactory, oprators=["ann"])
        self.assertMeant("max_message", ChatFactory, max_mesage=1)
        self.assertMeant("upstream", twisted_net.ForwardFactory, None, upsteam=None)
        self.assertMeant("rate", twisted_net.GuardFactory, None, rat=1)

    def test_clients(self) -> None:
        """The same holds for clients."""
        self.assertMeant("timeout", twisted_net.connect, None, "tcp:a:1", object, timout=3)
        self.assertMeant(
            "backoff", twisted_net.ReconnectingClient, None, "tcp:a:1", object, backof=3
        )
        self.assertMeant("on_message", ChatClient, None, "tcp:a:1", onmessage=print)

    def test_nothing_is_near(self) -> None:
        """If no keyword is similar, the error lists all."""
        with self.assertRaisesRegex(
            TypeError, "'xyzzy'; the keywords are admission, .*stall_timeout"
        ):
            ConnectionFactory(xyzzy=1)  # type: ignore[call-arg]

    def test_others_say_it_themselves(self) -> None:
        """In other classes, Python's own error contains the keyword."""
        with self.assertRaisesRegex(TypeError, "'second'"):
            IdleTimeoutFactory(second=60)  # type: ignore[call-arg]
