"""The package, built and installed as new users do it."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

from tests.live.harness import LiveTestCase, Program

CHECKOUT = Path(__file__).resolve().parent.parent.parent

UNINVOLVED = {
    *("twisted-net", "hypothesis", "mypy", "mypy-zope", "ruff", "trustme", "pip"),
    *("readme-renderer", "docutils", "nh3", "pygments"),
}
"""Distributions that are not needed to install and run the package."""

OURS = ("PYTHONWARNINGS",)
"""Environment variables for our code, and not for the build tools."""


DIST_INFO = r"twisted_net-[^/]+\.dist-info/"
"""The wheel's directory of metadata."""

TRIAL = "import sys; from twisted.scripts.trial import run; sys.argv[0] = 'trial'; run()"
"""trial as pip installs it, but for ``python -P``, which does not search the directory."""

FOREIGN_TEST = """
from twisted.trial.unittest import SynchronousTestCase

class ForeignTests(SynchronousTestCase):
    def test_that_must_fail(self):
        self.assertEqual(1, 2)
"""

FOREIGN_SETUP = """
from setuptools import setup

setup(name="foreign", version="1", packages=["foreign"], package_dir={"": "."})
"""


def checked_out() -> set[str]:
    """Return the paths of the project's files.

    They come from git. Without git, they are the files that ``.gitignore`` does not exclude.
    """
    if (CHECKOUT / ".git").exists() and shutil.which("git"):
        command = ["git", "-c", f"safe.directory={CHECKOUT}", "ls-files", "-z"]
        listed = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True).stdout
        names = {name for name in os.fsdecode(listed).split("\0") if name}
        return {name for name in names if (CHECKOUT / name).exists()}
    ignored = [".git", *(CHECKOUT / ".gitignore").read_text().replace("/\n", "\n").split()]
    paths = (path.relative_to(CHECKOUT) for path in CHECKOUT.rglob("*") if not path.is_dir())
    return {
        str(path)
        for path in paths
        if not any(fnmatch.fnmatch(part, each) for part in path.parts for each in ignored)
        and not any(fnmatch.fnmatch(str(path), each) for each in ignored)
    }


