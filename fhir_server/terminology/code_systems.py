"""Code systems as they are asked: by code, by name, by date, by place in a hierarchy. R4 CodeSystem."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from functools import cached_property
from typing import Any

import msgspec

from fhir_server.terminology.folding import fold_name, fold_words
from fhir_server.terminology.neighbours import nearest

EFFECTIVE_PERIOD = "http://hl7.org/fhir/StructureDefinition/resource-effectivePeriod"
# CodeSystem.hierarchyMeaning that says nothing about subsumption (R4 CodeSystem).
_NOT_SUBSUMING = frozenset({"grouped-by", "part-of", "classified-with"})


class Coding(msgspec.Struct, frozen=True):
    """A code with its system, as R4's Coding."""

    system: str
    code: str
    display: str | None = None
    version: str | None = None

    def resource(self) -> dict[str, str]:
        """The Coding as FHIR JSON."""
        whole = {"system": self.system, "version": self.version, "code": self.code, "display": self.display}
        return {name: value for name, value in whole.items() if value is not None}


class Period(msgspec.Struct, frozen=True):
    """Days on which something held, both included; None is open."""

    start: date | None = None
    end: date | None = None

    def holds(self, on: date | None) -> bool:
        """True on that day, and for None, which asks for no day in particular."""
        return on is None or ((self.start is None or self.start <= on) and (self.end is None or on <= self.end))


ALWAYS = Period()


class Designation(msgspec.Struct, frozen=True):
    value: str
    language: str | None = None
    use: Mapping[str, Any] | None = None


class Concept(msgspec.Struct, frozen=True):
    """One code of a system. properties: (code, value as JSON) pairs; abstract: a grouping, not to be recorded.
    language: that of the display, where it is known."""

    code: str
    display: str | None = None
    definition: str | None = None
    designations: tuple[Designation, ...] = ()
    properties: tuple[tuple[str, str, Any], ...] = ()
    parents: tuple[str, ...] = ()
    language: str | None = None

    def values(self, property: str) -> tuple[Any, ...]:
        """The values of one property."""
        return tuple(value for code, _, value in self.properties if code == property)

    @property
    def abstract(self) -> bool:
        return True in self.values("notSelectable")

    def active(self, on: date | None = None) -> bool:
        """False when the concept is inactive, retired, or not of that day (R4 CodeSystem, properties)."""
        if True in self.values("inactive") or "retired" in self.values("status"):
            return False
        starts, ends = self.values("effectiveDate"), self.values("deprecationDate")
        return Period(_day(starts[0]) if starts else None, _day(ends[0]) if ends else None).holds(on)

    def names(self) -> Iterator[str]:
        """The display and every other name."""
        if self.display:
            yield self.display
        yield from (one.value for one in self.designations)

    def display_in(self, language: str | None) -> str | None:
        """The name in that language (`vi`, `en-GB`): the display where it is of that language, else the first other
        name that is; the display where none is."""
        if language and _base(self.language) != _base(language):
            named = [one.value for one in self.designations if _base(one.language) == _base(language)]
            if named and self.display not in named:
                return named[0]
        return self.display


def _base(language: str | None) -> str:
    """`en-GB` as `en`."""
    return language.partition("-")[0].lower() if language else ""


