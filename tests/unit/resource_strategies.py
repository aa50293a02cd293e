"""Resources of every type for property tests: well typed by the definitions, though not held to R4's rules."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.structures import Element, Structure, Type
from fhir_server.model.resources import decode

DEFINITIONS = Definitions.load(DATA_ROOT)
DEEPEST = 3  # elements inside elements
MOST_ELEMENTS = 4  # at each level

# Text that both JSON and XML can carry as it is: XML reads a carriage return as a line feed, and an attribute's line
# feed only when it is escaped, which the writer does.
SPOKEN = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
TEXT = st.text(SPOKEN, min_size=1, max_size=12).filter(lambda text: text.strip() != "")
TOKEN = st.from_regex(r"[A-Za-z0-9\-.]{1,12}", fullmatch=True)
URI = st.from_regex(r"(urn:|http://example\.org/)[a-z0-9/\-]{1,12}", fullmatch=True)
DECIMAL = st.from_regex(r"-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,8})?", fullmatch=True).map(lambda text: decode(text.encode()))
DIV = TEXT.map(
    lambda text: (
        '<div xmlns="http://www.w3.org/1999/xhtml">'
        + text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        + "</div>"
    )
)
PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "unsignedInt": st.integers(0, 2**31 - 1),
    "positiveInt": st.integers(1, 2**31 - 1),
    "decimal": DECIMAL,
    "date": st.sampled_from(["1985", "1985-03", "1985-03-02"]),
    "dateTime": st.sampled_from(["1985", "1985-03-02", "2024-02-29T23:59:60+07:00"]),
    "instant": st.just("2024-02-29T23:59:59.123456+07:00"),
    "time": st.just("07:30:00"),
    "base64Binary": st.just("QUJD"),
    "id": TOKEN,
    "code": TOKEN,
    "uri": URI,
    "url": URI,
    "canonical": URI,
    "oid": st.just("urn:oid:1.2.3"),
    "uuid": st.just("urn:uuid:0f0c5d0a-0000-4000-8000-000000000001"),
    "string": TEXT,
    "markdown": TEXT,
    "xhtml": DIV,
}
EXTENSION = st.tuples(URI, TEXT).map(lambda pair: {"url": pair[0], "valueString": pair[1]})
EXTRA = st.one_of(
    TOKEN.map(lambda id: {"id": id}),
    st.lists(EXTENSION, min_size=1, max_size=2).map(lambda extensions: {"extension": extensions}),
)


@st.composite
def resources(draw: st.DrawFn, depth: int = 0) -> dict[str, Any]:
    """A resource of any type, up to DEEPEST elements deep, with primitive extensions and contained resources."""
    type = draw(st.sampled_from(sorted(DEFINITIONS.resource_types)))
    return {"resourceType": type, **draw(children(DEFINITIONS.structure(type), "", depth))}


@st.composite
def children(draw: st.DrawFn, structure: Structure, path: str, depth: int) -> dict[str, Any]:
    """Some of the elements below a path, at least one, in the order of the definitions."""
    elements = [one for one in structure.children(path) if depth < DEEPEST or is_simple(one)]
    chosen = draw(
        st.lists(st.sampled_from(elements), min_size=1, max_size=MOST_ELEMENTS, unique_by=lambda one: one.path)
    )
    made: dict[str, Any] = {}
    for element in elements:
        if element in chosen or (element.name == "url" and structure.type == "Extension"):
            made |= draw(members(structure, element, depth))
    return made


def is_simple(element: Element) -> bool:
    return element.content is None and any(one.code in PRIMITIVES for one in element.types)


@st.composite
def members(draw: st.DrawFn, structure: Structure, element: Element, depth: int) -> dict[str, Any]:
    """The JSON properties of one element: its value or list, and what extends its primitive values."""
    if element.content is not None:
        return {element.name: draw(listed(element, children(structure, element.content, depth + 1)))}
    names = [(name, type) for name, type in element.json_names() if depth < DEEPEST or type.code in PRIMITIVES]
    name, type = draw(st.sampled_from(names))
    if type.code not in PRIMITIVES:
        return {name: draw(listed(element, value(structure, element, type, depth + 1)))}
    if element.xml is not None or not draw(st.booleans()):
        return {name: draw(listed(element, PRIMITIVES[type.code]))}
    return draw(extended(element, name, PRIMITIVES[type.code]))


@st.composite
def extended(draw: st.DrawFn, element: Element, name: str, values: st.SearchStrategy[Any]) -> dict[str, Any]:
    """A primitive with `_name` beside it: an id or an extension, with a value or without."""
    if not element.is_list:
        made = {name: draw(values)} if draw(st.booleans()) else {}
        return {**made, f"_{name}": draw(EXTRA)}
    kinds = draw(st.lists(st.sampled_from(["value", "extra", "both"]), min_size=1, max_size=3))
    made = {}
    if any(kind != "extra" for kind in kinds):
        made[name] = [None if kind == "extra" else draw(values) for kind in kinds]
    if any(kind != "value" for kind in kinds):
        made[f"_{name}"] = [None if kind == "value" else draw(EXTRA) for kind in kinds]
    return made


def listed(element: Element, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, min_size=1, max_size=2) if element.is_list else values


def value(structure: Structure, element: Element, type: Type, depth: int) -> st.SearchStrategy[Any]:
    if type.code in ("BackboneElement", "Element"):
        return children(structure, element.path, depth)
    if type.code == "Resource":
        return resources(DEEPEST)
    return children(DEFINITIONS.structure(type.code), "", depth)
