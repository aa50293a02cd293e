"""The record formats: one folder each under mappings/, read and compiled once."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jsonschema_rs

from fhir_server.config import DATA_ROOT
from fhir_server.errors import FhirError
from fhir_server.model.resources import decode
from fhir_server.records.checks import Checks
from fhir_server.records.codes import Codes
from fhir_server.records.conditions import Test, compile_test
from fhir_server.records.csv_files import CsvLayout
from fhir_server.records.facts import Facts
from fhir_server.records.guides import Finish, guides
from fhir_server.records.mapping import Group, Labels
from fhir_server.records.mapping_files import all_groups, read_mapping, read_shared
from fhir_server.records.masking import Masks
from fhir_server.records.scopes import Read, compile_source, split_path
from fhir_server.records.targets import Elements, steps
from fhir_server.records.transform_dates import Transform
from fhir_server.records.transforms import TRANSFORMS
from fhir_server.records.xml_cuts import Parts, XmlContainer
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.naming import NamingSystems

GUIDES = ("moh", "vn-core", "both", "vn-basic")


class MappingFault(ValueError):
    """A mapping that says nothing sensible; the text names its file, and where in it."""


DateOf = tuple[tuple[Read, ...], Transform]  # where a date stands, and how it is read


@dataclass(frozen=True, slots=True)
class ChildKey:
    """What tells a child's record from that of the parent, and of a twin, whose number it bears. number, born: the
    personal number and the day of birth, by which it is known."""

    number: Read
    born: DateOf
    told_by: tuple[Read, ...]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> ChildKey:
        return cls(compile_source(data["number"]), _date_of(data["born"]), tuple(map(compile_source, data["told_by"])))


@dataclass(frozen=True, slots=True)
class Key:
    """How a record is told from others: the first alternative whose values are all there. date: the day it speaks of.
    written: when its sender wrote it, which tells the older of two versions; no sources where the format does not say.
    request: the number of the message, which a sender uses once for one content. child: where a record may stand under
    a parent's number. first: paths of the first alternative. paths: of all these but child.
    """

    alternatives: tuple[tuple[Read, ...], ...]
    facility: tuple[Read, ...]
    date: DateOf
    written: DateOf
    request: tuple[Read, ...]
    child: ChildKey | None
    first: tuple[tuple[str, ...], ...]
    paths: tuple[tuple[str, ...], ...]


def _date_of(data: Mapping[str, Any]) -> DateOf:
    return tuple(compile_source(path) for path in data["source"]), TRANSFORMS[data["as"]]


class Format:
    """One record format as its mapping.json says."""

    def __init__(self, name: str, data: Mapping[str, Any], tools: Tools, folder: Path) -> None:
        self.name = name
        self.data = data
        self.tools = tools
        self.folder = folder
        self.title: tuple[str, str] = (data["title"]["en"], data["title"]["vi"])
        self.version: str = data["version"]
        container = data["container"]
        self.kind: str = container["kind"]
        self.known_by: frozenset[str] = frozenset(container.get("known_by", ()))
        self.xml = _xml(container) if self.kind == "xml" else None
        taken = [one for one in data["resources"] if one.get("only", "") in ("", *tools.restricted)]
        self.data = data = {**data, "resources": taken}
        elements = Elements(tools.extensions, {one["name"]: one.get("items", {}) for one in all_groups(taken)})
        self.groups = [Group(one, elements) for one in taken]
        self.labels = Labels(data.get("labels", ()))
        self.stand_in = {name: split_path(path) for name, path in data.get("stand_in", {}).items()}
        record = data["record"]
        self.key = Key(
            tuple(tuple(compile_source(path) for path in paths) for paths in record["key"]),
            tuple(compile_source(path) for path in record["facility"]),
            _date_of(record["date"]),
            _date_of(record.get("written", {**record["date"], "source": ()})),
            tuple(compile_source(path) for path in record.get("request", ())),
            ChildKey.of(record["child"]) if "child" in record else None,
            tuple(split_path(path) for path in record["key"][0]),
            tuple(dict.fromkeys(_key_paths(record))),
        )
        self.newborn: Test | None = compile_test(data.get("newborn"))
        self.left_out: Mapping[tuple[str, ...], Mapping[str, str]] = {
            split_path(path): reason
            for path, reason in data.get("left_out", {}).items()
            if reason.get("unless", "-") not in tools.restricted
        }

    @cached_property
    def csv(self) -> CsvLayout | None:
        """The layout of the CSV form, where the format has one."""
        file = self.folder / "csv.json"
        return CsvLayout.of(decode(file.read_bytes())) if file.exists() else None

    @cached_property
    def schema(self) -> jsonschema_rs.Validator | None:
        """The JSON Schema of the format, where it has one."""
        file = self.folder / "schema.json"
        return jsonschema_rs.validator_for(decode(file.read_bytes())) if file.exists() else None

    @cached_property
    def checks(self) -> Checks | None:
        """What the receiver checks in a record of the format, where that is written down."""
        file = self.folder / "checks.json"
        return Checks(decode(file.read_bytes())) if file.exists() else None

    @cached_property
    def masks(self) -> Masks:
        """What a report may show of its values."""
        return Masks.of(self.data, self.tools.naming)

    @cached_property
    def known(self) -> frozenset[tuple[str, ...]]:
        """Every source path that a row, a condition or a key reads, from the top of the record, without repetitions."""
        return frozenset(_known_paths(self.data))

    @cached_property
    def known_fields(self) -> Mapping[tuple[str, ...], frozenset[str]]:
        """By the path of a table the names of those of its fields that are known and not left out."""
        found: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for path in self.known - self.left_out.keys():
            if path:
                found[path[:-1]].add(path[-1])
        return {path: frozenset(names) for path, names in found.items()}

    def sources_of(self, group: str, expression: str) -> str:
        """The source fields that fill the element a FHIRPath names in a resource of a group: `Encounter.period` is
        `NGAY_VAO, NGAY_RA`. "" when rows say nothing of it."""
        wanted = [part.partition("[")[0] for part in expression.split(".")[1:]]
        found = [
            source
            for path, sources in self._written.get(group, ())
            if wanted and path[: len(wanted)] == wanted[: len(path)]
            for source in sources
        ]
        return ", ".join(dict.fromkeys(found))

    @cached_property
    def _written(self) -> Mapping[str, list[tuple[list[str], list[str]]]]:
        """Group -> (names of the target path, source fields) of its rows."""
        table: dict[str, list[tuple[list[str], list[str]]]] = {}
        waiting = list(self.data["resources"])
        while waiting:
            group = waiting.pop()
            waiting += group.get("resources", ())
            for row in group["rows"]:
                source = row.get("source", [])
                path = [name for name, _ in steps(row["target"])]
                written = (path, source if isinstance(source, list) else [source])
                table.setdefault(row.get("on", group["name"]), []).append(written)
        return table

    @cached_property
    def plan(self) -> str:
        """The URI that Provenance.policy names: the mapping, its version, and a digest of all data behind it."""
        own = _digest([self.folder / "mapping.json", *sorted(self.folder.glob("tables/*.json"))])
        return f"urn:vn-basic:mapping:{self.name}|{self.version}-{self.tools.digest}-{own}"


@dataclass(frozen=True, slots=True)
class Tools:
    """What all formats share. guide: the one whose URIs rows write. digest: of the setting, what mappings share, code
    maps and tables of guides, so that a change is seen. finish: what a resource gets when its rows are done.
    restricted: which of the tables that are taken in only on request (`hiv`, `tb`) are."""

    naming: NamingSystems
    codes: Codes
    guide: str
    systems: Mapping[str, tuple[str, ...]]
    extensions: Mapping[str, tuple[str, ...]]
    zone: str
    digest: str
    finish: Finish
    restricted: frozenset[str] = frozenset()

    def facts(self) -> Facts:
        return Facts(self.naming, self.codes, self.guide, self.systems, self.extensions, self.zone)


@dataclass(frozen=True, slots=True)
class Formats:
    """All formats by name."""

    by_name: Mapping[str, Format]
    tools: Tools

    @property
    def writable(self) -> Mapping[str, Format]:
        """Those in which records can be written again (they have an export.json)."""
        return {name: one for name, one in self.by_name.items() if (one.folder / "export.json").exists()}

    @classmethod
    def load(
        cls,
        root: Path = DATA_ROOT,
        guide: str = "moh",
        zone: str = "+07:00",
        restricted: str = "",
        more: Path | None = None,
    ) -> Formats:
        """Reads root/mappings and what it needs of root/terminology and root/profiles. restricted: which of the tables
        that are taken in only on request are, separated by commas. more: a folder of further formats.

        Raises MappingFault for a mapping that cannot be compiled, ValueError for a guide that does not exist.
        """
        if guide not in GUIDES:
            raise ValueError(f"no such guide {guide!r}")
        mappings = root / "mappings"
        shared = read_shared(mappings)
        extensions = decode((root / "profiles" / "vn_basic" / "extensions.json").read_bytes())["extensions"]
        families = {name: tuple(ids) for name, ids in shared["families"].items()}
        naming = NamingSystems.load(root)
        written = guides(guide)
        tools = Tools(
            naming,
            Codes(Terminology.load(root), families),
            written[0],
            {
                name: tuple(dict.fromkeys(uri for one in written for uri in by_guide.get(one) or by_guide["vn-basic"]))
                for name, by_guide in shared["systems"].items()
            },
            {kind: tuple(row.get(written[0]) or row["vn-basic"]) for kind, row in extensions.items()},
            zone,
            f"{guide}-{_digest(_shared_files(root))}",
            Finish.load(root, guide, naming, extensions),
            frozenset(filter(None, restricted.replace(" ", "").split(","))),
        )
        made: dict[str, Format] = {}
        for folder in (*_folders(mappings), *(_folders(more) if more is not None else ())):
            if folder.name in made:
                raise MappingFault(f"{folder}: there is a format {folder.name!r} already")
            made[folder.name] = _read_format(folder, shared, tools)
        return cls(made, tools)


def _folders(mappings: Path) -> list[Path]:
    """Raises MappingFault for a folder that is none."""
    if not mappings.is_dir():
        raise MappingFault(f"{mappings} is no folder of record formats")
    return sorted(file.parent for file in mappings.glob("*/mapping.json"))


def _read_format(folder: Path, shared: Mapping[str, Any], tools: Tools) -> Format:
    try:
        return Format(folder.name, read_mapping(folder, shared), tools, folder)
    except KeyError as fault:
        raise MappingFault(f"{folder / 'mapping.json'}: {fault.args[0]!r} is missing or does not exist") from fault
    except (ValueError, TypeError, FhirError, OSError) as fault:
        raise MappingFault(f"{folder / 'mapping.json'}: {fault}") from fault


def _xml(container: Mapping[str, Any]) -> XmlContainer:
    return XmlContainer(
        container["root"],
        container["record"],
        tuple(container.get("context", ())),
        container.get("stray", ""),
        Parts(**container["parts"]) if "parts" in container else None,
        container.get("count", ""),
        container.get("signature", ""),
    )


def _shared_files(root: Path) -> list[Path]:
    own = root / "profiles" / "vn_basic"
    terminology = sorted(root.glob("terminology/*/*.json"))
    return [root / "mappings" / "shared.json", *terminology, own / "extensions.json", own / "claims.json"]


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _known_paths(data: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    yield from _key_paths(data["record"])
    for path in (*data.get("also_read", ()), *_label_paths(data)):
        yield split_path(path)
    yield from _group_paths(data["resources"], ())


def _key_paths(record: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    written, request = record.get("written", {"source": ()}), record.get("request", ())
    keys = (path for paths in record["key"] for path in paths)
    for path in (*keys, *record["facility"], *record["date"]["source"], *written["source"], *request):
        yield split_path(path)


def _group_paths(
    groups: Any, above: tuple[str, ...], chain: tuple[tuple[str, ...], ...] = ()
) -> Iterator[tuple[str, ...]]:
    for group in groups:
        each = group.get("each", ".").rpartition("*")[0] or group.get("each", ".")
        here = split_path(each) if each.startswith("/") else above + split_path(each)
        yield here
        yield from map(split_path, group.get("each_of", ()))
        found = [*group.get("key", ()), *group.get("split", ()), *group.get("group_by", ())]
        found += [*_conditions(group.get("when")), *_label_paths(group)]
        found += (group.get("date") or {}).get("source", ())
        for row in group["rows"]:
            source = row.get("source", [])
            found += source if isinstance(source, list) else [source]
            found += _conditions(row.get("when"))
            found += [path for name, path in row.get("with", {}).items() if name.endswith("_from")]
        found += [path for note in group.get("notes", ()) for path in _conditions(note["when"])]
        for path in found:
            yield _absolute(path, here, chain)
        yield from _group_paths(group.get("resources", ()), here, (*chain, here))


def _conditions(when: Any) -> list[str]:
    if not when:
        return []
    return [path.removesuffix("[]") for one in ([when] if isinstance(when, Mapping) else when) for path in one]


def _label_paths(data: Mapping[str, Any]) -> list[str]:
    return [path for label in data.get("labels", ()) for path in _conditions(label.get("when"))]


def _absolute(path: str, here: tuple[str, ...], chain: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """chain: where the groups around stand; `../` goes out to the nearest of them."""
    if path.startswith("/"):
        return split_path(path)
    ups = path.count("../")
    inner = tuple(part for part in split_path(path.replace("../", "")) if part != "*")
    return (chain[-ups] if ups else here) + inner
