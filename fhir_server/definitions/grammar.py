"""Codes without end that are told by their form, such as those of UCUM."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

# Stands for what was in parentheses: one unit of its own.
_INNER = "[x]"
# Longer than any unit that is meant: reading one takes as many rounds as it has parentheses.
_LONGEST = 200


@dataclass(frozen=True)
class Grammar(Collection[str]):
    """Holds the codes that have the form, and lists none. pattern: of a code without parentheses, which may stand
    around a code wherever a unit may."""

    pattern: str

    def __contains__(self, code: object) -> bool:
        if not isinstance(code, str) or len(code) > _LONGEST:
            return False
        before = ""
        while before != code:
            before, code = code, re.sub(rf"\((?:{self.pattern})\)", _INNER, code)
        return re.fullmatch(self.pattern, code) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
