"""Conditions of mapping rows and groups (`when`), compiled once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fhir_server.records.scopes import Scope, compile_source, field_of_item, split_path, walk_all

Test = Callable[[Scope], bool]


def compile_test(when: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None) -> Test | None:
    """All of the conditions of an object: path -> rule; of several objects in a list one suffices. `path[]` looks at
    every value there, not only the first.

    Rules: "present" | "absent" | "number" | "words" (present and no number) | list of texts | {"not": […]} |
    {"other_than": […]} (present and none of these) | {"starts": […]} | {"ends": […]} | {"any": […]} and
    {"any_starts": […]} (one of a `;` list) | {"below": n} | {"not_below": n} (present, and no number below) |
    {"words": […]} (one of them is in the text) | {"not_words": "none"} | {"is_word": "none"} | {"shape": regex} |
    {"not_shape": regex} (present and not of it) | {"same": path} | {"same_day": path} | {"not_same_day": path}.
    """
    if not when:
        return None
    if not isinstance(when, Mapping):
        choices = [test for one in when if (test := compile_test(one)) is not None]
        return _any_of(choices)
    tests = [_every(path[:-2], rule) if path.endswith("[]") else _one(path, rule) for path, rule in when.items()]
    if len(tests) == 1:
        return tests[0]
    return _all_of(tests)


def _any_of(tests: Sequence[Test]) -> Test:
    def test_any(scope: Scope) -> bool:
        for test in tests:  # noqa: SIM110 - a generator takes three times as long
            if test(scope):
                return True
        return False

    return test_any


def _all_of(tests: Sequence[Test]) -> Test:
    def test_all(scope: Scope) -> bool:
        for test in tests:  # noqa: SIM110 - as above
            if not test(scope):
                return False
        return True

    return test_all


def _one(path: str, rule: Any) -> Test:
    read = compile_source(path)
    if isinstance(rule, Mapping) and (name := next(iter(rule))) in _COMPARISONS:
        read_other, compare = compile_source(rule[name]), _COMPARISONS[name]
        return lambda scope: compare(read(scope), read_other(scope))
    holds = _predicate(rule)
    name = field_of_item(path)
    if name is None:
        return lambda scope: holds(read(scope))
    if rule == "present":
        return lambda scope: scope.fields.get(name) is not None
    return lambda scope: holds(scope.fields.get(name))


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, str) and isinstance(other, str) and one.casefold() == other.casefold()


def _same_day(one: Any, other: Any) -> bool:
    """Dates that begin with yyyymmdd."""
    return isinstance(one, str) and isinstance(other, str) and one[:8] == other[:8]


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "same": _same,
    "same_day": _same_day,
    "not_same_day": lambda one, other: not _same_day(one, other),
}


def _every(path: str, rule: Any) -> Test:
    """True when the rule holds for one of all values at the path."""
    holds, keys = _predicate(rule), split_path(path)
    from_root = path.startswith("/")
    return lambda scope: any(holds(value) for value in walk_all(scope.root if from_root else scope.item, keys))


def _number(value: Any) -> float:
    """The number that a text is; infinity for any other value."""
    is_number = isinstance(value, str) and _NUMBER.fullmatch(value) is not None
    return float(value.replace(",", ".")) if is_number else math.inf


_NUMBER = re.compile(r"[+-]?\d{1,15}(?:[.,]\d{1,10})?", re.ASCII)
# What senders write for «none» in a list that should be empty.
_NO_WORDS = frozenset(
    {"không", "không có", "ko", "k", "không rõ", "chưa phát hiện", "bình thường", "none", "no", "0", "-"}
)


def _says_none(value: Any) -> bool:
    return isinstance(value, str) and value.strip(" .").casefold() in _NO_WORDS


def _predicate(rule: Any) -> Callable[[Any], bool]:
    if rule == "present":
        return lambda value: value is not None
    if rule == "absent":
        return lambda value: value is None
    if rule == "number":
        return lambda value: isinstance(value, str) and _NUMBER.fullmatch(value) is not None
    if rule == "words":
        return lambda value: isinstance(value, str) and _NUMBER.fullmatch(value) is None
    if isinstance(rule, list):
        wanted = frozenset(rule)
        return lambda value: isinstance(value, str) and value in wanted
    if "not" in rule:
        barred = frozenset(rule["not"])
        return lambda value: not (isinstance(value, str) and value in barred)
    if "other_than" in rule:
        others = frozenset(rule["other_than"])
        return lambda value: isinstance(value, str) and value not in others
    if "starts" in rule:
        starts = tuple(rule["starts"])
        return lambda value: isinstance(value, str) and value.startswith(starts)
    if "shape" in rule:
        shape = re.compile(rule["shape"], re.ASCII)
        return lambda value: isinstance(value, str) and shape.fullmatch(value) is not None
    if "not_shape" in rule:
        other = re.compile(rule["not_shape"], re.ASCII)
        return lambda value: isinstance(value, str) and other.fullmatch(value) is None
    if "below" in rule:
        bound = rule["below"]
        return lambda value: _number(value) < bound
    if "not_below" in rule:
        least = rule["not_below"]
        return lambda value: value is not None and not _number(value) < least
    if "words" in rule:
        words = re.compile(r"\b(?:" + "|".join(map(re.escape, rule["words"])) + r")\b", re.IGNORECASE)
        return lambda value: isinstance(value, str) and words.search(value) is not None
    if "not_words" in rule:
        return lambda value: not _says_none(value)
    if "is_word" in rule:
        return _says_none
    if "ends" in rule:
        ends = tuple(rule["ends"])
        return lambda value: isinstance(value, str) and value.endswith(ends)
    if "any_starts" in rule:
        begins = tuple(rule["any_starts"])
        return lambda value: isinstance(value, str) and any(p.strip().startswith(begins) for p in value.split(";"))
    if "any" in rule:
        members = frozenset(rule["any"])
        return lambda value: isinstance(value, str) and not members.isdisjoint(p.strip() for p in value.split(";"))
    raise ValueError(f"no such condition: {rule!r}")
