"""Where a value stands, kept as a chain of steps: a text is made only for the few places that are told."""

from __future__ import annotations

from typing import Any

# The FHIRPath of a resource, or (place of the parent, name, index in a list).
Place = str | tuple[Any, str, int | None]


def render(place: Place) -> str:
    """A place as FHIRPath."""
    names: list[str] = []
    while not isinstance(place, str):
        place, name, number = place
        names.append(name if number is None else f"{name}[{number}]")
    return ".".join([place, *reversed(names)])
