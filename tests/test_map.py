"""``python -m twisted_net`` prints what there is."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from tests.test_faces import FACES
from twisted_net.__main__ import MAP

CHECKOUT = Path(__file__).resolve().parent.parent


class MapTests(SynchronousTestCase):
    """The map is true."""

    def test_it_is_printed(self) -> None:
        """The module prints it, at 80 columns, and ends with status 0."""
        done = subprocess.run(
            [sys.executable, "-m", "twisted_net"],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.assertEqual((done.stdout, done.stderr, done.returncode), (MAP, "", 0))
        self.assertLess(max(map(len, MAP.splitlines())), 81)

    def test_it_lists_every_service(self) -> None:
        """Each service of twistd that is ours, and no other."""
        ours = [
            each.tapname
            for each in getPlugins(IServiceMaker)
            if each.module.startswith("twisted_net.")
        ]
        self.assertEqual(sorted(re.findall(r"twistd -n (\w+)", MAP)), sorted(ours))

    def test_it_lists_every_program(self) -> None:
        """Each program that the package installs."""
        setup = ConfigParser()
        setup.read(CHECKOUT / "setup.cfg")
        scripts = setup["options.entry_points"]["console_scripts"].split("\n")
        installed = {line.partition(" =")[0] for line in scripts if line}
        self.assertEqual(set(re.findall(r"^  (netchat-\w+)", MAP, re.MULTILINE)), installed)

    def test_it_lists_every_public_module(self) -> None:
        """Each module to import from, and names that it has."""
        found = re.findall(r"^  (twisted_net\S*) +(.+(?:\n {20,}.+)*)", MAP, re.MULTILINE)
        self.assertEqual([module for module, _ in found], sorted(FACES, key=MAP.index))
        for module, text in found:
            for name in re.findall(
                r"\b(?:[A-Z]\w+[A-Z]\w+|Connection|Broadcast|listen|connect)\b", text
            ):
                self.assertTrue(hasattr(importlib.import_module(module), name), name)

    def test_the_pages_exist(self) -> None:
        """Each file and folder of the guide."""
        named = re.findall(r"^  ((?:docs|examples)/\S*)", MAP, re.MULTILINE)
        self.assertEqual(len(named), 3)
        for path in named:
            self.assertTrue((CHECKOUT / path).exists(), path)
