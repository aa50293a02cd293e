"""What becomes of a stored resource that several records speak of: a Patient, a Coverage, an Organization.

- A newer record of the same sender replaces what that sender said; identifiers are only ever added, for a number that
  a person once had still finds them.
- An older record of the same sender adds identifiers and nothing else.
- A record of another sender adds what is missing: identifiers, telecoms, addresses, contacts that are not there, and
  elements that are absent. It overwrites nothing; what it says otherwise is told. A tag says that it speaks too.
- What another sender added stays when the first one sends again.

So sending the same records again, in any order, changes nothing.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from fhir_server.model.resources import Resource
from fhir_server.records.targets import copied

# Lists to which elements are added one by one; of any other element the first one to come stays.
_GROWING = ("identifier", "telecom", "address", "contact", "link")
# Of these nothing that is stored is ever taken away by a record: a number that a person once had still finds them, and
# what became of whom stays known.
_KEPT = ("identifier", "link")
_TAG = "urn:vn-basic:CodeSystem:record-source"
# Elements whose difference is worth telling.
_TOLD = ("name", "gender", "birthDate", "deceasedBoolean")


def merge(stored: Resource, fresh: Resource) -> tuple[Resource, list[str]]:
    """The content to store, and the names of elements in which the two disagree and the stored one stays.

    Both carry Meta.source (`sender#record`) and the date of their record; neither is changed.
    """
    if _sender(stored) == _sender(fresh):
        return (_replace(stored, fresh), []) if _rank(stored) <= _rank(fresh) else (add_numbers(stored, fresh), [])
    return add_missing(stored, fresh), differing(stored, fresh)


def add_missing(stored: Resource, fresh: Resource) -> Resource:
    """What is stored, with what only the other one says; nothing is overwritten."""
    made = copied(stored)
    for name, value in fresh.items():
        if name in ("resourceType", "id", "meta"):
            continue
        if name in _GROWING:
            _grow(made, name, value)
        elif name == "extension":
            _add_extensions(made, value)
        elif name not in made:
            made[name] = copied(value)
    # Also when nothing is new: what the first sender may say no more, this one still does.
    if _sender(fresh) != _sender(stored):
        _add_tag(made, fresh)
    return made


def differing(stored: Resource, fresh: Resource) -> list[str]:
    """The names of elements worth telling in which the two disagree."""
    return [name for name in _TOLD if name in fresh and name in stored and _differ(stored[name], fresh[name])]


def _sender(resource: Resource) -> str:
    return str((resource.get("meta") or {}).get("source", "")).partition("#")[0]


def _rank(resource: Resource) -> tuple[str, str]:
    """What makes one of two records the newer: its date, then its id, so that the order is total."""
    meta = resource.get("meta") or {}
    dates = [one["valueDateTime"] for one in meta.get("extension", ()) if "valueDateTime" in one]
    return (dates[0] if dates else "", str(meta.get("source", "")))


def _replace(stored: Resource, fresh: Resource) -> Resource:
    made = copied(fresh)
    tags = (stored.get("meta") or {}).get("tag", ())
    for name in _KEPT:
        _grow(made, name, stored.get(name, []))
    if tags:
        made["meta"]["tag"] = copied(tags)
    # Others have added to it: what this sender does not say itself may be theirs.
    if any(tag.get("system") == _TAG for tag in tags):
        for name, value in stored.items():
            if name in _GROWING:
                _grow(made, name, value)
            elif name == "extension":
                _add_extensions(made, value)
            elif name not in made:
                made[name] = copied(value)
    return made


def add_numbers(stored: Resource, fresh: Resource) -> Resource:
    """What is stored, with the identifiers of an older record."""
    made = copied(stored)
    _grow(made, "identifier", fresh.get("identifier", []))
    return made


def _grow(made: Resource, name: str, items: list[Any]) -> None:
    """Adds what is not there; of what is there, the parts that it lacks: where and when a number was issued."""
    held = made.get(name, [])
    grown = list(held)
    for item in items:
        place = next((place for place, one in enumerate(grown) if _same(item, one)), None)
        if place is None:
            grown.append(copied(item))
        elif name == "identifier":
            grown[place] = {**copied(item), **grown[place]}
    if grown != held:
        made[name] = grown


def _same(item: Any, other: Any) -> bool:
    if "value" in item and "value" in other:
        return bool(item["value"] == other["value"] and item.get("system") == other.get("system"))
    return bool(item == other)


def _add_extensions(made: Resource, items: list[Any]) -> None:
    urls = {one["url"] for one in made.get("extension", ())}
    missing = [copied(item) for item in items if item["url"] not in urls]
    if missing:
        made["extension"] = [*made.get("extension", ()), *missing]


def _add_tag(made: Resource, fresh: Resource) -> None:
    meta = made.setdefault("meta", {})
    tag = {"system": _TAG, "code": _sender(fresh) or "fhir"}
    if tag not in meta.get("tag", ()):
        meta["tag"] = [*meta.get("tag", ()), tag]


def _differ(stored: Any, fresh: Any) -> bool:
    if isinstance(stored, list):  # names: the text is what people read
        return {_fold(one) for one in stored}.isdisjoint(_fold(one) for one in fresh)
    if isinstance(stored, str) and isinstance(fresh, str):
        return not (stored.startswith(fresh) or fresh.startswith(stored))
    return bool(stored != fresh)


def _fold(name: Any) -> str:
    return " ".join(unicodedata.normalize("NFC", str(name.get("text", ""))).casefold().split())
