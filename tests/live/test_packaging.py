"""The package, built and installed: where a new user meets it first."""

from __future__ import annotations

import shutil
import sys
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

from tests.live.harness import LiveTestCase

CHECKOUT = Path(__file__).resolve().parent.parent.parent

PARTS = ("twisted_net", "twisted", "tests", "setup.cfg", "pyproject.toml", "README.rst", "LICENSE")
"""What of the checkout a build needs."""

UNINVOLVED = {"twisted-net", "hypothesis", "mypy", "mypy-zope", "ruff", "trustme", "pip"}
"""Distributions that the package does not need to be installed and run."""

OURS = ("PYTHONWARNINGS",)
"""Variables that are meant for our code, and not for the tools that build it."""


class PackagingTests(LiveTestCase):
    """Builds and installs without a network: with what runs these tests."""

    def checkout(self) -> Path:
        """Give a copy of what is to be built: building leaves files behind."""
        copy = self.directory() / "checkout"
        copy.mkdir()
        for part in PARTS:
            if (CHECKOUT / part).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
                shutil.copytree(CHECKOUT / part, copy / part, ignore=ignored)
            elif (CHECKOUT / part).exists():
                shutil.copy(CHECKOUT / part, copy / part)
        return copy

    async def environment(self) -> Path:
        """Make a virtual environment with everything but this package; give its Python."""
        where = self.directory() / "env"
        made = self.spawn(sys.executable, "-m", "venv", "--without-pip", str(where))
        self.assertEqual(await made.ended(), 0, made)
        (packages,) = where.glob("lib/python*/site-packages")
        for each in distributions():
            if _normal(each) not in UNINVOLVED:
                _copy(each, packages)
        return where / "bin" / "python"

    async def install(self, python: Path, *what: str) -> None:
        """Run ``pip install`` for an environment, without a look at the network."""
        pip = self.spawn(
            *(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"),
            *("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"),
            *what,
            without=OURS,
        )
        self.assertEqual(await pip.ended(), 0, pip)

    async def listed(self, python: Path, program: str) -> str:
        """Give what a program's ``--help`` says, in a directory with nothing in it."""
        run = {
            "twistd": "from twisted.scripts.twistd import run",
            "twist": "from twisted.application.twist._twist import Twist; run = Twist.main",
        }
        code = f"import sys; {run[program]}; sys.argv[0] = {program!r}; run()"
        asked = self.spawn(str(python), "-c", code, "--help")
        self.assertEqual(await asked.ended(), 0, asked)
        return asked.output.decode()

    async def assertListed(self, python: Path) -> None:
        """Check that both programs know the services."""
        for program in ("twistd", "twist"):
            said = await self.listed(python, program)
            for service in ("netecho", "netidle", "netchat"):
                self.assertRegex(said, rf"(?m)^ *{service} ", program)

    async def test_installed(self) -> None:
        """After ``pip install .``, the services are there, and Twisted is what it was."""
        python = await self.environment()
        self.assertNotIn("netecho", await self.listed(python, "twistd"))
        await self.install(python, str(self.checkout()))
        await self.assertListed(python)
        (plugins,) = python.parent.parent.glob("lib/python*/site-packages/twisted/plugins")
        self.assertIn("Twisted", (plugins / "__init__.py").read_text())

    async def test_installed_to_be_edited(self) -> None:
        """After ``pip install -e .``, too, from any directory."""
        python = await self.environment()
        await self.install(python, "--editable", str(self.checkout()))
        await self.assertListed(python)

    async def test_the_wheel(self) -> None:
        """It has the plugin, the type marker and every module, and nothing of Twisted's own."""
        checkout, out = self.checkout(), self.directory()
        code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
        built = self.spawn(sys.executable, "-c", code, str(out), cwd=checkout, without=OURS)
        self.assertEqual(await built.ended(), 0, built)
        (wheel,) = out.glob("twisted_net-*-py3-none-any.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = {name for name in archive.namelist() if ".dist-info/" not in name}
        modules = {
            str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "twisted_net").rglob("*.py")
        }
        self.assertEqual(
            names, modules | {"twisted_net/py.typed", "twisted/plugins/twisted_net_plugins.py"}
        )

    async def test_the_source_distribution(self) -> None:
        """A wheel can be built of it, which has the plugin."""
        checkout, out = self.checkout(), self.directory()
        code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
        built = self.spawn(sys.executable, "-c", code, str(out), cwd=checkout, without=OURS)
        self.assertEqual(await built.ended(), 0, built)
        (archive,) = out.glob("twisted_net-*.tar.gz")
        python = await self.environment()
        await self.install(python, str(archive))
        await self.assertListed(python)


def _normal(distribution: Distribution) -> str:
    return str(distribution.metadata["Name"]).lower().replace("_", "-")


def _copy(distribution: Distribution, packages: Path) -> None:
    """Put a distribution's files into another ``site-packages``, as pip would."""
    for file in distribution.files or ():
        source = Path(str(distribution.locate_file(file)))
        if file.parts[0] == ".." or file.suffix == ".pyc" or not source.exists():
            continue
        target = packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
