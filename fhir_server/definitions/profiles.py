"""Profiles: StructureDefinitions read as trees of what they add to the type they constrain (R4 Profiling FHIR).

A profile's tree holds its own differential laid over its parent's, down to R4 itself, whose tree is empty; that is the
snapshot without what base R4 says anyway. A definition without a differential is read from its snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.packages import version_key
from fhir_server.definitions.structures import Binding, Constraint, Element
from fhir_server.model.resources import Resource, decode

CORE = "http://hl7.org/fhir/StructureDefinition/"
# How long a line of parents may be.
_MOST_PARENTS = 20
_MIN_LENGTH = CORE + "minLength"
_TRANSLATION = CORE + "translation"
_EXTENSIONS = frozenset({"extension", "modifierExtension"})
_MAX_VALUE_SET = CORE + "elementdefinition-maxValueSet"


@dataclass(frozen=True, slots=True)
class ProfileType:
    """A type an element may have: profiles, any of which its value must satisfy; targets, what a reference may name."""

    code: str
    profiles: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Discriminator:
    """type: value | exists | pattern | type | profile. path: FHIRPath of R4's restricted kind, `$this` or `code`."""

    type: str
    path: str


@dataclass(frozen=True, slots=True)
class Slicing:
    discriminators: tuple[Discriminator, ...]
    rules: str = "open"
    ordered: bool = False


@dataclass(slots=True)
class ProfileElement:
    """What a profile says of one element, or of one slice of it; None and () where it says nothing.

    children: by the name in the path, `value[x]` for a choice. slices: by slice name. max None: no limit of its own.
    is_modifier None: it contradicts itself.
    """

    name: str
    slice: str | None = None
    min: int = 0
    max: int | None = None
    types: tuple[ProfileType, ...] = ()
    fixed: Any = None
    pattern: Any = None
    binding: Binding | None = None
    max_value_set: str | None = None
    constraints: dict[str, Constraint] = field(default_factory=dict)
    min_length: int | None = None
    max_length: int | None = None
    min_value: Any = None
    max_value: Any = None
    must_support: bool = False
    is_modifier: bool | None = False
    slicing: Slicing | None = None
    children: dict[str, ProfileElement] = field(default_factory=dict)
    slices: dict[str, ProfileElement] = field(default_factory=dict)

    def walk(self, path: str) -> Iterator[tuple[str, ProfileElement]]:
        """(path with slice names, element) of this and everything below."""
        yield path, self
        for name, child in self.children.items():
            yield from child.walk(f"{path}.{name}")
        for name, one in self.slices.items():
            yield from one.walk(f"{path}:{name}")


@dataclass(frozen=True, slots=True)
class Context:
    """Where an extension may stand (R4 StructureDefinition.context): on elements by their ids, in extensions by URL, at
    FHIRPaths from the resource; anywhere when there is none of them. invariants: FHIRPath (contextInvariant)."""

    elements: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    invariants: tuple[str, ...] = ()

    @property
    def allowed(self) -> tuple[str, ...]:
        return self.elements + self.extensions + self.paths


@dataclass(frozen=True, slots=True)
class Profile:
    """url, version: its canonical. type: the R4 type it constrains. problems: what is wrong with the definition.
    context: of an extension."""

    url: str
    version: str | None
    type: str
    root: ProfileElement
    problems: tuple[str, ...] = ()
    context: Context = Context()

    @property
    def must_support(self) -> tuple[str, ...]:
        """Paths of the elements flagged mustSupport, slices named after a colon."""
        return tuple(path for path, element in self.root.walk(self.type) if element.must_support)


def shipped_profiles(root: Path) -> list[Resource]:
    """Our own StructureDefinitions. root: the folder that holds profiles/ (`config.DATA_ROOT`)."""
    files = sorted((root / "profiles" / "vn_basic" / "structure_definitions").glob("*.json"))
    return [decode(file.read_bytes()) for file in files]


