"""The terminology that is at hand: found at once by URL, version and day, read when first asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import structs

from fhir_server.config import DATA_ROOT
from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource, decode
from fhir_server.terminology.code_systems import CodeSystem, Coding, Concept, Period, period_of
from fhir_server.terminology.concept_maps import ConceptMap
from fhir_server.terminology.implicit import implicit, whole

T = TypeVar("T")

# Folders of terminology/ and the type of resource each holds, one a file.
_FOLDERS = {
    "code_systems": "CodeSystem",
    "value_sets": "ValueSet",
    "concept_maps": "ConceptMap",
}
# HL7's own, one a line; they are known by URL only.
_HL7 = {"hl7/code_systems.ndjson": "CodeSystem", "hl7/value_sets.ndjson": "ValueSet"}

_MAKERS: Mapping[str, Callable[[Resource], Any]] = {
    "CodeSystem": CodeSystem,
    "ValueSet": lambda resource: resource,
    "ConceptMap": ConceptMap,
}


class Group(msgspec.Struct, frozen=True):
    """The systems that a part of a concept map leads from and to."""

    source: str = ""
    target: str = ""


class Head(msgspec.Struct):
    """What must be known of a definition to find it."""

    resourceType: str  # noqa: N815
    id: str = ""
    url: str = ""
    version: str | None = None
    status: str = "active"
    date: str = ""
    content: str = "complete"
    valueSet: str = ""  # noqa: N815
    supplements: str = ""
    group: list[Group] = []
    extension: list[dict[str, Any]] = []
    uniqueId: list[dict[str, Any]] = []  # noqa: N815

    @property
    def canonical(self) -> str:
        return f"{self.url}|{self.version}" if self.version else self.url


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of one definition in a file."""

    file: Path
    start: int = 0
    length: int = -1

    def content(self) -> bytes:
        with self.file.open("rb") as stream:
            stream.seek(self.start)
            return stream.read(self.length)

    def read(self) -> Resource:
        resource: Resource = decode(self.content())
        return resource


@dataclass(frozen=True, slots=True)
class Given:
    """A definition that came as a resource."""

    resource: Resource

    def read(self) -> Resource:
        return self.resource


