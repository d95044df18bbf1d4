"""What the spelling checker passes over."""

from __future__ import annotations

from enchant.tokenize import Filter


class MixedCase(Filter):
    """Names of code, such as Node's ``setNoDelay``: they have a capital letter inside."""

    def _skip(self, word: str) -> bool:
        return word[1:] != word[1:].lower()