class Head(msgspec.Struct):
    """What must be known of a definition to find it."""

    resourceType: str  # noqa: N815
    url: str = ""
    version: str | None = None
    id: str | None = None
    type: str | None = None


def read_head(content: bytes) -> Head:
    """The head of a definition as JSON. Raises msgspec.DecodeError."""
    return msgspec.json.decode(content, type=Head)


@dataclass(slots=True)
class _Source:
    """A StructureDefinition, parsed when it is first needed."""

    head: Head
    content: Resource | bytes

    @classmethod
    def of(cls, content: Resource | bytes) -> _Source:
        """Raises msgspec.DecodeError or ValidationError for what is none."""
        if isinstance(content, bytes):
            return cls(read_head(content), content)
        return cls(msgspec.convert(content, Head), content)

    @property
    def resource(self) -> Resource:
        found: Resource = decode(self.content) if isinstance(self.content, bytes) else self.content
        self.content = found
        return found


class Profiles:
    """The profiles that are loaded, by canonical URL; each is read when it is first asked for."""

    def __init__(self, definitions: Definitions, resources: Iterable[Resource | bytes]) -> None:
        """resources: StructureDefinitions, parsed or as JSON. Of two with one URL and version the later one counts; a
        URL without a version means the latest version. Those that define R4's own types are passed over."""
        self._definitions = definitions
        self._sources: dict[str, _Source] = {}
        self._read: dict[str, Profile | None] = {}
        for source in map(_Source.of, resources):
            head = source.head
            if head.resourceType != "StructureDefinition" or not head.url or self._is_of_r4(head):
                continue
            self._sources[f"{head.url}|{head.version}"] = source
            known = self._sources.get(head.url)
            if known is None or version_key(known.head.version) <= version_key(head.version):
                self._sources[head.url] = source

    def _is_of_r4(self, head: Head) -> bool:
        return head.url.startswith(CORE) and head.url.removeprefix(CORE) in self._definitions.structure_names

    def by_id(self, id: str) -> Resource | None:
        """The StructureDefinition with an id; None when none has it, or several with different URLs do."""
        found = {source.head.url: source for source in self._sources.values() if source.head.id == id}
        return self._sources[next(iter(found))].resource if len(found) == 1 else None

    @property
    def urls(self) -> frozenset[str]:
        return frozenset(url for url in self._sources if "|" not in url)

    def get(self, canonical: str) -> Profile | None:
        """The profile of a canonical, with or without a version; None when it is not loaded or constrains nothing."""
        if canonical not in self._read:
            source = self._sources.get(canonical)
            if source is None:  # not remembered: senders may claim what they like
                return None
            self._read[canonical] = self._profile(source.resource, 0)
        return self._read[canonical]

    def type_of(self, canonical: str) -> str | None:
        """The R4 type that a canonical is or constrains; None when it is not known."""
        name = canonical.partition("|")[0].removeprefix(CORE)
        if name in self._definitions.structure_names:
            return name
        source = self._sources.get(canonical)
        return source.head.type if source is not None else None

    def _profile(self, source: Resource, depth: int) -> Profile | None:
        type = source.get("type")
        if type not in self._definitions.structure_names:
            return None
        problems: list[str] = []
        root = self._parent_tree(source, type, depth, problems)
        reader = _Reader(self._definitions, type, root, problems)
        for element in _elements(source):
            reader.add(element, source["url"])
        return Profile(source["url"], source.get("version"), type, root, tuple(problems), _context(source))

    def _parent_tree(self, source: Resource, type: str, depth: int, problems: list[str]) -> ProfileElement:
        parent = source.get("baseDefinition")
        if not isinstance(parent, str) or parent.removeprefix(CORE) in self._definitions.structure_names:
            return ProfileElement(type)
        found = self._sources.get(parent)
        if found is None or depth > _MOST_PARENTS:
            problems.append(f"its parent {parent} is not loaded")
            return ProfileElement(type)
        above = self._profile(found.resource, depth + 1)
        if above is None or above.type != type:
            problems.append(f"its parent {parent} constrains another type")
            return ProfileElement(type)
        problems.extend(above.problems)
        return deepcopy(above.root)


