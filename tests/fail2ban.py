"""What fail2ban makes of a line of the log, by the filter in ``docs/``."""

from __future__ import annotations

import re
from pathlib import Path

FILTER = Path(__file__).parents[1] / "docs" / "fail2ban-twisted-net.conf"

# As <ADDR> in fail2ban's server/failregex.py.
_ADDRESS = (
    r"\[?(?:(?:(?:::f{4,6}:)?(?P<ip4>(?:\d{1,3}\.){3}\d{1,3}))"
    r"|(?P<ip6>(?:[0-9a-fA-F]{1,4}::?|::){1,7}(?:[0-9a-fA-F]{1,4}|(?<=:):)))\]?"
)


def banned(line: str) -> str | None:
    """Return the address that counts as having failed; None if the filter passes the line over.

    :param line: with or without its time, which fail2ban removes first.
    """
    rules = re.findall(r"^(?:failregex = |            )(\^.*)$", FILTER.read_text(), re.MULTILINE)
    assert len(rules) == 3, rules
    line = re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", "", line)
    for rule in rules:
        match = re.search(rule.replace("<ADDR>", _ADDRESS), line)
        if match is not None:
            return match["ip4"] or match["ip6"]
    return None
