"""Check which folders import which, from the source alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

CHECKOUT = Path(__file__).resolve().parent.parent

PACKAGE = "twisted_net"
PLUGINS = "twisted/plugins/twisted_net_plugins.py"

FACES = {PACKAGE, f"{PACKAGE}.chat", f"{PACKAGE}.eager"}
"""Packages that only export names of the modules below them, and import nothing themselves."""

LAZY = f"{PACKAGE}.lazy_exports"
"""The module that makes these packages."""

FLOORS = {
    "lazy_exports": 0,
    "wire": 1,
    "policy": 1,
    "interfaces": 1,
    "eager": 2,
    "tls": 3,
    "connection": 4,
    "endpoints": 5,
    "store": 6,
    "echo": 7,
    "idle": 7,
    "forward": 7,
    "chat": 7,
    "web": 8,
    "services": 9,
    "testing": 9,  # for tests: nothing else imports it
}
"""The layer of each folder: a directory of the package, or a file next to them."""

IMPURE = {"twisted", "socket", "time", "random", "os"}
"""Modules that pure code must not import."""

PURE_FOLDERS = {"wire", "policy"}

CHAT_BEYOND_PURITY = {
    f"{PACKAGE}.chat.{name}"
    for name in ("client.client", "channel", "login", "members", "protocol")
}
"""The files of ``chat/`` that are not pure."""

PURE_BESIDES = {
    f"{PACKAGE}.{name}"
    for name in (
        "connection.send_queue",
        "connection.timer_wheel",
        "endpoints.drain",
        "store.log",
    )
}
"""The pure files of other folders."""


class Module:
    """A file of the package, and what it imports.

    :ivar name: its dotted name. An ``__init__`` file has the name of its package.
    :ivar imports: the dotted names of all its imports, wherever they are, and their lines. ``from a
        import b`` counts as ``a`` and ``a.b``.
    """

    def __init__(self, path: Path, root: Path) -> None:
        parts = path.relative_to(root).with_suffix("").parts
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)
        self.tree = ast.parse(path.read_text(), str(path))
        self.imports = dict(self._imports(ast.walk(self.tree)))

    @property
    def room(self) -> str:
        """The directory or file, directly in the package, that contains this module."""
        return [*self.name.split("."), ""][1]

    @property
    def is_pure(self) -> bool:
        """Whether it must not use Twisted, a clock or sockets."""
        if self.room == "chat":
            return self.name not in CHAT_BEYOND_PURITY
        return self.room in PURE_FOLDERS or self.name in PURE_BESIDES

    @property
    def is_face(self) -> bool:
        """Whether it only exports names, which it imports for type checkers alone."""
        return self.name in FACES

    def imports_at_import(self) -> dict[str, int]:
        """Return the imports outside functions, including those in ``if TYPE_CHECKING:``."""
        return dict(self._imports(_outside_functions(self.tree)))

    def real_imports(self) -> dict[str, int]:
        """Return the imports outside ``if TYPE_CHECKING:``."""
        found: list[ast.AST] = []
        for node in self.tree.body:
            is_for_checkers = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            found += [] if is_for_checkers else ast.walk(node)
        return dict(self._imports(iter(found)))

    def _imports(self, nodes: Iterator[ast.AST]) -> Iterator[tuple[str, int]]:
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, node.lineno
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                yield base, node.lineno
                for alias in node.names:
                    yield f"{base}.{alias.name}", node.lineno

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        up = node.level - 1 if self.is_package else node.level
        parts = self.name.split(".")
        base = parts[: len(parts) - up]
        return ".".join([*base, *([node.module] if node.module else [])])


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _outside_functions(child)


def problems(root: Path) -> list[str]:
    """Return the broken rules of the package under ``root``, one sentence each."""
    files = sorted((root / PACKAGE).rglob("*.py"))
    modules = {module.name: module for module in (Module(path, root) for path in files)}
    found = [f"{path.relative_to(root)}: give it a name" for path in files if path.stem == "utils"]
    for module in modules.values():
        found += _problems_of(module, modules)
    found += _cycles(modules)
    plugins = root / PLUGINS
    if plugins.exists():
        for name, line in Module(plugins, root).imports.items():
            if name.split(".")[0] == PACKAGE:
                found.append(f"{PLUGINS}:{line}: imports {name}, to list plugins, nothing is")
    return found


def _problems_of(module: Module, modules: dict[str, Module]) -> Iterator[str]:
    if module.is_face:
        for name, line in module.real_imports().items():
            if name.split(".")[0] != "typing" and not name.startswith(LAZY):
                yield f"{module.name}:{line}: imports {name}; a face imports nothing"
        return
    if module.room not in FLOORS:
        yield f"{module.name}: its room {module.room} has no floor; see FLOORS in this test"
        return
    for name, line in module.imports.items():
        where = f"{module.name}:{line}"
        if module.is_pure and name.split(".")[0] in IMPURE:
            yield f"{where}: imports {name}, but is pure"
        if name in modules and name != PACKAGE:
            room = modules[name].room
            if room != module.room and FLOORS.get(room, 0) >= FLOORS[module.room]:
                yield f"{where}: imports {name}, which is on no floor below"
    for name, line in module.imports_at_import().items():
        if name == "twisted.internet.reactor":
            yield f"{module.name}:{line}: imports the reactor, which installs one"


def _cycles(modules: dict[str, Module]) -> list[str]:
    graph = {
        module.name: {name for name in module.imports if name in modules and name != module.name}
        for module in modules.values()
        if not module.is_face
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return ["modules import each other: " + " <- ".join(error.args[1])]
    return []


class TheHouseTests(SynchronousTestCase):
    """The rules for this package."""

    def test_the_house_stands(self) -> None:
        """Every rule holds."""
        self.assertEqual(problems(CHECKOUT), [])

    def test_it_is_looked_at(self) -> None:
        """The files that the rules name exist."""
        names = {Module(path, CHECKOUT).name for path in (CHECKOUT / PACKAGE).rglob("*.py")}
        self.assertLessEqual({f"{PACKAGE}.chat.session", f"{PACKAGE}.chat.presence"}, names)
        self.assertLessEqual(CHAT_BEYOND_PURITY | PURE_BESIDES, names)
        self.assertTrue((CHECKOUT / PLUGINS).exists())
        for namespace in ("twisted", "twisted/plugins"):
            self.assertFalse((CHECKOUT / namespace / "__init__.py").exists())


class RulesTests(SynchronousTestCase):
    """Packages that break a rule."""

    def found(self, **files: str) -> list[str]:
        """Return the problems of a package with these files; ``__`` in a name means a slash."""
        root = Path(self.mktemp())
        sound = {
            "__init__": '__version__ = "1"\n',
            "wire__framing": "import re\n",
            "policy__limits": "from twisted_net.policy import closing\n",
            "policy__closing": "",
            "connection__connection": "from twisted_net.wire.framing import Lines\nimport socket\n",
            "chat__protocol": "from twisted_net.chat import session\nimport time\n",
            "chat__session": "from twisted_net.policy.close_reasons import QUIT\n",
            "services__chat": "from twisted_net import __version__\n"
            "import twisted_net.chat.protocol\n"
            "def start():\n    from twisted.internet import reactor\n",
        }
        for name, text in (sound | files).items():
            stem = name if name.startswith("__") else name.replace("__", "/", 1)
            path = root / PACKAGE / f"{stem}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return problems(root)

    def assertFound(self, *words: str, **files: str) -> None:
        """Check that the package has exactly one problem, whose text contains these words."""
        found = self.found(**files)
        self.assertEqual(len(found), 1, found)
        for word in words:
            self.assertIn(word, found[0])

    def test_a_sound_house(self) -> None:
        """A package that follows the rules has no problems."""
        self.assertEqual(self.found(), [])

    def test_a_floor_above(self) -> None:
        """Importing from a higher layer, or from another folder of the same layer, is a problem."""
        above = "from twisted_net.services.chat import start\n"
        self.assertFound("connection.group:1", "no floor below", connection__group=above)
        beside = "import twisted_net.chat.protocol\n"
        self.assertFound("twisted_net.echo:1", "no floor below", echo=beside)

    def test_for_the_type_checker_only(self) -> None:
        """Imports for type checkers, in functions, and relative imports count too."""
        for text in (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
            "    from twisted_net.connection import connection\n",
            "def later():\n    from twisted_net.connection import connection\n",
            "from ..connection import connection\n",
            "from ..connection.connection import Connection\n",
        ):
            self.assertFound("wire.text:", "no floor below", wire__text=text)

    def test_purity(self) -> None:
        """``wire``, ``policy`` and the pure files of the chat import no impure module."""
        for name in sorted(IMPURE):
            self.assertFound("pure", name, wire__text=f"import {name}\n")
            self.assertFound("pure", name, policy__pace=f"def f():\n    import {name}.path\n")
            self.assertFound("pure", name, chat__rooms=f"import re, {name}\n")

    def test_cycles(self) -> None:
        """Two files of a folder must not import each other."""
        self.assertFound(
            *("import each other", "policy.pace"),
            policy__pace="from twisted_net.policy.limits import Limits\n",
            policy__closing="from . import pace\n",
        )

    def test_the_reactor(self) -> None:
        """Importing a module must not install a reactor."""
        for text in (
            "from twisted.internet import reactor\n",
            "import twisted.internet.reactor\n",
            "class Service:\n    from twisted.internet import reactor\n",
        ):
            self.assertFound("services.echo:", "the reactor", services__echo=text)

    def test_the_map(self) -> None:
        """The package itself imports nothing."""
        found = self.found(__init__="import re\n")
        self.assertEqual(found, ["twisted_net:1: imports re; a face imports nothing"])

    def test_faces(self) -> None:
        """A face imports its exports for type checkers only."""
        line = "import twisted_net.chat.protocol"
        self.assertFound("twisted_net.chat:1", "a face", chat____init__=f"{line}\n")
        checked = f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {line}\n"
        self.assertEqual(self.found(chat____init__=checked), [])

    def test_the_plugins(self) -> None:
        """Listing the plugins imports nothing from this package."""
        root = Path(self.mktemp())
        path = root / PLUGINS
        path.parent.mkdir(parents=True)
        path.write_text("from twisted_net.services import chat\n")
        self.assertIn("to list plugins, nothing is", problems(root)[0])

    def test_names(self) -> None:
        """Vague names, and folders without a layer, are problems."""
        self.assertFound("give it a name", wire__utils="")
        self.assertFound("cellar", "no floor", cellar__rats="")
