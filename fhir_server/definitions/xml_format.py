"""Resources between JSON and XML by the definitions, element order included.

R4 XML Representation of Resources; R4 Data Types.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from lxml import etree

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.structures import Element, Structure
from fhir_server.errors import FhirError, Issue, Kind
from fhir_server.model.resources import Digits, Resource

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"
_F = f"{{{FHIR}}}"
_DIV = f"{{{XHTML}}}div"
_PREFIXES: Any = {None: FHIR}  # the default namespace, which the stubs of lxml do not know
# The lexical forms that JSON can hold as a number; the rest is left for validation to tell (R4 Data Types).
_DECIMAL = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,18})", re.ASCII)
# Characters that JSON can carry and XML 1.0 cannot; they are shown as the replacement character.
_UNSPEAKABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_INTEGERS = frozenset({"integer", "positiveInt", "unsignedInt"})
_NESTED = frozenset({"BackboneElement", "Element"})
DEEPEST = 100  # nesting of elements; the deepest official example has 14
MOST_FAULTS = 50


@dataclass(frozen=True, slots=True)
class _Slot:
    """One JSON property. order: of its element among its siblings, one for all types of a choice. code: its type. owner
    and path: where the children of an anonymous type are defined."""

    order: int
    key: str
    code: str
    is_list: bool
    xml: str | None
    is_primitive: bool
    owner: str
    path: str


_FIRST = _Slot(-1, "", "", False, None, False, "", "")


class XmlFormat:
    """The converter; its tables are made once for each type that is met."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._slots = lru_cache(maxsize=None)(self._make_slots)
        self._tags = lru_cache(maxsize=None)(self._make_tags)

    def _make_slots(self, owner: str, path: str) -> Mapping[str, _Slot]:
        """JSON key -> slot, in the order of R4, for the children of a type (path "") or of an element inside it."""
        structure = self._definitions.structure(owner)
        children = enumerate(structure.children(path))
        slots = (slot for order, element in children for slot in self._slots_of(structure, order, element))
        return {slot.key: slot for slot in slots}

    def _make_tags(self, owner: str, path: str) -> Mapping[str, _Slot]:
        """The same by the qualified name of the XML element."""
        slots = self._slots(owner, path).values()
        return {_DIV if slot.xml == "xhtml" else _F + slot.key: slot for slot in slots}

    def _slots_of(self, structure: Structure, order: int, element: Element) -> list[_Slot]:
        if element.content is not None:
            return [
                _Slot(order, element.name, "Element", element.is_list, None, False, structure.type, element.content)
            ]
        return [
            _Slot(
                order,
                key,
                type.code,
                element.is_list,
                element.xml,
                type.code in self._definitions.primitive_types,
                structure.type if type.code in _NESTED else type.code,
                element.path if type.code in _NESTED else "",
            )
            for key, type in element.json_names()
        ]

    # --- JSON to XML ---

    def to_xml(self, resource: Resource, pretty: bool = False) -> bytes:
        """The XML of a valid resource, UTF-8 with a declaration."""
        root = etree.Element(_F + resource["resourceType"], nsmap=_PREFIXES)
        self._write_children(root, resource, resource["resourceType"], "", True)
        return etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=pretty)

    def _write_children(
        self, parent: etree._Element, value: Mapping[str, Any], owner: str, path: str, is_resource: bool
    ) -> None:
        for key, slot in self._slots(owner, path).items():
            if slot.xml == "attribute" and not is_resource:
                if key in value:
                    parent.set(key, _text(value[key]))
            elif slot.is_primitive and slot.xml != "xhtml":
                if key in value or "_" + key in value:
                    self._write_primitives(parent, slot, value.get(key), value.get("_" + key))
            elif key in value:
                for item in value[key] if slot.is_list else [value[key]]:
                    self._write_complex(parent, slot, item)

    def _write_primitives(self, parent: etree._Element, slot: _Slot, values: Any, extras: Any) -> None:
        if not slot.is_list:
            return self._write_primitive(parent, slot, values, extras)
        length = max(len(values or ()), len(extras or ()))
        for place in range(length):
            value = values[place] if values and place < len(values) else None
            extra = extras[place] if extras and place < len(extras) else None
            self._write_primitive(parent, slot, value, extra)
        return None

    def _write_primitive(self, parent: etree._Element, slot: _Slot, value: Any, extra: Any) -> None:
        element = etree.SubElement(parent, _F + slot.key)
        if extra and "id" in extra:
            element.set("id", extra["id"])
        if value is not None:
            element.set("value", _text(value))
        for extension in (extra or {}).get("extension") or []:
            child = etree.SubElement(element, _F + "extension")
            self._write_children(child, extension, "Extension", "", False)

    def _write_complex(self, parent: etree._Element, slot: _Slot, value: Any) -> None:
        if slot.xml == "xhtml":
            parent.append(etree.fromstring(value, _parser()))
            return
        element = etree.SubElement(parent, _F + slot.key)
        if slot.code == "Resource":
            inner = etree.SubElement(element, _F + value["resourceType"])
            self._write_children(inner, value, value["resourceType"], "", True)
        else:
            self._write_children(element, value, slot.owner, slot.path, False)

    # --- XML to JSON ---

    def from_xml(self, body: bytes) -> Resource:
        """The resource. Raises FhirError STRUCTURE with line and place for what is no XML or no FHIR, all at once."""
        try:
            root = etree.fromstring(body, _parser())
        except (etree.XMLSyntaxError, ValueError) as fault:
            told = str(fault).partition(" (<string>")[0]  # line and column stand before it
            raise FhirError(Kind.STRUCTURE, f"the body is not well-formed XML: {told}") from None
        if root.getroottree().docinfo.internalDTD is not None:
            raise FhirError(Kind.STRUCTURE, "a DOCTYPE is not allowed in FHIR XML (R4 XML Representation of Resources)")
        faults: list[Issue] = []
        resource = self._read_resource(root, etree.QName(root).localname, faults, 0)
        if faults:
            raise FhirError(Kind.STRUCTURE, "the XML was refused", issues=tuple(faults[:MOST_FAULTS]))
        return resource

    def _read_resource(self, element: etree._Element, place: str, faults: list[Issue], depth: int) -> Resource:
        name = etree.QName(element)
        if name.namespace != FHIR or name.localname not in self._definitions.concrete_types:
            text = f"line {element.sourceline}: {name.localname!r} in namespace {name.namespace!r} is no R4 resource"
            faults.append(Issue("error", "structure", text, (place,)))
            return {}
        resource: Resource = {"resourceType": name.localname}
        self._read_children(element, resource, name.localname, "", place, faults, depth, True)
        return resource

    def _read_children(
        self,
        element: etree._Element,
        value: dict[str, Any],
        owner: str,
        path: str,
        place: str,
        faults: list[Issue],
        depth: int,
        is_resource: bool = False,
    ) -> None:
        if depth > DEEPEST:
            faults.append(_fault(element, place, f"elements are nested deeper than {DEEPEST}"))
            return
        if element.attrib and is_resource:
            faults.append(_fault(element, place, "a resource has no attributes"))
        elif element.attrib:
            self._read_attributes(element, value, self._slots(owner, path), place, faults)
        tags, last = self._tags(owner, path), _FIRST
        for child in element:
            slot = tags.get(str(child.tag))
            if slot is None:
                faults.append(_fault(child, place, f"{_name(child)} is not an element of {place}"))
                continue
            if slot.order < last.order:
                text = f"{slot.key} has its place before {last.key} (R4 XML Representation of Resources)"
                faults.append(_fault(child, f"{place}.{slot.key}", text))
            last = slot
            self._read_child(child, slot, value, place, faults, depth)
        _refuse_text(element, place, faults)

    def _read_attributes(
        self,
        element: etree._Element,
        value: dict[str, Any],
        slots: Mapping[str, _Slot],
        place: str,
        faults: list[Issue],
    ) -> None:
        for name, text in element.attrib.items():
            slot = slots.get(str(name))
            if slot is None or slot.xml != "attribute":
                faults.append(_fault(element, place, f"attribute {name!s} is not known here"))
            else:
                value[str(name)] = text

    def _read_child(
        self, child: etree._Element, slot: _Slot, value: dict[str, Any], place: str, faults: list[Issue], depth: int
    ) -> None:
        at = f"{place}.{slot.key}"
        if slot.is_list:
            at += f"[{len(value.get(slot.key) or value.get('_' + slot.key) or ())}]"
        elif slot.key in value or "_" + slot.key in value:
            faults.append(_fault(child, at, f"{slot.key} may stand here once"))
            return
        if slot.xml == "xhtml":
            value[slot.key] = etree.tostring(child, encoding="unicode", with_tail=False)
        elif slot.is_primitive:
            self._read_primitive(child, slot, value, at, faults, depth)
        else:
            _place(value, slot, self._read_complex(child, slot, at, faults, depth))

    def _read_complex(
        self, child: etree._Element, slot: _Slot, at: str, faults: list[Issue], depth: int
    ) -> dict[str, Any]:
        if slot.code != "Resource":
            inner: dict[str, Any] = {}
            self._read_children(child, inner, slot.owner, slot.path, at, faults, depth + 1)
            return inner
        if len(child) != 1:
            faults.append(_fault(child, at, "exactly one resource is needed here"))
            return {}
        return self._read_resource(child[0], at, faults, depth + 1)

    def _read_primitive(
        self, child: etree._Element, slot: _Slot, value: dict[str, Any], at: str, faults: list[Issue], depth: int
    ) -> None:
        extra: dict[str, Any] = {}
        sent: str | None = None
        _refuse_text(child, at, faults)
        for name, text in child.attrib.items():
            if name == "value":
                sent = str(text)
            elif name == "id":
                extra["id"] = text
            else:
                faults.append(_fault(child, at, f"attribute {name!s} is not known here"))
        for extension in child:
            if extension.tag != _F + "extension":
                faults.append(_fault(extension, at, f"{_name(extension)} is not an element of {at}"))
                continue
            inner: dict[str, Any] = {}
            self._read_children(extension, inner, "Extension", "", f"{at}.extension", faults, depth + 1)
            extra.setdefault("extension", []).append(inner)
        found = None if sent is None else _value(sent, slot.code)
        if slot.is_list:
            _place_in_list(value, slot.key, found, extra or None)
            return
        if found is not None:
            value[slot.key] = found
        if extra:
            value["_" + slot.key] = extra