@dataclass(frozen=True, slots=True)
class Raw:
    """A definition that came as JSON."""

    content: bytes

    def read(self) -> Resource:
        read: Resource = decode(self.content)
        return read


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A definition that can be found. source: where its content is; by_id: our own short id names it, too. rank:
    definitions of a higher one go before others of the same URL."""

    head: Head
    source: Any
    by_id: bool = False
    rank: int = 0

    @property
    def period(self) -> Period:
        return period_of({"extension": self.head.extension})

    def order(self) -> tuple[Any, ...]:
        """Among definitions of one URL the last by this is the one that is meant when no version is named."""
        head, period = self.head, self.period
        return (
            head.status != "retired",
            self.rank,
            period.start or date.min,
            _natural(head.version or ""),
            head.date,
        )


def _natural(version: str) -> tuple[tuple[bool, int, str], ...]:
    """`2.10` stands behind `2.9`."""
    parts = re.split(r"(\d+)", version[:200])
    return tuple((part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts if part)


@dataclass(frozen=True, slots=True)
class Versions:
    """Definitions of one URL, the one to be preferred last."""

    entries: tuple[tuple[Period, Entry], ...]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Versions:
        return cls(tuple((entry.period, entry) for entry in sorted(entries, key=Entry.order)))

    def on(self, day: date) -> Entry:
        """The one in force on a day; the last of all when none was."""
        held = (entry for period, entry in reversed(self.entries) if period.holds(day))
        return next(held, self.entries[-1][1])


@dataclass
class Index:
    """Definitions by type and URL, `url|version`, or short id. whole: the value set that a code system names for all
    its codes -> the URL of the code system. supplements: the URL of a code system -> what supplements it."""

    by_url: dict[tuple[str, str], Versions] = field(default_factory=dict)
    by_key: dict[tuple[str, str], Entry] = field(default_factory=dict)
    whole: dict[str, str] = field(default_factory=dict)
    supplements: dict[str, list[Entry]] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Index:
        urls: dict[tuple[str, str], list[Entry]] = {}
        index = cls()
        for entry in sorted(entries, key=lambda entry: entry.rank):
            type, head = entry.head.resourceType, entry.head
            urls.setdefault((type, head.url), []).append(entry)
            if head.valueSet and type == "CodeSystem":
                index.whole[head.valueSet] = head.url
            if head.supplements and head.content == "supplement":
                index.supplements.setdefault(head.supplements.partition("|")[0], []).append(entry)
            index.by_key[type, head.canonical] = entry
            if entry.by_id:
                index.by_key[type, head.id] = entry
        index.by_url = {name: Versions.of(found) for name, found in urls.items()}
        return index

    def entries(self, type: str) -> Iterator[Entry]:
        """Each definition of a type once: of several with one URL and version the one that is meant by them."""
        for (kind, _), versions in self.by_url.items():
            if kind == type:
                for _, entry in versions.entries:
                    if self.by_key[kind, entry.head.canonical] is entry:
                        yield entry


class Terminology:
    """Code systems, value sets and concept maps by canonical URL (`url` or `url|version`) or by our own short id.

    Of several versions of a URL the one in force on the day that is asked for is taken, without a day the one of today.
    Reading the headers of all files takes milliseconds; a definition is parsed when first asked for and kept. Nothing
    changes afterwards: `with_resources` makes another one.
    """

    def __init__(self, entries: Iterable[Entry], today: Callable[[], date] = date.today) -> None:
        self._index = Index.of(entries)
        self._made: dict[Entry, Any] = {}
        self._pins: Mapping[str, str] = {}
        self._forced: Mapping[str, str] = {}
        self.today = today

    @classmethod
    @cache
    def load(cls, root: Path = DATA_ROOT) -> Terminology:
        """Reads the headers of all definitions below root/terminology; those of one folder are one object. root: the
        folder that holds terminology/.

        Raises FhirError(INVALID) for a file that is no such definition, OSError when the folder is not there.
        """
        folder = root / "terminology"
        folder.stat()
        return cls(_entries(folder))

    def read(self) -> None:
        """Parses every definition now, for the processes that are forked from this one."""
        for entry in self.entries():
            self._made_of(entry)

    def with_resources(self, resources: Iterable[Resource]) -> Terminology:
        """These definitions and those of `resources` (CodeSystem, ValueSet, ConceptMap), which win over equal URLs."""
        added = [Entry(head_of(resource), Given(resource), by_id=True, rank=1) for resource in resources]
        return Terminology([*self.entries(), *added], self.today)

    @property
    def index(self) -> Index:
        """What is known; another one as soon as anything has changed."""
        return self._index

    def pinned(self, versions: Mapping[str, str], forced: Mapping[str, str] | None = None) -> Terminology:
        """The same with a version of some code systems (by URL) that is meant wherever none is named, and one that is
        meant whatever is named."""
        other = copy(self)
        other._pins = {**self._pins, **versions}
        other._forced = {**self._forced, **(forced or {})}
        return other

    @property
    def made(self) -> dict[Entry, Any]:
        """What has been read so far, for another Terminology that has the same definitions."""
        return self._made

    def entries(self, type: str | None = None) -> Iterator[Entry]:
        """Every definition, or those of one type."""
        for one in _MAKERS if type is None else (type,):
            yield from self._index.entries(one)

    def urls(self, type: str) -> list[str]:
        """The canonical URLs of one type, sorted."""
        return sorted({entry.head.url for entry in self.entries(type)})

    def versions(self, type: str) -> list[tuple[str, str | None]]:
        """The canonical URL of each definition of one type with its version, sorted; nothing is parsed for it."""
        found = {(entry.head.url, entry.head.version) for entry in self.entries(type)}
        return sorted(found, key=lambda pair: (pair[0], pair[1] or ""))

    def knows(self, system: str, code: str) -> bool:
        """True for a code that a loaded code system lists."""
        found = self.code_system(system)
        return found is not None and found.get(code) is not None

    @cached_property
    def _ids(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for entry in self.entries():
            if entry.by_id:
                found.setdefault(entry.head.resourceType, []).append(entry.head.id)
        return {type: sorted(ids) for type, ids in found.items()}

    def ids(self, type: str) -> list[str]:
        """Our short ids of one type, sorted."""
        return self._ids.get(type, [])

    def resource(self, type: str, key: str) -> Resource | None:
        """The resource itself; its JSON is read each time, for it is not kept."""
        entry = self.entry(type, key)
        return entry.source.read() if entry else None

    def code_system(self, key: str, on: date | None = None) -> CodeSystem | None:
        """A code system by URL, `url|version` or id; None when it is not loaded. on: the day whose version is meant."""
        entry = self.entry("CodeSystem", key, on)
        return self._made_of(entry) if entry else None

    def value_set(self, key: str, on: date | None = None) -> Resource | None:
        """A ValueSet resource by URL, `url|version` or id, or the one that the URL itself stands for."""
        entry = self.entry("ValueSet", key, on)
        if entry is None:
            system = self._index.whole.get(key)
            return whole(key, system) if system else implicit(key)
        found: Resource = self._made_of(entry)
        return found

    def concept_map(self, key: str, on: date | None = None) -> ConceptMap | None:
        """A concept map by URL, `url|version` or id."""
        entry = self.entry("ConceptMap", key, on)
        return self._made_of(entry) if entry else None

    def entry(self, type: str, key: str, on: date | None = None) -> Entry | None:
        """What a key names."""
        if type == "CodeSystem" and (self._pins or self._forced):
            key = self._as_pinned(key)
        versions = self._index.by_url.get((type, key))
        if versions is not None:
            return versions.on(on or self.today())
        return self._index.by_key.get((type, key))

    def _as_pinned(self, key: str) -> str:
        url, named, _ = key.partition("|")
        version = self._forced.get(url) or (None if named else self._pins.get(url))
        return f"{url}|{version}" if version else key

    def _made_of(self, entry: Entry) -> Any:
        made = self._made.get(entry)
        if made is None:
            made = self._made.setdefault(entry, make(entry, entry.source.read()))
        return made

    def lookup(self, system: str, code: str, on: date | None = None) -> Concept | None:
        """The concept of a code, as of a day.

        None when the system is not loaded, was not in force on that day, or has no such code then: `24` of the
        provinces of today is Bắc Ninh, and nothing at all in 2024.
        """
        found = self.code_system(system, on)
        if found is None or not found.period.holds(on):
            return None
        concept = found.get(code)
        return concept if concept is not None and concept.active(on) else None

    def supplemented(self, system: str, concept: Concept) -> Concept:
        """A concept of a system with the names and properties that supplements add to it (R4 CodeSystem)."""
        for entry in self._index.supplements.get(system, ()):
            more: CodeSystem | None = self._made_of(entry)
            added = more.concepts.get(concept.code) if more is not None else None
            if added is not None:
                names = (*concept.designations, *added.designations)
                concept = structs.replace(
                    concept, designations=names, properties=(*concept.properties, *added.properties)
                )
        return concept

    def named_by_supplements(self, system: str, words: tuple[str, ...]) -> frozenset[str]:
        """The codes of a system to which a supplement gives a name in which each of the folded words begins a word."""
        made = (self._made_of(entry) for entry in self._index.supplements.get(system, ()))
        return frozenset(code for more in made if more is not None for code in more.beginning(words))

    def find(self, system: str, text: str, on: date | None = None) -> Concept | None:
        """The concept with this code, or with this name after folding; None when none or several have it."""
        found = self.code_system(system, on)
        if found is None or not found.period.holds(on):
            return None
        concept = found.get(text) or found.find(text)
        return concept if concept is not None and concept.active(on) else None

    def coding(self, system: str, code: str, on: date | None = None) -> Coding | None:
        """The Coding of a code with its display, as of a day."""
        concept = self.lookup(system, code, on)
        found = self.code_system(system, on)
        return found.coding(concept) if concept is not None and found is not None else None


def make(entry: Entry, resource: Resource) -> Any:
    """What questions are put to: a CodeSystem, a ConceptMap, or for a value set the resource itself."""
    return _MAKERS[entry.head.resourceType](resource)


def head_of(resource: Resource) -> Head:
    return msgspec.convert(resource, Head, strict=False)


def read_head(content: bytes) -> Head:
    """The head of a definition as JSON. Raises msgspec.DecodeError."""
    return msgspec.json.decode(content, type=Head)


def _entries(folder: Path) -> Iterator[Entry]:
    """Every definition; ours go before HL7's."""
    for name, type in _HL7.items():
        file, start = folder / name, 0
        for line in file.read_bytes().splitlines(keepends=True) if file.exists() else ():
            yield Entry(_head(line, type, file), Part(file, start, len(line)), rank=-1)
            start += len(line)
    for name, type in _FOLDERS.items():
        for file in sorted((folder / name).glob("*.json")):
            yield Entry(_head(file.read_bytes(), type, file), Part(file), by_id=True)


def _head(content: bytes, type: str, file: Path) -> Head:
    try:
        head = read_head(content)
    except msgspec.DecodeError as fault:
        raise FhirError(Kind.INVALID, f"{file}: {fault}") from None
    if head.resourceType != type or not head.url:
        raise FhirError(Kind.INVALID, f"{file}: a {head.resourceType} among the {type} resources, or without a URL")
    return head
