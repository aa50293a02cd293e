"""Which group of a mapping made each resource, and what its rows, read backwards, say in each field of the record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.model.resources import Resource
from fhir_server.records.export_items import JOINED, Candidate, Choice, Item, Keys, Spot, settle
from fhir_server.records.inverse import InverseGroup
from fhir_server.records.inverse_facts import FIRST, LAST, Known
from fhir_server.records.inverse_targets import Found, InverseRow
from fhir_server.records.scopes import split_path

# The relative that holds the numbers which a newborn's record bears (records.bundle).
_HOLDER = "Người có giấy tờ ghi trong hồ sơ trẻ sơ sinh (cha, mẹ hoặc người giám hộ)"


@dataclass(frozen=True, slots=True)
class Layout:
    """Of a format. many: parts that repeat. shared: types that all records share. as_written: fields that are kept as
    the record wrote them."""

    many: frozenset[Keys]
    shared: frozenset[str]
    as_written: frozenset[Keys]


@dataclass(slots=True)
class _Made:
    group: InverseGroup
    resource: Resource
    found: Found
    order: tuple[Any, ...]
    spot: Spot

    @property
    def reference(self) -> str:
        return f"{self.resource['resourceType']}/{self.resource['id']}"


class Writer:
    """Gives each resource to a group, and what its rows find to the fields they read."""

    def __init__(self, layout: Layout, bag: Sequence[Resource], known: Known) -> None:
        self.root = Item(())
        self._layout = layout
        self._known = known
        self._by_type: dict[str, list[Resource]] = defaultdict(list)
        for resource in bag:
            self._by_type[resource["resourceType"]].append(resource)
        self._by_type["Patient"] = [_with_numbers_held(one, bag) for one in self._by_type["Patient"]]
        self._main = _main_patient(self._by_type)
        self._used: set[str] = set()
        self._choices: list[tuple[list[Spot], Candidate]] = []
        self._there: set[tuple[Item, Keys]] = set()  # fields that were there, whatever they held

    def left(self) -> Iterator[str]:
        for type, held in self._by_type.items():
            if type not in self._layout.shared:
                references = (f"{type}/{one['id']}" for one in held if not _is_holder(one))
                yield from (one for one in references if one not in self._used)

    # --- which resource belongs to which group ---

    def run(
        self, groups: Sequence[InverseGroup], parent: _Made | None, outer: Mapping[str, _Made], spot: Spot
    ) -> dict[str, _Made]:
        """Makes the items of the groups, first of what fits in every way, then of what fits but for its state.

        outer: group -> what it made that is at hand. Gives the same with what was made here.
        """
        at_hand = dict(outer)
        for strictly in (True, False):
            for group in groups:
                self._group(group, groups, parent, at_hand, spot, strictly)
        return at_hand

    def _group(
        self,
        group: InverseGroup,
        siblings: Sequence[InverseGroup],
        parent: _Made | None,
        at_hand: dict[str, _Made],
        spot: Spot,
        strictly: bool,
    ) -> None:
        base = Spot(self.root) if group.from_root else spot
        made = self._made(group, siblings, at_hand, base, strictly)
        if group.split:
            self._say_joined(group, made, base.step(group.keys, self._layout.many), parent)
        for one in made:
            if not group.split:
                one.spot = base.step(group.keys, self._layout.many)
                self._say(one.found, one.spot, parent)
            at_hand[group.name] = one
            inner = self.run(group.children, one, at_hand, one.spot)
            at_hand.update({name: child for name, child in inner.items() if name not in at_hand})

    def _made(
        self,
        group: InverseGroup,
        siblings: Sequence[InverseGroup],
        at_hand: Mapping[str, _Made],
        spot: Spot,
        strictly: bool,
    ) -> list[_Made]:
        names = {name: one.reference for name, one in at_hand.items()}
        owners = {name: one.resource for name, one in at_hand.items()}
        made = []
        for resource in self._by_type.get(group.type, ()):
            found, order = self._fitting(group, siblings, resource, (names, owners), strictly)
            if found is not None:
                made.append(_Made(group, resource, found, (order is None, order or 0, *_when(resource)), spot))
        made.sort(key=lambda one: one.order)
        if len(made) > 1 and not group.split and not self._repeats(group, spot):
            made = made[-1:]  # a field has room for the latest one
        self._used.update(one.reference for one in made)
        return made

    def _repeats(self, group: InverseGroup, spot: Spot) -> bool:
        return bool(group.keys) and spot.item.path + spot.keys + group.keys in self._layout.many

    def _fitting(
        self,
        group: InverseGroup,
        siblings: Sequence[InverseGroup],
        resource: Resource,
        at_hand: tuple[Mapping[str, str], Mapping[str, Resource]],
        strictly: bool,
    ) -> tuple[Found | None, int | None]:
        """(what the group's rows find in a resource that it may have made, its position among others)."""
        names, owners = at_hand
        reference = f"{group.type}/{resource['id']}"
        is_shared = group.owner == "shared"
        if group.type == "Patient" and (reference == self._main) != (group.owner == "person"):
            return None, None
        if (reference in self._used and not is_shared) or not group.fits(resource, strictly):
            return None, None
        if not group.linked(resource, names):
            return None, None
        on, is_named, order = group.find_on(resource, owners, self._known)
        if group.wants_parent and not is_named and (strictly or is_shared):
            return None, None
        if group.type == "Organization" and group.wants_parent == (
            self._known.facilities.get(reference) == self._known.facility
        ):
            return None, None  # the sender stands for the record, any other facility for a part of it
        found = group.find(resource, self._known)
        if (strictly and found.failed) or (not strictly and self._fits_better(group, siblings, resource, names, found)):
            return None, None
        found.add(on)
        return (None, None) if group.has_sources and not found.texts else (found, order)

    def _fits_better(
        self,
        group: InverseGroup,
        siblings: Sequence[InverseGroup],
        resource: Resource,
        names: Mapping[str, str],
        found: Found,
    ) -> bool:
        """True when another group of the same type would lose less of the resource."""
        mine = (found.failed, -len(found.texts))
        for other in siblings:
            if other is not group and other.type == group.type and other.fits(resource, strictly=False):
                theirs = other.find(resource, self._known)
                if other.linked(resource, names) and (theirs.failed, -len(theirs.texts)) < mine:
                    return True
        return False

    # --- what the record says of it ---

    def _say(self, found: Found, spot: Spot, parent: _Made | None) -> None:
        by_row: dict[int, list[tuple[InverseRow, str, int]]] = defaultdict(list)
        held = {one[0].sources[0] for one in found.texts if one[0].sources and one[2] < LAST}
        for one in found.texts:
            if held.isdisjoint(one[0].without):
                by_row[id(one[0])].append(one)
        for several in by_row.values():
            row, text, rank = several[0]
            if row.several:
                text = ";".join(one[1] for one in several)
            candidate = Candidate(row, text, rank)
            self._there.update((at.item, at.keys) for at in (self._spot(path, spot, parent) for path in row.beside))
            spots = [self._spot(path, spot, parent) for path in row.sources]
            if len(spots) == 1:
                spots[0].item.texts[spots[0].keys].append(candidate)
            elif len(spots) > 1:
                self._choices.append((spots, candidate))
        for path, text in found.options:
            at = self._spot(path, spot, parent)
            at.item.texts[at.keys].append(Candidate(JOINED, text, 1))

    def _spot(self, path: str, spot: Spot, parent: _Made | None) -> Spot:
        keys = split_path(path.replace("../", ""))
        if path.startswith("/"):
            return Spot(self.root, keys)
        if path.startswith("../"):
            return parent.spot.below(keys) if parent else Spot(self.root, keys)
        return spot.below(keys)

    def _say_joined(self, group: InverseGroup, made: Sequence[_Made], spot: Spot, parent: _Made | None) -> None:
        """What was one item each of lists that stand side by side, put together again."""
        columns: dict[str, list[str]] = {name: [] for name in group.split}
        for one in made:
            one.spot = spot
            rest = Found(options=one.found.options)
            row_texts: dict[str, tuple[int, str]] = {}
            for row, text, rank in one.found.texts:
                name = row.sources[0] if row.sources else ""
                if name not in columns:
                    rest.texts.append((row, text, rank))
                elif name not in row_texts or rank < row_texts[name][0]:
                    row_texts[name] = (rank, text)
            for name, column in columns.items():
                column.append(row_texts.get(name, (0, ""))[1])
            self._say(rest, spot, parent)
        for name, column in columns.items():
            if any(column):
                at = spot.below((name,))
                at.item.texts[at.keys].append(Candidate(JOINED, ";".join(column), -1))

    def settle(self, choice: Choice) -> None:
        """Chooses a text for every field. A row with several sources read the first that was there: that field gets the
        text unless one of the others has it already. Of the fields that are kept as the record wrote them, those that
        it left empty stay so, whatever is known by now."""
        texts = self.root.texts
        own = {keys for keys, held in texts.items() if any(one.rank == FIRST for one in held)}
        for keys in self._layout.as_written - own if own else ():
            texts.pop(keys, None)
        settle(self.root, choice)
        for spots, candidate in self._choices:
            first = spots[0]
            held = [spot.item.chosen.get(spot.keys) for spot in spots]
            is_others = candidate.text in held and (first.item, first.keys) not in self._there
            if held[0] is None and not is_others and first.item is spots[-1].item:
                first.item.chosen[first.keys] = candidate.text


def _when(resource: Resource) -> tuple[str, str]:
    """What resources without a position are put in order by: their own date, then their id."""
    for name in ("occurrenceDateTime", "effectiveDateTime", "onsetDateTime", "recordedDate", "date", "authoredOn"):
        if isinstance(resource.get(name), str):
            return resource[name], resource["id"]
    period = resource.get("period")
    start = period.get("start", "") if isinstance(period, dict) else ""
    return str(start), resource["id"]


def _main_patient(by_type: Mapping[str, Sequence[Resource]]) -> str:
    """`Patient/id` of the one that the record is about: others are newborns of a mother's dossier."""
    visits = (one.get("subject", {}).get("reference") for one in by_type.get("Encounter", ()))
    held = [f"Patient/{one['id']}" for one in by_type.get("Patient", ())]
    return next((one for one in visits if one in held), held[0] if held else "")


def _with_numbers_held(patient: Resource, bag: Iterable[Resource]) -> Resource:
    """The Patient with the numbers that its newborn's record bore and that were put aside as another's."""
    held = [
        number
        for one in bag
        if one["resourceType"] == "RelatedPerson" and _is_holder(one)
        for number in one.get("identifier", ())
    ]
    return {**patient, "identifier": [*held, *patient.get("identifier", ())]} if held else patient


def _is_holder(resource: Resource) -> bool:
    """True for the relative that holds numbers put aside, which are told with the Patient."""
    return any(isinstance(one, dict) and one.get("text") == _HOLDER for one in resource.get("relationship") or ())
