"""FHIRPath Patch: a Parameters resource whose operations name their places by FHIRPath. R4 FHIRPath Patch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from fhir_server.definitions.load import Definitions
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.simple_fhirpath import Impossible, Steps, steps
from fhir_server.interactions.write import Change
from fhir_server.model.resources import Resource, copy_of

OPERATION_LIMIT = 1000
_TYPES = ("add", "insert", "delete", "replace", "move")
_NEEDS = {
    "add": ("path", "name", "value"),
    "insert": ("path", "index", "value"),
    "delete": ("path",),
    "replace": ("path", "value"),
    "move": ("path", "source", "destination"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """One element found: parent[key] holds it. type and path: where R4 defines its children (`Patient`, `contact`).
    choice: the name of a choice element, whose key changes with the type of its value."""

    parent: Any
    key: str | int
    type: str
    path: str
    choice: str | None = None

    def value(self) -> Any:
        return self.parent[self.key]


class FhirpathPatch:
    """Reads patches by the definitions, which tell lists from single elements and name the keys of choices."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions

    def change(self, parameters: Resource, at: str = "Parameters") -> Change:
        """The change that a Parameters resource means. Raises FhirError INVALID naming the parameter at fault."""
        rows = parameters.get("parameter")
        if not isinstance(rows, list) or len(rows) > OPERATION_LIMIT:
            raise FhirError(Kind.INVALID, f"a patch holds 1 to {OPERATION_LIMIT} operations", (f"{at}.parameter",))
        operations = [_operation(row, f"{at}.parameter[{place}]") for place, row in enumerate(rows)]

        def apply(resource: Resource) -> Resource:
            changed: Resource = copy_of(resource)
            for where, kind, parts in operations:
                try:
                    self._apply(changed, kind, parts)
                except Impossible as fault:
                    raise FhirError(Kind.UNPROCESSABLE, f"{kind}: {fault}", (where,)) from None
            return changed

        return apply

    def _apply(self, resource: Resource, kind: str, parts: dict[str, Any]) -> None:
        places = self._find(resource, str(parts["path"]))
        if kind == "delete":
            return self._delete(resource, places)
        if kind == "add":
            return self._add(resource, _one(places), str(parts["name"]), parts["value"])
        if kind == "replace":
            return self._replace(_one(places), parts["value"])
        return self._reorder(kind, places, parts)

    def _reorder(self, kind: str, places: list[Place], parts: dict[str, Any]) -> None:
        items = _list_of(places)
        if kind == "insert":
            _check_index(parts["index"], len(items))
            items.insert(parts["index"], _content(parts["value"]))
            return
        _check_index(parts["source"], len(items) - 1)
        _check_index(parts["destination"], len(items) - 1)
        items.insert(parts["destination"], items.pop(parts["source"]))

    def _delete(self, resource: Resource, places: list[Place]) -> None:
        if len(places) > 1:
            raise Impossible("the path names more than one element")
        for place in places:  # to delete what is not there is no fault (R4 FHIRPath Patch)
            if place.parent is resource and place.key in ("id", "resourceType"):
                raise Impossible("the id and the type stay")
            if isinstance(place.parent, list):
                place.parent.pop(int(place.key))
            else:
                place.parent.pop(place.key)
                place.parent.pop(f"_{place.key}", None)
            _drop_empty(resource)

    def _add(self, resource: Resource, place: Place, name: str, sent: dict[str, Any]) -> None:
        target = place.value()
        if not isinstance(target, dict):
            raise Impossible("only an element with children can be added to")
        slot = self._slot(place.type, place.path, name, sent)
        if slot is None:
            raise Impossible(f"{name!r} is not an element of {place.type}")
        key, is_list = slot
        if is_list:
            target.setdefault(key, []).append(_content(sent))
        elif key in target:
            raise Impossible(f"{name!r} is there and cannot repeat")
        else:
            target[key] = _content(sent)

    def _replace(self, place: Place, sent: dict[str, Any]) -> None:
        if place.choice is None:
            place.parent[place.key] = _content(sent)
            return
        del place.parent[place.key]
        place.parent.pop(f"_{place.key}", None)
        place.parent[place.choice + _suffix(sent)] = _content(sent)

    def _slot(self, type: str, path: str, name: str, sent: dict[str, Any]) -> tuple[str, bool] | None:
        """The JSON key and whether it is a list, for a child named as FHIRPath names it."""
        for element in self._definitions.structure(type).children(path):
            if element.name == name:
                return (name + _suffix(sent) if element.is_choice else name), element.is_list
        return None

    # --- paths ---

    def _find(self, resource: Resource, text: str) -> list[Place]:
        type = str(resource["resourceType"])
        root = [Place({"": resource}, "", type, "")]
        path = steps(text)
        for kind, argument in path[1:] if path[:1] == [("name", type)] else path:
            root = self._step(root, kind, argument)
        return root

    def _step(self, places: list[Place], kind: str, argument: Any) -> list[Place]:
        if kind == "name":
            return [child for place in places for child in self._children(place, argument)]
        if kind == "index":
            return places[argument : argument + 1]
        if kind == "where":
            return [place for place in places if argument(partial(self._values, place))]
        if kind == "ofType":
            return [place for place in places if str(place.key).endswith(argument[:1].upper() + argument[1:])]
        return places[:1] if kind == "first" else places[-1:]

    def _values(self, place: Place, path: Steps) -> list[str]:
        """The values below a place as the texts that a literal is compared with."""
        places = [place]
        for kind, argument in path:
            places = self._step(places, kind, argument)
        return [_literal(found.value()) for found in places]

    def _children(self, place: Place, name: str) -> Iterator[Place]:
        value = place.value()
        if not isinstance(value, dict):
            return
        for element in self._definitions.structure(place.type).children(place.path):
            if element.name != name:
                continue
            for key, type in element.json_names() if not element.content else [(name, None)]:
                if key not in value:
                    continue
                nested = type is None or type.code in ("BackboneElement", "Element")
                below = (place.type, element.content or element.path) if nested else (type.code if type else "", "")
                if element.is_list:
                    yield from (Place(value[key], index, *below) for index in range(len(value[key])))
                else:
                    yield Place(value, key, *below, element.name if element.is_choice else None)


