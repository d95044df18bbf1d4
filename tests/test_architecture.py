"""Check which folders import which, from the source alone."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

CHECKOUT = Path(__file__).resolve().parent.parent

PACKAGE = "twisted_net"
PLUGINS = "twisted/plugins/twisted_net_plugins.py"

FACES = {PACKAGE, f"{PACKAGE}.chat", f"{PACKAGE}.eager", f"{PACKAGE}.web"}
"""Packages that only export names of the modules below them, and import nothing themselves."""

LAZY = f"{PACKAGE}.lazy_exports"
"""The module that makes these packages."""

LAYERS = {
    "lazy_exports": 0,
    "wire": 1,
    "policy": 1,
    "interfaces": 1,
    "eager": 2,
    "tls": 3,
    "connection": 4,
    "endpoints": 5,
    "store": 6,
    "accounts": 6,
    "upgrade": 6,
    "echo": 7,
    "idle": 7,
    "forward": 7,
    "chat": 7,
    "web": 8,
    "terminal": 8,
    "services": 9,
    "admin": 9,  # a program of its own, which asks a server
    "testing": 9,  # for tests: nothing else imports it
}
"""The layer of each folder: a directory of the package, or a file next to them."""

IMPURE = {"twisted", "socket", "time", "random", "os"}
"""Modules that pure code must not import."""

PURE_FOLDERS = {"wire", "policy"}

CHAT_BEYOND_PURITY = {
    f"{PACKAGE}.chat.{name}"
    for name in (
        *("client.attempts", "client.calls", "client.client", "client.delivery", "channel"),
        *("extension.running", "extension.user", "identity_log", "login", "members", "protocol"),
        *(f"shared.{name}" for name in ("calls", "chat", "cluster", "gathering", "listing")),
        *("shared.name_leases", "shared.orders", "shared.room_leases", "stored_bans"),
    )
}
"""The files of ``chat/`` that are not pure."""

PURE_BESIDES = {
    f"{PACKAGE}.{name}"
    for name in (
        "connection.ages",
        "connection.send_queue",
        "connection.timer_wheel",
        "accounts.hashes",
        "endpoints.drain",
        "store.log",
        *(f"store.redis.{name}" for name in ("errors", "location", "names", "records", "ring")),
        *(f"store.redis.{name}" for name in ("script", "scripts", "seals", "shared_scripts")),
        *(
            f"terminal.{name}"
            for name in (
                *("chat_view", "conversations", "flags", "lines", "server_events"),
                *("status", "typed"),
            )
        ),
    )
}
"""The pure files of other folders."""


PRIVATES = f"{PACKAGE}.eager"
"""Where private names of other packages may be used; ``privates.py`` there lists them."""

DOCUMENTED = {"_exit", "_current_frames", "_replace"}
"""Names with an underscore that are public all the same: ``os._exit``, ``sys._current_frames``, and
``_replace`` of named tuples."""


SAME_EVERYWHERE = {"Options", "makeService", "main", "Result", "Item"}
"""Names that several modules define: twistd calls the first two, ``main`` runs a program, and the
others are type variables."""


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
    def folder(self) -> str:
        """The directory or file, directly in the package, that contains this module."""
        return [*self.name.split("."), ""][1]

    @property
    def is_pure(self) -> bool:
        """Whether it must not use Twisted, a clock or sockets."""
        if self.folder == "chat":
            return self.name not in CHAT_BEYOND_PURITY
        return self.folder in PURE_FOLDERS or self.name in PURE_BESIDES

    @property
    def is_face(self) -> bool:
        """Whether it only exports names, which it imports for type checkers alone."""
        return self.name in FACES

    def imports_at_import(self) -> dict[str, int]:
        """Return the imports outside functions, including those in ``if TYPE_CHECKING:``."""
        return dict(self._imports(_outside_functions(self.tree)))

    def public_definitions(self) -> set[str]:
        """Give the names that the module defines for others."""
        found = set()
        for node in self.tree.body:
            match node:
                case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                    found.add(name)
                case ast.Assign(targets=[ast.Name(id=name)]):
                    found.add(name)
                case ast.AnnAssign(target=ast.Name(id=name)):
                    found.add(name)
                case ast.Assign(targets=[ast.Tuple(elts=elements)]):
                    found.update(each.id for each in elements if isinstance(each, ast.Name))
        return {name for name in found if not name.startswith("_")}

    def real_imports(self) -> dict[str, int]:
        """Return the imports outside ``if TYPE_CHECKING:``."""
        found: list[ast.AST] = []
        for node in self.tree.body:
            is_for_checkers = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            found += [] if is_for_checkers else ast.walk(node)
        return dict(self._imports(iter(found)))

    def private_definitions(self) -> set[str]:
        """Give the private names that are defined here, or set on ``self``."""
        found = set()
        for node in ast.walk(self.tree):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found.add(name)
                case ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                    found.add(name)
                case ast.Attribute(ctx=ast.Store(), attr=name) if _is_own(node.value):
                    found.add(name)
        return set(filter(_is_private, found))

    def private_uses(self) -> Iterator[tuple[str, int, bool]]:
        """Give the private names that are used here, the lines, and whether they are its own:
        those of ``self``, ``cls`` and ``super()``."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Attribute(value=value, attr=name) if _is_private(name):
                    yield name, node.lineno, _is_own(value)
                case ast.Call(
                    func=ast.Name(id="getattr" | "setattr" | "hasattr" | "delattr"),
                    args=[value, ast.Constant(value=str(name)), *_],
                ) if _is_private(name):
                    yield name, node.lineno, _is_own(value)
                case ast.ImportFrom(names=names):
                    for alias in names:
                        if _is_private(alias.name):
                            yield alias.name, node.lineno, False

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


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


