"""Reads a Dockerfile, for the tests of the one in ``docs/deployment``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

DEPLOYMENT = Path(__file__).resolve().parent.parent / "docs/deployment"


class Instruction(NamedTuple):
    """An instruction, such as ``USER 1000``, with its continued lines joined.

    :ivar stage: the number of the stage, from 0.
    """

    stage: int
    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The words of the exec form.

        :raises ValueError: it has the shell form.
        """
        found: list[str] = json.loads(self.text[self.text.index("[") :])
        return found


def parse_dockerfile(text: str) -> list[Instruction]:
    """Return the instructions in order."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found: list[Instruction] = []
    stage = -1
    for line in filter(None, joined.splitlines()):
        name, _, rest = line.partition(" ")
        stage += name == "FROM"
        found.append(Instruction(stage, name, rest.strip()))
    return found


def instructions(name: str) -> list[str]:
    """Return the texts of the last stage's instructions with a name, in our Dockerfile."""
    return [each.text for each in last_stage() if each.name == name]


def last_stage() -> list[Instruction]:
    """Return the instructions of our Dockerfile's last stage, which becomes the image."""
    parsed = parse_dockerfile((DEPLOYMENT / "Dockerfile").read_text())
    return [each for each in parsed if each.stage == parsed[-1].stage]


def container_command() -> list[str]:
    """Return the command that the container runs."""
    words = {each.name: each.words for each in last_stage() if each.name in ("ENTRYPOINT", "CMD")}
    return words["ENTRYPOINT"] + words["CMD"]


def health_check() -> list[str]:
    """Return the command of the health check."""
    (check,) = (each for each in last_stage() if each.name == "HEALTHCHECK")
    return check.words


def build_context() -> list[str]:
    """Return the names that ``.dockerignore`` lets into the build."""
    lines = (DEPLOYMENT / "Dockerfile.dockerignore").read_text().splitlines()
    return [line[1:] for line in lines if line.startswith("!")]
