"""Check that everything is packaged; :mod:`tests.live.test_packaging` installs it."""

from __future__ import annotations

import json
import re
import tomllib
from configparser import ConfigParser
from importlib import resources
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import twisted_net

CHECKOUT = Path(__file__).resolve().parent.parent


class PackagingTests(SynchronousTestCase):
    """``setup.cfg`` compared to the files."""

    def setUp(self) -> None:
        self.setup = ConfigParser()
        self.setup.read(CHECKOUT / "setup.cfg")

    def listed(self, section: str, option: str) -> list[str]:
        """Return a list from ``setup.cfg``."""
        lines = [line.strip() for line in self.setup[section][option].splitlines()]
        return [line for line in lines if line]

    def test_every_package_is_listed(self) -> None:
        """Every directory of the package is listed."""
        found = [
            ".".join(path.parent.relative_to(CHECKOUT).parts)
            for path in (CHECKOUT / "twisted_net").rglob("__init__.py")
        ]
        self.assertEqual(
            sorted(self.listed("options", "packages")), sorted([*found, "twisted.plugins"])
        )

    def test_every_directory_with_code_is_a_package(self) -> None:
        """Every directory with code has an ``__init__.py``; otherwise it would be left out."""
        for path in (CHECKOUT / "twisted_net").rglob("*.py"):
            self.assertTrue((path.parent / "__init__.py").exists(), path)

    def test_twisted_stays_twisteds(self) -> None:
        """The plugin folder has no ``__init__.py``, which would overwrite Twisted's."""
        found = [path.relative_to(CHECKOUT) for path in (CHECKOUT / "twisted").rglob("*.py")]
        self.assertEqual(found, [Path("twisted/plugins/twisted_net_plugins.py")])

    def test_the_version_is_written_once(self) -> None:
        """The version is written once, in the package, and read from there."""
        self.assertEqual(self.setup["metadata"]["version"], "attr: twisted_net.__version__")
        self.assertTrue(re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", twisted_net.__version__))
        with (CHECKOUT / "pyproject.toml").open("rb") as file:
            self.assertNotIn("project", tomllib.load(file))

    def test_the_type_marker_is_packaged(self) -> None:
        """The marker for type checkers is packaged (PEP 561)."""
        self.assertTrue((CHECKOUT / "twisted_net/py.typed").exists())
        self.assertIn("py.typed", self.listed("options.package_data", "twisted_net"))

    def test_the_schema_is_packaged(self) -> None:
        """The schema is packaged, and the documented path leads to the same file."""
        self.assertIn(
            "netchat.schema.json", self.listed("options.package_data", "twisted_net.chat")
        )
        self.assertIn("unicode_names.txt", self.listed("options.package_data", "twisted_net.chat"))
        packaged = resources.files("twisted_net.chat").joinpath("netchat.schema.json").read_text()
        self.assertIn("$schema", json.loads(packaged))
        self.assertEqual((CHECKOUT / "docs/netchat.schema.json").read_text(), packaged)

    def test_the_classifiers_say_which_pythons(self) -> None:
        """From the oldest that is allowed on, and those that ``.ci/run`` looks for."""
        prefix = "Programming Language :: Python :: 3."
        listed = [
            int(line.removeprefix(prefix))
            for line in self.listed("metadata", "classifiers")
            if line.startswith(prefix)
        ]
        self.assertEqual(self.setup["options"]["python_requires"], f">=3.{listed[0]}")
        self.assertEqual(listed, list(range(listed[0], listed[-1] + 1)))
        searched = re.search(r"python3\.\{(\d+)\.\.(\d+)\}", (CHECKOUT / ".ci/run").read_text())
        assert searched is not None
        self.assertEqual(int(searched[1]), listed[0])
        self.assertLessEqual(listed[-1], int(searched[2]))

    def test_the_oldest_twisted_is_a_version_that_ci_can_install(self) -> None:
        """``.ci/run`` finds it in ``setup.cfg`` by this form."""
        self.assertTrue(
            any(
                re.fullmatch(r"twisted\[tls\]>=[0-9.]+", line)
                for line in self.listed("options", "install_requires")
            )
        )

    def test_files_that_the_metadata_names_are_there(self) -> None:
        """The licence and the long description exist."""
        self.assertTrue((CHECKOUT / self.setup["metadata"]["license_files"]).exists())
        described = self.setup["metadata"]["long_description"].removeprefix("file:").strip()
        self.assertTrue((CHECKOUT / described).exists())
