"""Export names from a package without importing their modules until first use (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_exports(
    package: dict[str, Any], modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make a package's ``__getattr__`` and ``__dir__``.

    :param package: the package's ``globals()``; a name is stored there after its first use.
    :param modules: the module of each name, as ``"module"``, or as ``"module:name"`` if the name
        differs there.
    """

    def get(name: str) -> Any:
        where = modules.get(name)
        if where is None:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        module, _, attribute = where.partition(":")
        package[name] = value = getattr(import_module(module), attribute or name)
        return value

    def names() -> list[str]:
        return sorted({*package, *modules})

    return get, names