def _operation(row: Any, where: str) -> tuple[str, str, dict[str, Any]]:
    parts: dict[str, Any] = {}
    if not isinstance(row, dict) or row.get("name") != "operation":
        raise FhirError(Kind.INVALID, "each parameter of a patch is named operation", (where,))
    for part in row.get("part") or []:
        name = part.get("name")
        parts[name] = part if name == "value" else next((part[key] for key in part if key.startswith("value")), None)
    kind = parts.get("type")
    if kind not in _TYPES:
        raise FhirError(Kind.INVALID, f"type must be one of {', '.join(_TYPES)}", (where,))
    missing = [name for name in _NEEDS[kind] if parts.get(name) is None]
    if missing:
        raise FhirError(Kind.REQUIRED, f"{kind} needs {', '.join(missing)}", (where,))
    try:
        steps(str(parts["path"]))
    except Impossible as fault:
        raise FhirError(Kind.INVALID, str(fault), (where,)) from None
    return where, kind, parts


def _suffix(sent: dict[str, Any]) -> str:
    """`Quantity` of a part that holds valueQuantity."""
    return next((key[len("value") :] for key in sent if key.startswith("value")), "")


def _content(sent: dict[str, Any]) -> Any:
    """The value of a part: its value[x], or an anonymous element made of its parts."""
    for key, value in sent.items():
        if key.startswith("value"):
            return copy_of(value)
    made: dict[str, Any] = {}
    for part in sent.get("part") or []:
        name = str(part.get("name"))
        if name in made:
            made[name] = [*(made[name] if isinstance(made[name], list) else [made[name]]), _content(part)]
        else:
            made[name] = _content(part)
    if not made:
        raise Impossible("the value is empty")
    return made


def _one(places: list[Place]) -> Place:
    if len(places) != 1:
        raise Impossible(f"the path names {len(places)} elements, not one")
    return places[0]


def _list_of(places: list[Place]) -> list[Any]:
    parents = {id(place.parent): place.parent for place in places}
    if len(parents) != 1 or not isinstance(places[0].parent, list):
        raise Impossible("the path does not name one list")
    found: list[Any] = places[0].parent
    return found


def _check_index(index: Any, highest: int) -> None:
    if not isinstance(index, int) or not 0 <= index <= highest:
        raise Impossible(f"the index must be 0 to {highest}")


def _drop_empty(value: Any) -> bool:
    """Takes out what a deletion left empty, for R4 knows no empty arrays or objects; True when nothing is left."""
    if isinstance(value, dict):
        for key in [key for key, item in value.items() if isinstance(item, dict | list) and _drop_empty(item)]:
            del value[key]
    elif isinstance(value, list):
        value[:] = [item for item in value if not (isinstance(item, dict | list) and _drop_empty(item))]
    return not value


def _literal(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