class PackagingCase(LiveTestCase):
    """Builds and installs without a network, with the packages that run these tests."""

    def checkout(self) -> Path:
        """Return a copy of the checkout, because building leaves files behind."""
        copy = self.directory() / "checkout"
        for name in checked_out():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, copy / name, follow_symlinks=False)
        return copy

    async def build(self, what: str) -> Path:
        """Build a ``wheel`` or an ``sdist``, and return the file."""
        checkout, out = self.checkout(), self.directory()
        code = f"import sys; from setuptools import build_meta as b; b.build_{what}(sys.argv[1])"
        built = self.spawn(sys.executable, "-c", code, str(out), cwd=checkout, without=OURS)
        self.assertEqual(await built.ended(), 0, built)
        (made,) = out.iterdir()
        return made

    async def environment(self) -> Path:
        """Make a virtual environment with everything but this package; return its Python."""
        where = self.directory() / "env"
        made = self.spawn(sys.executable, "-m", "venv", "--without-pip", str(where))
        self.assertEqual(await made.ended(), 0, made)
        (packages,) = where.glob("lib/python*/site-packages")
        for each in distributions():
            if _normal(each) not in UNINVOLVED:
                _copy(each, packages)
        return where / "bin" / "python"

    async def install(self, python: Path, *what: str) -> None:
        """Run ``pip install`` in an environment, without the network."""
        pip = self.spawn(
            *(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"),
            *("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"),
            *what,
            without=OURS,
        )
        self.assertEqual(await pip.ended(), 0, pip)

    async def listed(self, python: Path, program: str) -> str:
        """Return a program's ``--help``, run in an empty directory."""
        run = {
            "twistd": "from twisted.scripts.twistd import run",
            "twist": "from twisted.application.twist._twist import Twist; run = Twist.main",
        }
        code = f"import sys; {run[program]}; sys.argv[0] = {program!r}; run()"
        asked = self.spawn(str(python), "-c", code, "--help")
        self.assertEqual(await asked.ended(), 0, asked)
        return asked.output.decode()

    async def assertListed(self, python: Path) -> None:
        """Check that both programs list the services, and that there is ``netchat-passwd``."""
        for program in ("twistd", "twist"):
            said = await self.listed(python, program)
            for service in ("netecho", "netidle", "netchat"):
                self.assertRegex(said, rf"(?m)^ *{service} ", program)
        passwd = self.spawn(str(python.with_name("netchat-passwd")), "--help")
        self.assertEqual(await passwd.ended(), 0, passwd)
        self.assertIn(b"usage: netchat-passwd ", passwd.output)


class InstalledTests(PackagingCase):
    """Normal and editable installations."""

    async def test_installed(self) -> None:
        """After ``pip install .``, the services are available, and Twisted is unchanged."""
        python = await self.environment()
        self.assertNotIn("netecho", await self.listed(python, "twistd"))
        await self.install(python, str(self.checkout()))
        await self.assertListed(python)
        (plugins,) = python.parent.parent.glob("lib/python*/site-packages/twisted/plugins")
        self.assertIn("Twisted", (plugins / "__init__.py").read_text())
        # The package's data too: the schema of the JSON form.
        code = "from importlib import resources as r; f = r.files('twisted_net.chat'); "
        code += "print(f.joinpath('netchat.schema.json').read_text(), end='')"
        read = self.spawn(str(python), "-P", "-c", code)
        self.assertEqual(await read.ended(), 0, read)
        self.assertEqual(read.output.decode(), (CHECKOUT / "docs/netchat.schema.json").read_text())

    async def test_installed_to_be_edited(self) -> None:
        """After ``pip install -e .``, the services are available from any directory."""
        python = await self.environment()
        await self.install(python, "--editable", str(self.checkout()))
        await self.assertListed(python)


class ForeignTests(PackagingCase):
    """Other projects, in an environment with this package."""

    def foreign(self) -> Path:
        """Make a project with a package, and with a failing test in its ``tests``."""
        where = self.directory() / "foreign"
        for package in ("foreign", "tests"):
            (where / package).mkdir(parents=True)
            (where / package / "__init__.py").touch()
        (where / "tests" / "test_foreign.py").write_text(FOREIGN_TEST)
        (where / "setup.py").write_text(FOREIGN_SETUP)
        return where

    def assertItsTestFailed(self, trial: Program) -> None:
        """Check that its only test was run, and failed."""
        said = trial.output.decode()
        self.assertEqual(trial.status, 1, trial)
        self.assertRegex(said, r"(?m)^Ran 1 tests? in ")
        self.assertRegex(said, r"(?m)^FAILED \(failures=1\)$")
        self.assertIn("tests.test_foreign.ForeignTests.test_that_must_fail", said)

    async def test_its_failing_test_fails(self) -> None:
        """``trial tests`` runs the project's own tests and no others, however it is started."""
        python, foreign = await self.environment(), self.foreign()
        await self.install(python, str(self.checkout()))
        tests = (str(python), "-P", "-c", TRIAL, "tests")
        found = self.spawn("env", "PYTHONPATH=.", *tests, cwd=foreign)
        await found.ended()
        self.assertItsTestFailed(found)
        await self.install(python, "--editable", str(foreign))
        installed = self.spawn(*tests, cwd=foreign)
        await installed.ended()
        self.assertItsTestFailed(installed)


class ContentTests(PackagingCase):
    """The content of the wheel and the source distribution."""

    async def test_the_wheel(self) -> None:
        """The wheel has the package, its data and the plugin, and no files of Twisted or the
        tests."""
        with zipfile.ZipFile(await self.build("wheel")) as archive:
            names = {name for name in archive.namelist() if not re.match(DIST_INFO, name)}
        package = {name for name in checked_out() if name.startswith("twisted_net/")}
        self.assertIn("twisted_net/py.typed", package)
        self.assertIn("twisted_net/chat/netchat.schema.json", package)
        self.assertEqual(names, package | {"twisted/plugins/twisted_net_plugins.py"})

    async def unpack(self) -> Path:
        """Build a source distribution, unpack it, and return its directory."""
        where = self.directory()
        with tarfile.open(await self.build("sdist")) as archive:
            archive.extractall(where, filter="data")
        (top,) = where.iterdir()
        return top

    async def test_the_source_distribution(self) -> None:
        """It has all files of the checkout, and otherwise only what setuptools adds."""
        top = await self.unpack()
        found = {str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir()}
        added = {name for name in found if name.startswith("twisted_net.egg-info/")}
        self.assertEqual(checked_out() - found, set())
        self.assertEqual(found - added - checked_out(), {"PKG-INFO"})
        for name in checked_out():
            if name != "setup.cfg":  # setuptools adds a section to it
                self.assertEqual((top / name).read_bytes(), (CHECKOUT / name).read_bytes(), name)

    async def test_its_tests_run(self) -> None:
        """Its tests find all files that they read, and test the unpacked package."""
        top = await self.unpack()
        said = "import twisted_net; print(twisted_net.__file__); "
        tests = ("tests.test_packaging", "tests.test_readme", "tests.test_architecture")
        command = (sys.executable, "-P", "-c", said + TRIAL, *tests)
        trial = self.spawn("env", "PYTHONPATH=.", *command, cwd=top)
        self.assertEqual(await trial.ended(), 0, trial)
        self.assertIn(str(top / "twisted_net/__init__.py"), trial.output.decode())
        self.assertRegex(trial.output.decode(), r"(?m)^Ran [1-9]\d* tests")

    async def test_a_wheel_can_be_built_of_it(self) -> None:
        """The wheel built from it has the plugin."""
        python = await self.environment()
        await self.install(python, str(await self.build("sdist")))
        await self.assertListed(python)


def _normal(distribution: Distribution) -> str:
    return str(distribution.metadata["Name"]).lower().replace("_", "-")


def _copy(distribution: Distribution, packages: Path) -> None:
    """Copy a distribution's files into another ``site-packages``, as pip would."""
    for file in distribution.files or ():
        source = Path(str(distribution.locate_file(file)))
        if file.parts[0] == ".." or file.suffix == ".pyc" or not source.exists():
            continue
        target = packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
