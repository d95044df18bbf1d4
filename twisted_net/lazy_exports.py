"""Names that a package exports without importing anything until one of them is used (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_exports(
    package: dict[str, Any], modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make a package's ``__getattr__`` and ``__dir__``.

    :param package: the package's ``globals()``; a name that was used once is kept there.
    :param modules: the module of each name, as ``"module"``, or ``"module:name"`` where the name
        is another one there.
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
