"""Read endpoint strings, such as ``tcp:8080:interface=::1``, to check their parts."""

from __future__ import annotations

import re


def split_description(description: str) -> tuple[str, list[str], dict[str, str]]:
    """Split an endpoint string into its kind, its positional parts and its named parts."""
    kind, *parts = (re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\):", description))
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    return kind, [part for part in parts if "=" not in part], named


def find_port(description: str) -> str | None:
    """Return the port of a client's endpoint string; None if it has none."""
    kind, parts, named = split_description(description)
    if kind not in ("tcp", "tls", "ssl"):
        return None
    position = 0 if "host" in named else 1
    return named.get("port", parts[position] if len(parts) > position else None)


def find_server_port(description: str) -> str | None:
    """Return the port of a server's endpoint string; None if it has none."""
    kind, parts, named = split_description(description)
    if kind not in ("tcp", "tcp4", "tcp6", "ssl"):
        return None
    return named.get("port", parts[0] if parts else None)
