"""Tables of the reference that are made from the code and from the schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from twisted_net.policy.close_reasons import REASONS

SCHEMA = Path(__file__).resolve().parent / "netchat.schema.json"

_KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true, false"}


def _table(widths: str, rows: list[tuple[str, ...]]) -> list[str]:
    """Return a table in reStructuredText. The first row is the heading."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for first, *others in rows:
        lines += [f"   * - {first}", *(f"     - {each}" for each in others)]
    return [*lines, ""]


class CloseCodes(SphinxDirective):
    """``.. close-codes::`` is a table of all reasons why a connection ends."""

    def run(self) -> list[nodes.Node]:
        rows: list[tuple[str, ...]] = [
            ("Code", "Text for people", "Retry", "WebSocket", "Always logged")
        ]
        for code, reason in sorted(REASONS.items()):
            retry, logged = ("yes" if each else "no" for each in (reason.retry, reason.notable))
            rows.append((f"``{code}``", reason.text, retry, str(reason.websocket), logged))
        return self.parse_text_to_nodes("\n".join(_table("16 44 10 14 16", rows)))


class JsonMessages(SphinxDirective):
    """``.. json-messages:: client`` lists the messages of a side, with their fields."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        side = self.arguments[0]
        definitions = json.loads(SCHEMA.read_text())["$defs"]
        lines: list[str] = []
        for name, definition in definitions.items():
            if name.startswith(f"{side}-"):
                lines += self._message(name.partition("-")[2], definition)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)

    def _message(self, name: str, definition: dict[str, Any]) -> Iterator[str]:
        yield from (name, "~" * len(name), "", definition.get("description", ""), "")
        required = definition.get("required", [])
        rows: list[tuple[str, ...]] = [("Field", "Value", "Always there")]
        for field, value in definition.get("properties", {}).items():
            rows.append((f"``{field}``", _value(value), "yes" if field in required else "no"))
        if len(rows) > 1:
            yield from _table("25 50 25", rows)


def _value(schema: dict[str, Any]) -> str:
    """Say in words what a field may have."""
    if "const" in schema:
        return f"``{json.dumps(schema['const'])}``"
    if "enum" in schema:
        return ", ".join(f"``{json.dumps(each)}``" for each in schema["enum"])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(_value(each) for each in schema[union])
    if "$ref" in schema:
        return f"a message ``{schema['$ref'].rpartition('-')[2]}``"
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(_KINDS.get(each, each) for each in kind)
    if kind == "array":
        return f"list of {_value(schema.get('items', {}))}"
    if kind == "object":
        fields = ", ".join(f"``{each}``" for each in schema.get("properties", {}))
        return f"object with {fields}" if fields else "object"
    text = _KINDS.get(kind, kind)
    return f"{text}, at most {schema['maxLength']} characters" if "maxLength" in schema else text