def _context(source: Resource) -> Context:
    rows = [(row.get("type"), row.get("expression", "")) for row in source.get("context", ())]
    elements, extensions, paths = (
        tuple(text for kind, text in rows if kind == type) for type in ("element", "extension", "fhirpath")
    )
    return Context(elements, extensions, paths, tuple(source.get("contextInvariant", ())))


def _elements(source: Resource) -> list[Resource]:
    """The differential, or the snapshot where there is none."""
    for part in ("differential", "snapshot"):
        found = (source.get(part) or {}).get("element")
        if found:
            return [one for one in found if isinstance(one, dict) and isinstance(one.get("path"), str)]
    return []


_SEGMENT = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9]*(?:\[x\])?)(?::(?P<slice>.+))?")


@dataclass
class _Reader:
    """Lays the elements of one definition over a tree."""

    definitions: Definitions
    type: str
    root: ProfileElement
    problems: list[str]
    # The slice that the elements after it belong to, by path, for definitions whose elements have no ids.
    open_slices: dict[str, str] = field(default_factory=dict)

    def add(self, row: Resource, url: str) -> None:
        node = self._node(row)
        if node is not None:
            _lay(node, row, url)

    def _node(self, row: Resource) -> ProfileElement | None:
        node, place = self.root, (self.type, "")
        for name, slice in self._segments(row)[1:]:
            found = self._base(*place, name)
            if found is None:
                self.problems.append(f"there is no element {row['path']} in {self.type}")
                return None
            element, key = found
            own_name = element.path.rpartition(".")[2]
            node = node.children.setdefault(own_name, ProfileElement(own_name))
            implied = key or (slice if element.is_choice and slice in dict(element.json_names()) else None)
            if implied is not None and implied == (slice or key):  # `valueQuantity`: R4's name of a slice by type
                node.slicing = node.slicing or Slicing((Discriminator("type", "$this"),))
            elif slice is not None and own_name in _EXTENSIONS:  # R4's own slicing of them, which need not be repeated
                node.slicing = node.slicing or Slicing((Discriminator("value", "url"),))
            for one in slice_line(slice or key):
                node = node.slices.setdefault(one, ProfileElement(own_name, one))
            place = self._below(place[0], element, implied, node)
            if implied is not None and not node.types:
                node.types = (ProfileType(place[0]),)
        return node

    def _segments(self, row: Resource) -> list[tuple[str, str | None]]:
        """(name, slice) of each step: by the id, or by the path and the slices that were opened before."""
        id = row.get("id")
        if isinstance(id, str) and re.sub(r":[^.]+", "", id).count(".") == row["path"].count("."):
            found = [_SEGMENT.fullmatch(part) for part in id.split(".")]
            if all(found):
                return [(one["name"], one["slice"]) for one in found if one is not None]
        path = row["path"]
        if isinstance(row.get("sliceName"), str):
            self.open_slices[path] = row["sliceName"]
        elif path in self.open_slices:
            del self.open_slices[path]
        parts = path.split(".")
        places = [".".join(parts[: count + 1]) for count in range(len(parts))]
        return [(part, self.open_slices.get(place)) for part, place in zip(parts, places, strict=True)]

    def _base(self, type: str, path: str, name: str) -> tuple[Element, str | None] | None:
        """The element that a name means below a place, and the name itself when it is one type of a choice."""
        for element in self.definitions.structure(type).children(path):
            if name in (element.path.rpartition(".")[2], element.name):
                return element, None
            if element.is_choice and any(name == key for key, _ in element.json_names()):
                return element, name
        return None

    def _below(self, type: str, element: Element, key: str | None, node: ProfileElement) -> tuple[str, str]:
        """Where the children of an element stand; those of a choice of several types are any Element's."""
        if element.content is not None:
            return type, element.content
        if self.definitions.structure(type).children(element.path):
            return type, element.path
        named = [one.code for name, one in element.json_names() if element.is_choice and name == key]
        codes = named or [one.code for one in node.types] or [one.code for one in element.types]
        return (
            (codes[0], "") if len(set(codes)) == 1 and codes[0] in self.definitions.structure_names else ("Element", "")
        )