def _is_own(value: ast.expr) -> bool:
    match value:
        case ast.Name(id="self" | "cls") | ast.Call(func=ast.Name(id="super")):
            return True
    return False


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _outside_functions(child)


def problems(root: Path) -> list[str]:
    """Return the broken rules of the package under ``root``, one sentence each."""
    files = sorted((root / PACKAGE).rglob("*.py"))
    modules = {module.name: module for module in (Module(path, root) for path in files)}
    found = [
        f"{path.relative_to(root)}: choose a descriptive name"
        for path in files
        if path.stem == "utils"
    ]
    for module in modules.values():
        found += _problems_of(module, modules)
    found += _cycles(modules)
    found += _reaching(modules.values())
    plugins = root / PLUGINS
    if plugins.exists():
        for name, line in Module(plugins, root).imports.items():
            if name.split(".")[0] == PACKAGE:
                found.append(
                    f"{PLUGINS}:{line}: imports {name}; listing plugins must import nothing of ours"
                )
    return found


def _problems_of(module: Module, modules: dict[str, Module]) -> Iterator[str]:
    if module.is_face:
        for name, line in module.real_imports().items():
            if name.split(".")[0] != "typing" and not name.startswith(LAZY):
                yield f"{module.name}:{line}: imports {name}; a face imports nothing"
        return
    if module.folder not in LAYERS:
        yield f"{module.name}: its folder {module.folder} has no layer; see LAYERS in this test"
        return
    for name, line in module.imports.items():
        where = f"{module.name}:{line}"
        if module.is_pure and name.split(".")[0] in IMPURE:
            yield f"{where}: imports {name}, but is pure"
        if name in modules and name != PACKAGE:
            folder = modules[name].folder
            if folder != module.folder and LAYERS.get(folder, 0) >= LAYERS[module.folder]:
                yield f"{where}: imports {name}, which is in no lower layer"
    for name, line in module.imports_at_import().items():
        if name == "twisted.internet.reactor":
            yield f"{module.name}:{line}: imports the reactor, which installs one"


def _crowded(root: Path) -> Iterator[str]:
    """Say which folders have more than a fifth of all lines in one flat list of files."""
    sizes: Counter[Path] = Counter()
    for path in (root / PACKAGE).rglob("*.py"):
        sizes[path.parent] += len(path.read_text().splitlines())
    for folder, size in sizes.items():
        if size * 5 > sizes.total():
            yield f"{folder.relative_to(root)}: {size} of {sizes.total()} lines; divide it"


def _homonyms(modules: Collection[Module]) -> Iterator[str]:
    """Say which public names two modules define: one name is one thing."""
    where: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        for name in module.public_definitions() - SAME_EVERYWHERE:
            where[name].append(module.name)
    for name, names in where.items():
        if len(names) > 1:
            yield f"{name} is defined in {' and in '.join(names)}"


def _reaching(modules: Collection[Module]) -> Iterator[str]:
    """Say which modules use private names of other modules, or of other packages.

    An object is taken for the module's own if the name is defined there. Only ``eager`` uses
    private names of other packages, and what its classes inherit from each other.
    """
    defined = {module.name: module.private_definitions() for module in modules}
    ours = set().union(*defined.values())
    for module in modules:
        may_use_foreign = module.name.startswith(f"{PRIVATES}.")
        for name, line, is_own in module.private_uses():
            where = f"{module.name}:{line}"
            if name in defined[module.name]:
                continue
            if module.name == f"{PRIVATES}.privates":
                continue
            if name not in ours and not may_use_foreign:
                yield f"{where}: uses {name}, a private name of another package"
            elif name in ours and (not is_own or not may_use_foreign):
                yield f"{where}: uses {name}, a private name of another module"


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