class CodeSystem:
    """A CodeSystem resource made ready for questions; tables are built when first asked for."""

    def __init__(self, resource: Mapping[str, Any]) -> None:
        self.url: str = resource.get("url", "")
        self.version: str | None = resource.get("version")
        self.title: str = resource.get("title") or resource.get("name") or self.url
        self.language: str | None = resource.get("language")
        self.content: str = resource.get("content", "complete")
        self.period = period_of(resource)
        self.case_sensitive: bool = resource.get("caseSensitive", True)
        self.subsuming: bool = resource.get("hierarchyMeaning", "is-a") not in _NOT_SUBSUMING
        self.shape = _shape(resource)
        self.structure = _STRUCTURES.get(_own_extension(resource, "code-structure"))
        listed = _concepts(resource.get("concept", ()), (), self.language)
        self.concepts: Mapping[str, Concept] = {one.code: one for one in listed}

    @property
    def complete(self) -> bool:
        """True when a code that is not listed does not exist."""
        return self.content == "complete"

    def get(self, code: str) -> Concept | None:
        """The concept of a code, in any case of letters where the system says that case does not matter."""
        found = self.concepts.get(code)
        if found is None and not self.case_sensitive:
            return self._by_lower_code.get(code.lower())
        return found

    def find(self, text: str) -> Concept | None:
        """The concept that bears this name after folding. A display goes before other names; a name shared by
        several concepts identifies none."""
        key = fold_name(text)
        for table in (self._by_display, self._by_name):
            found = table.get(key, ())
            if len(found) == 1:
                return self.concepts[found[0]]
            if found:
                return None
        return None

    def neighbours(self, code: str, most: int) -> tuple[Concept, ...]:
        """The listed concepts that may have been meant by a code, or by a name, that is not one; best first."""
        near = nearest(code, self.concepts, most) or self._alike(code)
        return tuple(self.concepts[one] for one in near[:most])

    def _alike(self, name: str) -> list[str]:
        """Those that have a name with words that begin so; else with the first word."""
        words = fold_words(name)
        for wanted in (words, words[:1]):
            found = self.beginning(wanted) if wanted else frozenset()
            if found:
                return sorted(found)
        return []

    def beginning(self, words: tuple[str, ...]) -> frozenset[str]:
        """The codes with a name in which each of the folded words begins a word."""
        places = [self._beginning_with(word) for word in words]
        return frozenset(code for code, _ in set.intersection(*places)) if places else frozenset(self.concepts)

    def bearing(self, words: tuple[str, ...], more: frozenset[str] = frozenset()) -> list[Concept]:
        """In the order of the list those with a name of which each word begins a word; one word alone may begin the
        code instead. more: codes that are wanted beside them."""
        found = set(self.beginning(words)) | (more & self.concepts.keys())
        if len(words) == 1:
            low = bisect_left(self._folded_codes, (words[0],))
            high = bisect_left(self._folded_codes, (words[0] + "\U0010ffff",))
            found.update(code for _, code in self._folded_codes[low:high])
        return [self.concepts[code] for code in sorted(found, key=self._places.__getitem__)]

    @cached_property
    def listed(self) -> tuple[Concept, ...]:
        """Every concept that is in memory."""
        return tuple(self.concepts.values())

    @cached_property
    def _folded_codes(self) -> list[tuple[str, str]]:
        return sorted((code.casefold(), code) for code in self.concepts)

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {code: place for place, code in enumerate(self.concepts)}

    def _beginning_with(self, word: str) -> set[tuple[str, int]]:
        low = bisect_left(self._words, (word,))
        high = bisect_left(self._words, (word + "\U0010ffff",))
        return {(code, name) for _, code, name in self._words[low:high]}

    def coding(self, concept: Concept, language: str | None = None) -> Coding:
        return Coding(self.url, concept.code, concept.display_in(language))

    def has(self, code: str) -> bool | None:
        """True for a code of the system, False for none, None when what is loaded cannot tell."""
        if self.get(code) is not None:
            return True
        if self.complete or (self.shape is not None and not self.shape.fullmatch(code)):
            return False
        return None

    def parents(self, code: str) -> tuple[str, ...]:
        """The codes next above: as the concepts say, else (ICD-10) the code with its last character cut off."""
        concept = self.get(code)
        if concept is not None and concept.parents:
            return concept.parents
        return self.structure(code, self.concepts) if self.structure is not None else ()

    def children(self, code: str) -> tuple[str, ...]:
        """The listed codes next below."""
        return self._children.get(code, ())

    def ancestors(self, code: str) -> set[str]:
        """Every code above, the code itself left out."""
        return _closure(code, self.parents)

    def descendants(self, code: str) -> set[str]:
        """Every listed code below, the code itself left out."""
        return _closure(code, self.children)

    def is_below(self, code: str, above: str) -> bool | None:
        """True when `above` subsumes `code` and is another; None when either code is not known to the system."""
        if not self.has(code) and not (self.structure and self.has(code) is None):
            return False if self.complete else None
        return self.subsuming and above in self.ancestors(code)

    @cached_property
    def _words(self) -> list[tuple[str, str, int]]:
        """(folded word, code, number of the name) of all names, sorted."""
        return sorted(
            (word, concept.code, number)
            for concept in self.concepts.values()
            for number, name in enumerate(concept.names())
            for word in fold_words(name)
        )

    @cached_property
    def _by_lower_code(self) -> Mapping[str, Concept]:
        return {code.lower(): concept for code, concept in self.concepts.items()}

    @cached_property
    def _children(self) -> Mapping[str, tuple[str, ...]]:
        children: dict[str, list[str]] = {}
        for concept in self.concepts.values():
            for parent in self.parents(concept.code):
                children.setdefault(parent, []).append(concept.code)
        return {parent: tuple(codes) for parent, codes in children.items()}

    @cached_property
    def _by_display(self) -> Mapping[str, tuple[str, ...]]:
        return _index((one.code, (one.display,) if one.display else ()) for one in self.concepts.values())

    @cached_property
    def _by_name(self) -> Mapping[str, tuple[str, ...]]:
        return _index((one.code, tuple(one.names())) for one in self.concepts.values())


