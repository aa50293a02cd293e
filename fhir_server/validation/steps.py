"""How the JSON properties of an element are read, and how it is seen that one is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.validation.items import Environment, Focus, NoValue, Run, Test, named


@dataclass(frozen=True, slots=True)
class Step:
    """How one JSON property holds the values of an element: its name and the name of its primitive extensions."""

    key: str
    sibling: str | None


def reader(run: Run, steps: tuple[Step, ...]) -> Run:
    """Reads children: each value of a list by itself, a primitive that is only extensions as NoValue."""
    if len(steps) == 1:
        return _reader_of_one(run, steps[0])

    by_name = {name: step for step in steps for name in (step.key, step.sibling) if name}

    def read(focus: Focus, environment: Environment) -> Focus:
        found: Focus = []
        for item in run(focus, environment):
            if isinstance(item, dict):
                for step in {by_name[name] for name in item if name in by_name}:
                    value = item.get(step.key)
                    if value is None or isinstance(value, list):
                        _spread(found, value, item.get(step.sibling) if step.sibling else None)
                    else:
                        found.append(value)
        return found

    return read


def _reader_of_one(run: Run, step: Step) -> Run:
    key, sibling = step.key, step.sibling
    if sibling is None:
        return lambda focus, environment: named(run(focus, environment), key)

    def read(focus: Focus, environment: Environment) -> Focus:
        found: Focus = []
        for item in run(focus, environment):
            if isinstance(item, dict):
                value = item.get(key)
                if isinstance(value, list) or (value is None and sibling in item):
                    _spread(found, value, item.get(sibling))
                elif value is not None:
                    found.append(value)
        return found

    return read


def _spread(found: Focus, values: Any, siblings: Any) -> None:
    values = values if isinstance(values, list) else []
    others = siblings if isinstance(siblings, list) else [siblings]
    for place in range(max(len(values), len(others))):
        value = values[place] if place < len(values) else None
        sibling = others[place] if place < len(others) else None
        if value is not None:
            found.append(value)
        elif isinstance(sibling, dict):
            found.append(NoValue(sibling.get("extension")))


# --- whether a child is there, without reading it: what most invariants ask


def exists_at(steps: tuple[Step, ...]) -> Test:
    names = frozenset(name for step in steps for name in (step.key, step.sibling) if name)

    def exists(focus: Focus, environment: Environment) -> bool:
        for item in focus:  # noqa: SIM110  a generator costs more than the question
            if isinstance(item, dict) and not names.isdisjoint(item):
                return True
        return False

    return exists


def _empty_at(steps: tuple[Step, ...]) -> Test:
    exists = exists_at(steps)
    return lambda focus, environment: not exists(focus, environment)


def _has_value_at(steps: tuple[Step, ...]) -> Test:
    keys = tuple(step.key for step in steps)

    def has_value(focus: Focus, environment: Environment) -> bool:
        found = [item[key] for item in focus if isinstance(item, dict) for key in keys if item.get(key) is not None]
        return len(found) == 1 and not isinstance(found[0], dict | list)

    return has_value


PRESENCE: Mapping[str, Callable[[tuple[Step, ...]], Test]] = {
    "exists": exists_at,
    "empty": _empty_at,
    "hasValue": _has_value_at,
}
