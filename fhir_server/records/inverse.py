"""The groups of a mapping backwards: which resources each may have made, and what their source fields held."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from fhir_server.model.resources import Resource
from fhir_server.records.inverse_facts import Known
from fhir_server.records.inverse_targets import Found, InverseRow, Node, at, holds
from fhir_server.records.inverse_transforms import INVERSES
from fhir_server.records.scopes import split_path
from fhir_server.records.targets import steps

# What a resource is like for the time being, which tells nothing of what it is about.
_STATES = frozenset({"active", "status", "clinicalStatus", "verificationStatus"})
_WITHDRAWN = frozenset({"entered-in-error", "refuted", "not-done", "cancelled", "nullified"})
SELF = "#"


@dataclass(frozen=True, slots=True)
class _Link:
    """names: where a resource of the group refers to one of `group`. is_conditional: or not."""

    names: tuple[str, ...]
    group: str
    is_conditional: bool = False


@dataclass(slots=True)
class _Place:
    """What rows of a group write on the resource of another group, in elements that refer to the resource made.

    group: that other one. prefix: the list of such elements, () for the resource itself. reference: where an element
    refers to the resource. order: where it holds the resource's position.
    """

    group: str
    prefix: tuple[str, ...]
    node: Node
    constants: list[tuple[tuple[str, ...], Any]]
    reference: tuple[str, ...] = ()
    order: tuple[str, ...] = ()


def settled(groups: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The groups of a mapping as they are read backwards: what only follows from other fields comes last and says
    nothing; groups within it stand where it stood."""
    last = []
    for group in groups:
        if not group.get("derived"):
            yield {**group, "resources": list(settled(group.get("resources", ())))}
            continue
        last.append({**group, "rows": [row for row in group["rows"] if "link" in row and "on" not in row]})
        last[-1]["resources"] = []
        for child in group.get("resources", ()):
            rows = [row for row in child["rows"] if row.get("on") != group["name"]]
            each = group.get("each", ".") if child.get("each") == "*" else child.get("each", group.get("each", "."))
            inner = {**child, "each": each, "rows": rows}
            if child.get("derived"):
                last.append({**inner, "resources": []})
            else:
                yield from settled([inner])
    yield from last


