"""Remembering the results of pure functions of short texts, in bounded memory whatever the texts are."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Longer texts are worked out each time: they seldom come twice, and many of them would fill the memory.
LONGEST = 120


def remembered(size: int) -> Callable[[Callable[[str, *Ts], T]], Callable[[str, *Ts], T]]:
    """Decorates a function of a text (and perhaps more) to keep its last `size` results for texts up to LONGEST."""

    def decorate(function: Callable[[str, *Ts], T]) -> Callable[[str, *Ts], T]:
        kept = lru_cache(maxsize=size)(function)

        def call(text: str, *rest: *Ts) -> T:
            return kept(text, *rest) if len(text) <= LONGEST else function(text, *rest)

        call.__doc__ = function.__doc__
        return call

    return decorate