def slice_line(slice: str | None) -> list[str]:
    """`a/b`, a slice of a slice, as [`a`, `a/b`]."""
    if not slice:
        return []
    parts = slice.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _lay(node: ProfileElement, row: Resource, url: str) -> None:
    """Puts what a row says over what the tree says already."""
    if isinstance(row.get("min"), int):
        node.min = row["min"]
    if isinstance(row.get("max"), str) and (row["max"] == "*" or row["max"].isdecimal()):
        node.max = None if row["max"] == "*" else int(row["max"])
    if row.get("type"):
        node.types = tuple(_type(one) for one in row["type"])
    for key, value in row.items():
        if key.startswith("fixed"):
            node.fixed = value
        elif key.startswith("pattern"):
            node.pattern = value
        elif key.startswith("minValue"):
            node.min_value = value
        elif key.startswith("maxValue"):
            node.max_value = value
    binding = row.get("binding") or {}
    if "valueSet" in binding:
        node.binding = Binding(binding.get("strength", "example"), binding["valueSet"].partition("|")[0])
    limits = (one.get("valueCanonical") for one in binding.get("extension", ()) if one.get("url") == _MAX_VALUE_SET)
    node.max_value_set = next(limits, node.max_value_set)
    node.constraints.update((one.key, one) for one in _own_constraints(row, url))
    node.max_length = row.get("maxLength", node.max_length)
    lengths = (one.get("valueInteger") for one in row.get("extension", ()) if one.get("url") == _MIN_LENGTH)
    node.min_length = next(lengths, node.min_length)
    node.must_support = row.get("mustSupport", node.must_support)
    if "isModifier" in row:  # one that gives no reason breaks eld-18, and cannot be taken at its word
        node.is_modifier = None if row["isModifier"] and "isModifierReason" not in row else row["isModifier"]
    if "slicing" in row:
        node.slicing = _slicing(row["slicing"], node.slicing)


def _type(row: Mapping[str, Any]) -> ProfileType:
    code = row.get("code", "Element")
    name = "string" if code.startswith("http://hl7.org/fhirpath/") else code
    return ProfileType(name, tuple(row.get("profile", ())), tuple(row.get("targetProfile", ())))


def _own_constraints(row: Resource, url: str) -> Iterator[Constraint]:
    for one in row.get("constraint", ()):
        key = one.get("key", "")
        if one.get("source", url) == url and isinstance(one.get("expression"), str):
            human = one.get("human", key)
            yield Constraint(key, one.get("severity", "error"), human, one["expression"], _vietnamese(one))


def _vietnamese(row: Resource) -> str:
    """What a constraint asks in Vietnamese, by HL7's extension for translations of a text."""
    for one in (row.get("_human") or {}).get("extension", ()):
        parts = {part.get("url"): part for part in one.get("extension", ())} if one.get("url") == _TRANSLATION else {}
        if parts.get("lang", {}).get("valueCode") == "vi":
            return str(parts.get("content", {}).get("valueString", ""))
    return ""


def _slicing(row: Mapping[str, Any], before: Slicing | None) -> Slicing:
    rows = row.get("discriminator", ())
    found = tuple(Discriminator(one.get("type", "value"), one.get("path", "$this")) for one in rows)
    discriminators = found or (before.discriminators if before else ())
    return Slicing(discriminators, row.get("rules", "open"), row.get("ordered", False))
