"""A mapping as people write it, in several files and with templates, made into the plain groups and rows it stands for.

What is written short here is long to everyone behind: the compiler, the export, the generated tables.

"@name" is a constant. {"template": name, …} is a fragment with parameters: "$x" stands for a parameter (a whole value,
or "${x}" within a text), "$x?" for one that may be missing with the name it stands under, "$*x" for the items of a
list. Among rows, {"keep": FIELD, …} is one that keeps a field under its own name in the extension `kept`, and
{"copies": [FIELD, …], "of": PATH} are rows of fields that repeat those of another table: kept only where they differ.
A row's `item` is what the list element that it writes to starts with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fhir_server.model.resources import decode

Data = dict[str, Any]

_WHOLE = re.compile(r"\$(\*?)([a-z_]+)(\??)")
_WITHIN = re.compile(r"\$\{([a-z_]+)\}")
_DEPTH = 12
_MISSING = object()
# The value[x] in which `keep` writes what its last transform makes.
_KEPT_IN = {
    "integer": "valueInteger",
    "flag": "valueBoolean",
    "decimal_text": "valueDecimal",
    "money": "valueMoney",
    "quantity": "valueQuantity",
    "concept": "valueCodeableConcept",
    "date_from_ymd": "valueDate",
    "datetime_from_ymdhm": "valueDateTime",
    "date_from_dmy": "valueDate",
    "datetime_from_dmy": "valueDateTime",
    "date_from_iso": "valueDate",
    "datetime_from_iso": "valueDateTime",
    "date_from_any": "valueDate",
    "datetime_from_any": "valueDateTime",
    "logical_reference": "valueReference",
    "shared_reference": "valueReference",
}


def read_shared(mappings: Path) -> Data:
    """mappings/shared.json: constants and templates of all formats, families of code lists, systems by guide."""
    shared: Data = decode((mappings / "shared.json").read_bytes())
    return shared


def read_mapping(folder: Path, shared: Mapping[str, Any]) -> Data:
    """The mapping of one format: mapping.json and the files its `parts` names, with nothing written short any more.

    Raises KeyError for a constant, template or parameter that does not exist, ValueError for templates without end.
    """
    data: Data = decode((folder / "mapping.json").read_bytes())
    for name in data.pop("parts", ()):
        _join(data, decode((folder / name).read_bytes()))
    write_out = _Writer(
        {**shared.get("constants", {}), **data.pop("constants", {})},
        {**shared.get("templates", {}), **data.pop("templates", {})},
    )
    whole: Data = write_out(data, 0)
    for group in all_groups(whole["resources"]):
        _settle_items(group)
    return whole


def all_groups(groups: Iterable[Data]) -> Iterator[Data]:
    """Those of a mapping or a group, and the groups within them."""
    for group in groups:
        yield group
        yield from all_groups(group.get("resources", ()))


def _settle_items(group: Data) -> None:
    """Moves the `item` of each row to the group's `items`, under the path of the list element."""
    for row in group["rows"]:
        if "item" in row:
            element = row["target"][: row["target"].rindex("]") + 1]
            group.setdefault("items", {})[element] = row.pop("item")


def _join(data: Data, part: Mapping[str, Any]) -> None:
    """Adds what a part says to the same lists and objects of the whole."""
    for name, value in part.items():
        if name == "description":
            continue
        held = data.setdefault(name, type(value)())
        if isinstance(value, list):
            held.extend(value)
        else:
            held.update(value)


class _Writer:
    """Writes out constants, templates and kept fields."""

    def __init__(self, constants: Mapping[str, Any], templates: Mapping[str, Any]) -> None:
        self._constants = constants
        self._templates = templates

    def __call__(self, value: Any, depth: int) -> Any:
        if depth > _DEPTH:
            raise ValueError("templates without end")
        if isinstance(value, str) and value.startswith("@"):
            return self(self._constants[value[1:]], depth + 1)
        if isinstance(value, list):
            return [item for one in value for item in self._items(one, depth)]
        if not isinstance(value, dict):
            return value
        if "template" in value:
            return self(_filled(self._templates[value["template"]], value), depth + 1)
        if "keep" in value:
            return self(_kept(value), depth + 1)
        if "copies" in value:
            return [_copy(field, value["of"]) for field in value["copies"]]
        return {name: self(item, depth) for name, item in value.items()}

    def _items(self, value: Any, depth: int) -> list[Any]:
        """What stands in place of one item of a list: several where a template is a list."""
        made = self(value, depth)
        return made if isinstance(made, list) and not isinstance(value, list) else [made]


def _filled(template: Any, parameters: Mapping[str, Any]) -> Any:
    """The template with its parameters in place."""
    if isinstance(template, str):
        whole = _WHOLE.fullmatch(template)
        if whole is not None:
            return parameters.get(whole[2], _MISSING) if whole[3] else parameters[whole[2]]
        return _WITHIN.sub(lambda found: str(parameters[found[1]]), template)
    if isinstance(template, list):
        filled: list[Any] = []
        for item in template:
            made = _filled(item, parameters)
            if made is not _MISSING:
                filled += made if isinstance(item, str) and item.startswith("$*") else [made]
        return filled
    if isinstance(template, dict):
        pairs = ((_filled(name, parameters), _filled(item, parameters)) for name, item in template.items())
        return {name: item for name, item in pairs if item is not _MISSING}
    return template


def _kept(row: Mapping[str, Any]) -> Data:
    field = row["keep"]
    names = row.get("as", "text")
    value = _KEPT_IN.get(names if isinstance(names, str) else names[-1], "valueString")
    rest = {name: item for name, item in row.items() if name != "keep"}
    return {"source": field, "target": f"extension[kept:{field.rpartition('/')[2]}].{value}", **rest}


def _copy(field: str, table: str) -> Data:
    return _kept({"keep": field, "copy_of": f"{table}/{field}", "vi": f"Như {table[1:]}", "en": f"As in {table[1:]}"})
