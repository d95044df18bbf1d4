"""Report misspelt keyword arguments, and suggest the right name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any


def check_keywords(
    callee: Callable[..., Any], given: Collection[str], known: frozenset[str]
) -> None:
    """Check that keyword arguments exist.

    :param callee: the class or function that was called.
    :param given: the keyword arguments that it received.
    :param known: those that it accepts.
    :raises TypeError: if one is unknown. The message names the first one, and the most similar
        known keyword.
    """
    for name in given:
        if name not in known:
            all_known = sorted(known | _own_keywords(callee))
            close = get_close_matches(name, all_known, 1, 0.5)
            hint = (
                f"did you mean {close[0]!r}?"
                if close
                else "the keywords are " + ", ".join(all_known)
            )
            raise TypeError(f"{callee.__name__}() has no keyword {name!r}; {hint}")


def _own_keywords(callee: Callable[..., Any]) -> set[str]:
    functions = [callee]
    if isinstance(callee, type):
        functions = [vars(cls)["__init__"] for cls in callee.__mro__ if "__init__" in vars(cls)]
    return {
        name
        for function in functions
        for name, parameter in signature(function).parameters.items()
        if parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
        and name != "self"
    }
