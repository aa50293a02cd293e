"""The terminology that is shipped or added: found at once, read when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fhir_server.config import DATA_ROOT
from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource, decode
from fhir_server.terminology.code_systems import CodeSystem, Coding, Concept
from fhir_server.terminology.concept_maps import ConceptMap

T = TypeVar("T")

# Folders of terminology/ and the type of resource each holds, one a file.
_FOLDERS = {"code_systems": "CodeSystem", "value_sets": "ValueSet", "concept_maps": "ConceptMap"}
# HL7's own, one a line; they are known by URL only.
_HL7 = {"hl7/code_systems.ndjson": "CodeSystem", "hl7/value_sets.ndjson": "ValueSet"}


class _Head(msgspec.Struct):
    """What must be known of a definition to find it."""

    resourceType: str  # noqa: N815
    id: str
    url: str
    version: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A definition that is not parsed yet: a file, a part of one, or a resource from elsewhere."""

    head: _Head
    file: Path | None = None
    start: int = 0
    length: int = -1
    resource: Resource | None = None
    by_id: bool = True

    def read(self) -> Resource:
        if self.resource is not None:
            return self.resource
        assert self.file is not None
        with self.file.open("rb") as stream:
            stream.seek(self.start)
            content: Resource = decode(stream.read(self.length))
        return content


class Terminology:
    """Code systems, value sets and concept maps by canonical URL (`url` or `url|version`) or by our own short id.

    Reading the headers of all files takes milliseconds; a definition is parsed when first asked for and kept. Nothing
    changes afterwards: `with_resources` makes another one.
    """

    def __init__(self, entries: Iterable[_Entry]) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._made: dict[tuple[str, str], Any] = {}
        self._ids: dict[str, list[str]] = {}
        for entry in entries:
            type, head = entry.head.resourceType, entry.head
            keys = [head.id, head.url] if entry.by_id else [head.url]
            if head.version:
                keys.append(f"{head.url}|{head.version}")
            for key in keys:
                self._entries[(type, key)] = entry

    @classmethod
    def load(cls, root: Path = DATA_ROOT) -> Terminology:
        """Reads the headers of all definitions below root/terminology. root: the folder that holds terminology/.

        Raises FhirError(INVALID) for a file that is no such definition, OSError when the folder is not there.
        """
        folder = root / "terminology"
        folder.stat()
        return cls(_entries(folder))

    def with_resources(self, resources: Iterable[Resource]) -> Terminology:
        """These definitions and those of `resources` (CodeSystem, ValueSet, ConceptMap), which win over equal URLs."""
        added = [_Entry(msgspec.convert(resource, _Head), resource=resource) for resource in resources]
        return Terminology([*dict.fromkeys(self._entries.values()), *added])

    def urls(self, type: str) -> list[str]:
        """The canonical URLs of one type, sorted."""
        return sorted({entry.head.url for (kind, _), entry in self._entries.items() if kind == type})

    def versions(self, type: str) -> list[tuple[str, str | None]]:
        """The canonical URL of each definition of one type with its version, sorted; nothing is parsed for it."""
        found = {(entry.head.url, entry.head.version) for (kind, _), entry in self._entries.items() if kind == type}
        return sorted(found, key=lambda pair: (pair[0], pair[1] or ""))

    def knows(self, system: str, code: str) -> bool:
        """True for a code that a loaded code system lists."""
        found = self.code_system(system)
        return found is not None and code in found.concepts

    def ids(self, type: str) -> list[str]:
        """Our short ids of one type, sorted."""
        if type not in self._ids:
            found = {entry.head.id for (kind, _), entry in self._entries.items() if kind == type and entry.by_id}
            self._ids[type] = sorted(found)
        return self._ids[type]

    def resource(self, type: str, key: str) -> Resource | None:
        """The resource itself; its JSON is read each time, for it is not kept."""
        entry = self._entry(type, key)
        return entry.read() if entry else None

    def code_system(self, key: str) -> CodeSystem | None:
        """A code system by URL, `url|version` or id; None when it is not loaded."""
        return self._get("CodeSystem", key, CodeSystem)

    def value_set(self, key: str) -> Resource | None:
        """A ValueSet resource by URL, `url|version` or id."""
        return self._get("ValueSet", key, dict)

    def concept_map(self, key: str) -> ConceptMap | None:
        """A concept map by URL, `url|version` or id."""
        return self._get("ConceptMap", key, ConceptMap)

    def _get(self, type: str, key: str, make: Callable[[Resource], T]) -> T | None:
        entry = self._entry(type, key)
        if entry is None:
            return None
        kept = (type, entry.head.url + "|" + (entry.head.version or ""))
        made: T | None = self._made.get(kept)
        if made is None:
            made = self._made.setdefault(kept, make(entry.read()))
        return made

    def _entry(self, type: str, key: str) -> _Entry | None:
        return self._entries.get((type, key))

    def lookup(self, system: str, code: str, on: date | None = None) -> Concept | None:
        """The concept of a code, as of a day.

        None when the system is not loaded, was not in force on that day, or has no such code then: `24` of the
        provinces of today is Bắc Ninh, and nothing at all in 2024.
        """
        found = self.code_system(system)
        if found is None or not found.period.holds(on):
            return None
        concept = found.get(code)
        return concept if concept is not None and concept.active(on) else None

    def find(self, system: str, text: str, on: date | None = None) -> Concept | None:
        """The concept with this code, or with this name after folding; None when none or several have it."""
        found = self.code_system(system)
        if found is None or not found.period.holds(on):
            return None
        concept = found.get(text) or found.find(text)
        return concept if concept is not None and concept.active(on) else None

    def coding(self, system: str, code: str, on: date | None = None) -> Coding | None:
        """The Coding of a code with its display, as of a day."""
        concept = self.lookup(system, code, on)
        found = self.code_system(system)
        return found.coding(concept) if concept is not None and found is not None else None


def _entries(folder: Path) -> Iterator[_Entry]:
    """Every definition; ours after HL7's, so that they win."""
    for name, type in _HL7.items():
        file, start = folder / name, 0
        for line in file.read_bytes().splitlines(keepends=True) if file.exists() else ():
            yield _Entry(_head(line, type, file), file, start, len(line), by_id=False)
            start += len(line)
    for name, type in _FOLDERS.items():
        for file in sorted((folder / name).glob("*.json")):
            yield _Entry(_head(file.read_bytes(), type, file), file)


def _head(content: bytes, type: str, file: Path) -> _Head:
    try:
        head = msgspec.json.decode(content, type=_Head)
    except msgspec.DecodeError as fault:
        raise FhirError(Kind.INVALID, f"{file}: {fault}") from None
    if head.resourceType != type:
        raise FhirError(Kind.INVALID, f"{file}: a {head.resourceType} among the {type} resources")
    return head
