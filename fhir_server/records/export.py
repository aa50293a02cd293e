"""A person's resources back into a record of any format, by the same mapping tables that read such records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from fhir_server.config import DATA_ROOT
from fhir_server.model.resources import Resource, decode
from fhir_server.records.export_items import (
    Candidate,
    Choice,
    Fill,
    Item,
    Keys,
    Spot,
    ordered,
    part_at,
    parts_at,
    render,
    written,
)
from fhir_server.records.export_writer import Layout, Writer
from fhir_server.records.formats import Format
from fhir_server.records.inverse import InverseGroup, settled, walk_groups
from fhir_server.records.inverse_facts import Known
from fhir_server.records.inverse_targets import InverseRow
from fhir_server.records.inverse_transforms import invert
from fhir_server.records.scopes import split_path, walk
from fhir_server.records.source import Tree
from fhir_server.terminology.naming import NamingSystems


@dataclass(frozen=True, slots=True)
class Exported:
    """content: the record as its reader would give it. left: `Type/id` of what found no place in it."""

    content: Tree
    left: tuple[str, ...]


class Export:
    """One format, compiled backwards. Its own data is mappings/<format>/export.json: which parts repeat (`many`), what
    is written where FHIR says nothing (`fill`), what does not come back and why (`one_way`), and the envelope."""

    def __init__(self, format: Format) -> None:
        self.format = format
        self.data: Mapping[str, Any] = decode((format.folder / "export.json").read_bytes())
        self.root: str = self.data["root"]
        self.alone: bool = self.data.get("alone", False)
        self.many = frozenset(split_path(path) for path in self.data.get("many", ()))
        self.groups = [InverseGroup(one) for one in settled(format.data["resources"])]
        self.own = {one.type for one in walk_groups(self.groups) if one.owner == "record"}
        self.copies = list(_copies(format.data["resources"], ()))
        shared = frozenset(one.type for one in walk_groups(self.groups) if one.owner == "shared")
        as_written = frozenset(_as_written(format.data["resources"]))
        self.layout = Layout(self.many, shared, as_written)
        self.stand_in: Mapping[str, Any] = self.data.get("stand_in", {})
        record = format.data["record"]
        self.facility = split_path(record["facility"][0])
        self.dates = [split_path(path) for path in record["date"]["source"]]
        self.date_form: str = record["date"]["as"]
        self.key = split_path(self.data.get("key", ""))
        self.fill = [Fill.of(one) for one in self.data.get("fill", ())]

    def record(
        self, resources: Iterable[Resource], facility: str, on: date | None, today: date | None = None, key: str = ""
    ) -> Exported:
        """The record that holds as much of the resources as the format can say.

        resources: one Patient and what speaks of it, with the Organizations it refers to. facility: whose record it
        is. on: the day whose code lists apply. today: when it is written. key: for a record whose own is not known.
        """
        bag = list(resources)
        tools = self.format.tools
        facilities = _facilities(bag, tools.naming)
        known = Known(tools.naming, tools.codes, _systems(), _chains(), tools.zone, facility, on, facilities)
        facts = tools.facts()
        facts.facility, facts.on = facility, on
        writer = Writer(self.layout, bag, known)
        writer.run(self.groups, None, {}, Spot(writer.root))
        self._say_when(bag, writer.root, known)
        writer.settle(Choice(facts, known, self.dates))
        return Exported(self._finished(render(writer.root), facility, today, key), tuple(sorted(writer.left())))

    def _say_when(self, bag: Iterable[Resource], root: Item, known: Known) -> None:
        """The record's day from what the import noted on the Patient, where no other resource tells it."""
        if any(keys in root.texts for keys in self.dates):
            return
        url = _chains()["record-date"][0][0]
        told = (
            one["valueDateTime"]
            for patient in bag
            if patient["resourceType"] == "Patient"
            for one in (patient.get("meta") or {}).get("extension", ())
            if one.get("url") == url
        )
        moment = next(told, None)
        if moment is not None:
            text, rank = invert([self.date_form], moment, {}, known)
            row = InverseRow((), (self.date_form,))
            root.texts[self.dates[0]].append(Candidate(row, text, rank))

    def _finished(self, tree: Tree, facility: str, today: date | None, key: str) -> Tree:
        for keys, text in ((self.facility, facility), (self.key, key)):
            if keys and text:
                part_at(tree, keys[:-1]).setdefault(keys[-1], text)
        words = written(today, tree)
        for fill in self.fill:
            fill.apply(parts_at(tree, fill.at), words)
        for at, field, original in self.copies:
            told = walk(tree, original)
            for part in parts_at(tree, at) if isinstance(told, str) else ():
                part.setdefault(field, told)
        if self.stand_in and self._stood_in(tree):
            del tree[self.stand_in["table"]]
        checks = self.format.checks
        made: Tree = ordered(tree, (), checks.order if checks else {})
        return made

    def _stood_in(self, tree: Tree) -> bool:
        """True when the record lacked a table that rows of another one stood in for."""
        table, rows = tree.get(self.stand_in["table"], {}), parts_at(tree, split_path(self.stand_in["rows"]))
        return any(True for _ in rows) and not any(name in table for name in self.stand_in["lacks"])


def _copies(groups: Iterable[Mapping[str, Any]], above: Keys) -> Iterator[tuple[Keys, str, Keys]]:
    """(where, field, path of the field that it repeats) of every row that is written only where it differs."""
    for group in groups:
        each = group.get("each", ".").removesuffix("*")
        here = split_path(each) if each.startswith("/") else above + split_path(each)
        for row in group["rows"]:
            if "copy_of" in row:
                yield here, row["source"], split_path(row["copy_of"])
        yield from _copies(group.get("resources", ()), here)


def _as_written(groups: Iterable[Mapping[str, Any]]) -> Iterator[Keys]:
    """The fields of groups at fixed places that are kept as the record wrote them."""
    for group in groups:
        for row in group["rows"]:
            if row.get("as") == "as_written":
                source = row["source"]
                yield split_path(source) if source.startswith("/") else split_path(group["each"]) + split_path(source)


def _facilities(bag: Iterable[Resource], naming: NamingSystems) -> dict[str, str]:
    """`Organization/id` -> the code of the facility."""
    found: dict[str, str] = {}
    for one in bag:
        if one["resourceType"] == "Organization":
            for number in one.get("identifier", ()):
                if naming.kind(number.get("system", "")) == "cskcb":
                    found.setdefault(f"Organization/{one['id']}", number["value"])
    return found


@lru_cache(maxsize=1)
def _systems() -> Mapping[str, frozenset[str]]:
    """Kind of code list -> its URIs in every guide."""
    shared = decode((DATA_ROOT / "mappings" / "shared.json").read_bytes())["systems"]
    return {name: frozenset(uri for uris in by_guide.values() for uri in uris) for name, by_guide in shared.items()}


@lru_cache(maxsize=1)
def _chains() -> Mapping[str, tuple[tuple[str, ...], ...]]:
    """Kind of extension -> its chains of URLs in every guide."""
    table = decode((DATA_ROOT / "profiles" / "vn_basic" / "extensions.json").read_bytes())["extensions"]
    return {kind: tuple(tuple(chain) for chain in row.values()) for kind, row in table.items()}


@lru_cache(maxsize=16)
def export_of(format: Format) -> Export:
    """The format backwards, compiled once."""
    return Export(format)