def period_of(resource: Mapping[str, Any]) -> Period:
    """The days on which a definition was in force, from HL7's extension resource-effectivePeriod."""
    for extension in resource.get("extension", ()):
        if extension.get("url") == EFFECTIVE_PERIOD:
            period = extension["valuePeriod"]
            return Period(_day(period.get("start")), _day(period.get("end"), last=True))
    return ALWAYS


def _day(text: str | None, last: bool = False) -> date | None:
    """The first day that a FHIR date or dateTime names, or the last."""
    if not text:
        return None
    parts = [int(part) for part in text[:10].split("-")]
    if len(parts) == 3:
        return date(*parts)
    year, month = parts[0], parts[1] if len(parts) > 1 else (12 if last else 1)
    if not last:
        return date(year, month, 1)
    following = date(year + month // 12, month % 12 + 1, 1)
    return date.fromordinal(following.toordinal() - 1)


def _concepts(listed: Any, parents: tuple[str, ...], language: str | None) -> Iterator[Concept]:
    """The concepts of a resource, nested ones with their parents, in the order of the list."""
    for one in listed:
        yield concept_of(one, parents, language)
        if "concept" in one:
            yield from _concepts(one["concept"], (one["code"],), language)


def concept_of(one: Mapping[str, Any], parents: tuple[str, ...] = (), language: str | None = None) -> Concept:
    """A CodeSystem.concept; those below it are left out. parents: the codes above it besides those that its properties
    name. language: that of the code system."""
    properties = tuple(_property(item) for item in one.get("property", ()))
    named = tuple(value for code, _, value in properties if code in _PARENT and value not in parents)
    return Concept(
        code=one["code"],
        display=one.get("display"),
        definition=one.get("definition"),
        designations=tuple(
            Designation(item["value"], item.get("language"), item.get("use")) for item in one.get("designation", ())
        ),
        properties=properties,
        parents=parents + named,
        language=language,
    )


# Properties of a concept that name what stands above it: R4's own, and that of HL7's version 3 lists.
_PARENT = frozenset({"parent", "subsumedBy"})


def _property(item: Mapping[str, Any]) -> tuple[str, str, Any]:
    """(code, name of the value[x], value)."""
    name = next(key for key in item if key.startswith("value"))
    return item["code"], name, item[name]


def _index(named: Iterable[tuple[str, tuple[str, ...]]]) -> Mapping[str, tuple[str, ...]]:
    index: dict[str, tuple[str, ...]] = {}
    for code, names in named:
        for key in {fold_name(name) for name in names}:
            index[key] = (*index.get(key, ()), code)
    return index


def _closure(code: str, step: Callable[[str], tuple[str, ...]]) -> set[str]:
    found: set[str] = set()
    waiting = list(step(code))
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting.extend(step(one))
    return found


Structure = Callable[[str, Mapping[str, Concept]], tuple[str, ...]]


# Dagger and asterisk say which of two codes is the disease and which its manifestation; they are no part of a code.
ICD10_MARKS = "†*+"


def icd10_parents(code: str, listed: Mapping[str, Concept]) -> tuple[str, ...]:
    """What stands above an ICD-10 code: `J02.9` above `J02.91`, `J02` above that, then the listed blocks and chapters
    whose range holds it. Marks of dagger and asterisk are no part of the place."""
    category, dot, rest = code.rstrip(ICD10_MARKS).partition(".")
    if dot:
        return (f"{category}.{rest[:-1]}",) if len(rest) > 1 else (category,)
    if "-" in category:
        return ()
    ranges = (one.partition("-") for one in listed if "-" in one)
    return tuple(f"{low}-{high}" for low, _, high in ranges if low <= category <= high)


# How a system's codes tell what stands above them, by the value of our extension `code-structure`.
_STRUCTURES: Mapping[str | None, Structure] = {"icd-10": icd10_parents}


def _own_extension(resource: Mapping[str, Any], name: str) -> str | None:
    url = "urn:vn-basic:StructureDefinition:" + name
    found = (one for one in resource.get("extension", ()) if one.get("url") == url)
    return next((one.get("valueCode") or one.get("valueString") for one in found), None)


def _shape(resource: Mapping[str, Any]) -> re.Pattern[str] | None:
    """What every code of the system looks like, by our extension `code-pattern`; the operator's data, not a user's."""
    text = _own_extension(resource, "code-pattern")
    return re.compile(text) if text else None