class InverseGroup:
    """One group of a mapping, compiled backwards."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        """A row whose transform has no inverse is passed over: a test holds that its field is named as one-way."""
        self.name: str = data["name"]
        self.type: str = data["type"]
        self.owner: str = data.get("owner", "record")
        each: str = data.get("each", ".")
        self.from_root = each.startswith("/")
        self.keys = split_path(each)
        self.split: tuple[str, ...] = tuple(data.get("split", ()))
        # States that its rows write themselves: the record says that it was not done.
        self._told = {row["value"] for row in data["rows"] if isinstance(row.get("value"), str)}
        overwritten = {row["target"] for row in data["rows"] if "value" in row}
        self._fixed = {name: value for name, value in data.get("fixed", {}).items() if name not in overwritten}
        self._links: list[_Link] = []
        self._always: list[tuple[tuple[str, ...], Any]] = []  # what rows write whatever the source says
        self._node = Node()
        self._places: dict[tuple[str, tuple[str, ...]], _Place] = {}
        self.has_sources = False
        for row in data["rows"]:
            if not row.get("derived"):
                self._add(row, data.get("items", {}))
        self.children = [InverseGroup(child) for child in data.get("resources", ())]
        self.is_derived: bool = data.get("derived", False)

    def _add(self, row: Mapping[str, Any], items: Mapping[str, Resource]) -> None:
        owner = row.get("on", self.name)
        if owner != self.name:
            self._add_place(row, owner)
        elif "link" in row:
            self._links.append(_Link(_names(row["target"]), row["link"], "when" in row))
            if "[" in row["target"]:
                self._node.put(row["target"], InverseRow((), is_link=True), items)
        elif "line" not in row and is_invertible(row):
            if "value" in row and "when" not in row:
                self._always.append((_names(row["target"]), row["value"]))
            made = inverse_row(row)
            self.has_sources = self.has_sources or bool(made.sources)
            self._node.put(row["target"], made, items)

    def _add_place(self, row: Mapping[str, Any], owner: str) -> None:
        path = steps(row["target"])
        mark = next((number for number, (_, label) in enumerate(path) if label and SELF in label), None)
        prefix = tuple(name for name, _ in path[: mark + 1]) if mark is not None else ()
        rest = path[mark + 1 :] if mark is not None else path
        names = tuple(name for name, _ in rest)
        place = self._places.setdefault((owner, prefix), _Place(owner, prefix, Node(), []))
        if row.get("link") == SELF:
            place.reference = names
        elif "line" in row:
            place.order = names
        elif mark is not None and "value" in row:
            place.constants.append((names, row["value"]))
        elif mark is not None and "source" in row and is_invertible(row):
            place.node.put(_path(rest), inverse_row(row), {})

    @property
    def wants_parent(self) -> bool:
        return any(place.reference for place in self._places.values())

    def linked(self, resource: Resource, scopes: Mapping[str, str]) -> bool:
        """False when the resource refers to another one than the record's, or does not where a visit's must.

        scopes: group -> `Type/id` of the resource at hand.
        """
        for names, links in groupby(sorted(self._links, key=lambda link: link.names), key=lambda link: link.names):
            several = list(links)
            wanted = {scopes[link.group] for link in several if link.group in scopes}
            if not wanted or any(one.startswith("Organization/") for one in wanted):
                continue
            if len(several) == 1 and several[0].is_conditional:
                continue
            if not any(one.get("reference") in wanted for one in at(resource, names) if isinstance(one, dict)):
                return False
        return True

    def fits(self, resource: Resource, strictly: bool) -> bool:
        """True when the resource has what every one of the group has; not strictly: but for its state."""
        if is_withdrawn(resource, self._told):
            return False
        if not all(any(holds(one, value) for one in at(resource, names)) for names, value in self._always):
            return False
        fixed = self._fixed if strictly else {k: v for k, v in self._fixed.items() if k not in _STATES}
        return holds(resource, fixed)

    def find(self, resource: Resource, known: Known) -> Found:
        return self._node.find(resource, known)

    def find_on(
        self, resource: Resource, scopes: Mapping[str, Resource], known: Known
    ) -> tuple[Found, bool, int | None]:
        """What the rows on other resources find: (found, whether those refer to the resource, its position)."""
        found, is_named, order = Found(), False, None
        reference = f"{resource['resourceType']}/{resource['id']}"
        for place in self._places.values():
            owner = scopes.get(place.group)
            if owner is None or not place.reference:
                continue
            for element in at(owner, place.prefix):
                if not any(one.get("reference") == reference for one in at(element, place.reference)):
                    continue
                if all(any(holds(one, value) for one in at(element, names)) for names, value in place.constants):
                    is_named = True
                    found.add(place.node.find(element, known))
                    ranks = at(element, place.order) if place.order else []
                    order = ranks[0] if ranks and isinstance(ranks[0], int) else order
        return found, is_named, order


def is_withdrawn(resource: Resource, told: Collection[str] = ()) -> bool:
    """True for what was entered in error, refuted or not done: it is not to be told again as a fact. told: states that
    the format has words for."""
    states = {resource.get("status")}
    codings = (resource.get("verificationStatus") or {}).get("coding") or ()
    states |= {one.get("code") for one in codings if isinstance(one, dict)}
    return not states.isdisjoint(_WITHDRAWN.difference(told))


def is_invertible(row: Mapping[str, Any]) -> bool:
    """True when every transform of a row has an inverse."""
    names = row.get("as", "text") if "source" in row else []
    return all(name in INVERSES for name in ([names] if isinstance(names, str) else names))


def inverse_row(row: Mapping[str, Any]) -> InverseRow:
    """The row backwards. Raises KeyError when one of its transforms has no inverse."""
    if "value" in row:
        source, text = _implied(row.get("when"))
        return InverseRow((source,) if source else (), constant=row["value"], implied=text)
    names = row.get("as", "text")
    chain = tuple(names if isinstance(names, list) else [names])
    for name in chain:
        INVERSES[name]
    sources = row["source"] if isinstance(row["source"], list) else [row["source"]]
    several = "semicolon_list" in chain
    when = row.get("when")
    rules = when.items() if isinstance(when, Mapping) else ()
    beside = tuple(path for path, rule in rules if rule == "present")
    without = tuple(path for path, rule in rules if rule == "absent")
    return InverseRow(
        tuple(sources), chain, row.get("with", {}), several, row.get("default"), beside=beside, without=without
    )


def _implied(when: Any) -> tuple[str | None, str | None]:
    """(source, text) of a condition that only one text meets."""
    if isinstance(when, Mapping) and len(when) == 1:
        ((path, texts),) = when.items()
        if isinstance(texts, list) and len(texts) == 1:
            return path, texts[0]
    return None, None


def _names(target: str) -> tuple[str, ...]:
    return tuple(name for name, _ in steps(target))


def _path(parts: Iterable[tuple[str, str | None]]) -> str:
    return ".".join(name if label is None else f"{name}[{label}]" for name, label in parts)


def walk_groups(groups: Sequence[InverseGroup]) -> Iterator[InverseGroup]:
    for group in groups:
        yield group
        yield from walk_groups(group.children)
