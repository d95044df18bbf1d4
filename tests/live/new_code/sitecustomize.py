"""Breaks the new code of workers: see ``upgrade_program.py``, which puts this on their path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HOW = os.environ.get("UPGRADE_PROGRAM_HOW", "")


def take(path: Path) -> str:
    """Return the file's first line, which is for this worker, and leave the others."""
    first, _, rest = path.read_text().partition("\n") if path.exists() else ("", "", "")
    if first and not first.startswith("supervisor-"):
        path.write_text(rest)
        return first
    if rest:
        path.write_text(rest)
    return ""


if "twisted_net.services.workers.program" in sys.orig_argv and HOW:
    what = take(Path(HOW))
    if what:
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        from upgrade_program import break_worker

        break_worker(what, Path(HOW))