def _parser() -> etree.XMLParser:
    """No DTD, no entity, no network; libxml2's own bounds on depth and size stay on."""
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True, huge_tree=False
    )


def _name(element: etree._Element) -> str:
    return str(etree.QName(element).text)


def _fault(element: etree._Element, place: str, text: str) -> Issue:
    return Issue("error", "structure", f"line {element.sourceline}: {text}", (place,))


def _refuse_text(element: etree._Element, place: str, faults: list[Issue]) -> None:
    texts = (element.text, *(child.tail for child in element))
    if any(text is not None and not text.isspace() for text in texts):
        faults.append(_fault(element, place, "text outside of a value attribute"))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _UNSPEAKABLE.sub("\ufffd", value)
    return value.text if isinstance(value, Digits) else format(value, "f") if isinstance(value, Decimal) else str(value)


def _value(text: str, code: str) -> Any:
    """The JSON value of a value attribute; a text that JSON cannot hold as that type stays a text."""
    if code == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if code in _INTEGERS and _INTEGER.fullmatch(text):
        return int(text)
    if code == "decimal" and _DECIMAL.fullmatch(text):
        return int(text) if _INTEGER.fullmatch(text) else Digits(text)
    return text


def _place(value: dict[str, Any], slot: _Slot, item: Any) -> None:
    if slot.is_list:
        value.setdefault(slot.key, []).append(item)
    else:
        value[slot.key] = item


def _place_in_list(value: dict[str, Any], key: str, item: Any, extra: Any) -> None:
    """A primitive of a list: values and extras stand in two arrays of one length, null where one has nothing."""
    items, extras = value.get(key), value.get("_" + key)
    length = len(items or extras or ())
    if item is not None or items is not None:
        value[key] = [*(items if items is not None else [None] * length), item]
    if extra is not None or extras is not None:
        value["_" + key] = [*(extras if extras is not None else [None] * length), extra]