class PackageTests(SynchronousTestCase):
    """The rules for this package."""

    def test_every_rule_holds(self) -> None:
        """Every rule holds."""
        self.assertEqual(problems(CHECKOUT), [])

    def test_no_folder_is_crowded(self) -> None:
        """No folder has more than a fifth of the lines in one flat list."""
        self.assertEqual(list(_crowded(CHECKOUT)), [])

    def test_one_name_is_one_thing(self) -> None:
        """No two modules define the same public name."""
        files = [p for p in (CHECKOUT / PACKAGE).rglob("*.py") if p.name != "__init__.py"]
        self.assertEqual(list(_homonyms([Module(path, CHECKOUT) for path in files])), [])

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
            "policy__limits": "from twisted_net.policy import reasons\n",
            "policy__reasons": "",
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

    def test_a_layer_above(self) -> None:
        """Importing from a higher layer, or from another folder of the same layer, is a problem."""
        above = "from twisted_net.services.chat import start\n"
        self.assertFound("connection.more:1", "no lower layer", connection__more=above)
        beside = "import twisted_net.chat.protocol\n"
        self.assertFound("twisted_net.echo:1", "no lower layer", echo=beside)

    def test_for_the_type_checker_only(self) -> None:
        """Imports for type checkers, in functions, and relative imports count too."""
        for text in (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
            "    from twisted_net.connection import connection\n",
            "def later():\n    from twisted_net.connection import connection\n",
            "from ..connection import connection\n",
            "from ..connection.connection import Connection\n",
        ):
            self.assertFound("wire.text:", "no lower layer", wire__text=text)

    def test_purity(self) -> None:
        """``wire``, ``policy`` and the pure files of the chat import no impure module."""
        for name in sorted(IMPURE):
            self.assertFound("pure", name, wire__text=f"import {name}\n")
            self.assertFound("pure", name, policy__pace=f"def f():\n    import {name}.path\n")
            self.assertFound("pure", name, chat__rooms=f"import re, {name}\n")

    def test_private_names_of_other_packages(self) -> None:
        """Only the folder that lists them uses them, not even by name or as inherited."""
        for text in (
            "def f(port):\n    return port._logger\n",
            "def f(port):\n    return getattr(port, '_logger', None)\n",
            "class P(Port):\n    def f(self):\n        return self._logger\n",
            "class P(Port):\n    def f(self):\n        return super()._logger\n",
            "from twisted.internet.posixbase import _NO_FILEDESC\n",
        ):
            self.assertFound("services.chat:", "of another package", services__chat=text)
            self.assertEqual(self.found(eager__ports=text), [])

    def test_private_names_of_other_modules(self) -> None:
        """One module does not reach into another's, and no subclass into what it inherits."""
        defining = "class A:\n    def _f(self):\n        self._x = 1\n"
        for text in (
            "def g(a):\n    a._f()\n",
            "def g(a):\n    a._x = 2\n",
            "def g(a):\n    hasattr(a, '_x')\n",
            "from twisted_net.policy.reasons import _f\n",
            "class B(A):\n    def g(self):\n        self._f()\n",
        ):
            self.assertFound(
                *("policy.pace:", "of another module"), policy__reasons=defining, policy__pace=text
            )
        for text in (
            "class C:\n    def _f(self):\n        other._f()\n",
            "import os\ndef g():\n    os._exit(1)\n",
        ):
            self.assertEqual(self.found(policy__reasons=defining, services__more=text), [])

    def test_a_crowded_folder(self) -> None:
        """Is told with its lines."""
        root = Path(self.mktemp())
        for name, lines in (("a", 30), ("b", 2), ("c", 2)):
            path = root / PACKAGE / name / "x.py"
            path.parent.mkdir(parents=True)
            path.write_text("\n" * lines)
        self.assertEqual(list(_crowded(root)), [f"{PACKAGE}/a: 30 of 34 lines; divide it"])

    def test_homonyms(self) -> None:
        """A name of two modules is told with both."""
        root = Path(self.mktemp())
        modules = []
        for name, text in (
            ("a", "class Rules: ...\n"),
            ("b", "Rules = 1\n_x = 2\n"),
            ("c", "_x = 1\n"),
        ):
            path = root / PACKAGE / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            modules.append(Module(path, root))
        found = list(_homonyms(modules))
        self.assertEqual(found, [f"Rules is defined in {PACKAGE}.a and in {PACKAGE}.b"])

    def test_cycles(self) -> None:
        """Two files of a folder must not import each other."""
        self.assertFound(
            *("import each other", "policy.pace"),
            policy__pace="from twisted_net.policy.limits import Limits\n",
            policy__reasons="from . import pace\n",
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
        self.assertIn("listing plugins must import nothing", problems(root)[0])

    def test_names(self) -> None:
        """Vague names, and folders without a layer, are problems."""
        self.assertFound("choose a descriptive name", wire__utils="")
        self.assertFound("cellar", "no layer", cellar__rats="")
