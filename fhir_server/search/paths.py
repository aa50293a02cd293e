"""Compiles search expressions to paths: for each FHIR type that an expression can yield, the ways to its values.

What type an element has is known from the definitions when the expression is compiled, and for a choice from the JSON
name itself (`valueQuantity`), so nothing is inferred from the shape of a value.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.structures import Element, Type
from fhir_server.errors import FhirError
from fhir_server.search.expression import (
    Binary,
    Call,
    Constant,
    Expression,
    Index,
    Member,
    Name,
    TypeTest,
    Variable,
    parse,
    refused,
)
from fhir_server.search.path import At, Child, Path, Step, Test, Truth, Walk, Where, target_type

_QUANTITIES = frozenset({"Age", "Count", "Distance", "Duration", "MoneyQuantity", "SimpleQuantity"})
_URLS_OF_HL7 = "http://hl7.org/fhirpath/System."


@lru_cache(maxsize=4_096)  # R4 has 2,500; the others are of an operator's own parameters
def paths_of(definitions: Definitions, type: str, expression: str) -> tuple[Path, ...]:
    """The paths of an expression for one resource type, or below an element (`Observation.component`).

    A union may name several resource types: what starts with another type gives nothing. Raises
    FhirError(UNPROCESSABLE) for an element that the type does not have and for FHIRPath that is not searched by.
    """
    return _Reading(definitions, type, expression).paths()


class _Reading:
    def __init__(self, definitions: Definitions, type: str, text: str) -> None:
        self._definitions = definitions
        self._root = type
        self._text = text

    def paths(self) -> tuple[Path, ...]:
        found = self._paths(parse(self._text), Path(self._root))
        opened = [self._extension_values(path) if path.type == "Extension" else (path,) for path in found]
        return tuple(dict.fromkeys(path for group in opened for path in group))

    def _paths(self, tree: Expression, here: Path) -> list[Path]:
        match tree:
            case Binary("|", left, right):
                return self._paths(left, here) + self._paths(right, here)
            case Binary():
                return [self._truth(tree, here)]
            case Name(name):
                return self._start(name, here)
            case Variable("$this"):
                return [here]
            case Variable("%resource" | "%context" | "%rootResource"):
                return [Path(self._root.partition(".")[0], from_resource=True)]
            case Member(target, name):
                return self._children(self._paths(target, here), name)
            case Index(target, place):
                return [replace(path, steps=(*path.steps, At(place))) for path in self._paths(target, here)]
            case TypeTest("as", target, type):
                return self._of_type(self._paths(target, here), type)
            case TypeTest():
                return [self._truth(tree, here)]
            case Call(target, name, arguments):
                return self._call(target, name, arguments, here)
        raise refused(self._text, "a constant is no path")

    def _start(self, name: str, here: Path) -> list[Path]:
        if name[:1].isupper():
            resource = self._root.partition(".")[0]
            if name in self._definitions.lineage(resource):
                return [Path(resource)]
            if name in self._definitions.structure_names:
                return []
        return self._children([here], name)

    def _children(self, paths: Iterable[Path], name: str) -> list[Path]:
        paths = list(paths)
        found = [child for path in paths for child in self._child(path, name)]
        if paths and not found:
            raise refused(self._text, f"{paths[0].type} has no element {name!r}")
        return found

    def _child(self, path: Path, name: str) -> list[Path]:
        type, _, below = path.type.partition(".")
        if type not in self._definitions.structure_names:
            return []
        for element in self._definitions.structure(type).children(below):
            if name == element.name or (element.is_choice and name in dict(element.json_names())):
                return [found for found in self._named(path, element) if name in (element.name, _last(found))]
        return []

    def _named(self, path: Path, element: Element) -> list[Path]:
        owner = path.type.partition(".")[0]
        if not element.types:
            step = Child(element.name, element.is_list)
            return [replace(path, type=f"{owner}.{element.content}", steps=(*path.steps, step))]
        systems = self._systems(element)
        return [
            replace(
                path,
                type=self._type_name(owner, element, type),
                steps=(*path.steps, Child(key, element.is_list)),
                systems=systems,
            )
            for key, type in element.json_names()
        ]

    def _type_name(self, owner: str, element: Element, type: Type) -> str:
        if self._definitions.structure(owner).children(element.path):
            return f"{owner}.{element.path}"
        return type.code.removeprefix(_URLS_OF_HL7).replace("String", "string")

    def _systems(self, element: Element) -> tuple[str, ...]:
        if element.binding is None or element.binding.strength != "required":
            return ()
        return tuple(self._definitions.required_codes.get(element.binding.value_set, ()))

    def _of_type(self, paths: Iterable[Path], type: str) -> list[Path]:
        # R4 itself writes `value.as(DateTime)`: primitive types begin with a small letter.
        small = type[:1].lower() + type[1:]
        wanted = {type, small} | (_QUANTITIES if type == "Quantity" else set())
        return [path for path in paths if path.type in wanted]

    def _call(self, target: Expression | None, name: str, arguments: tuple[Expression, ...], here: Path) -> list[Path]:
        if name in ("exists", "empty", "not", "hasExtension", "hasValue"):
            return [self._truth(Call(target, name, arguments), here)]
        paths = self._paths(target, here) if target is not None else [here]
        match name, arguments:
            case "where", (condition,):
                return [self._where(path, condition) for path in paths]
            case "extension", (Constant(str(url)),):
                return [self._where(path, _url_is(url)) for path in self._children(paths, "extension")]
            case "first", ():
                return [replace(path, steps=(*path.steps, At(0))) for path in paths]
            case "distinct", ():
                return paths
            case "select", (inner,):
                return [found for path in paths for found in self._paths(inner, path)]
        raise refused(self._text, f"{name}() with these arguments is no part of search expressions here")

    def _where(self, path: Path, condition: Expression) -> Path:
        test = _Testing(self, path.type).test(condition)
        match condition:
            case TypeTest("is", Call(None, "resolve", ()), type):
                points_at: str | None = type
            case _:
                points_at = None
        return replace(path, steps=(*path.steps, Where(test, f"{path.type}:{condition}", points_at)))

    def _truth(self, tree: Expression, here: Path) -> Path:
        test = _Testing(self, here.type, here.steps).test(tree)
        return replace(here, type="boolean", steps=(*here.steps, Truth(test, f"{here.type}:{tree}")), systems=())

    def _extension_values(self, path: Path) -> list[Path]:
        return self._children([path], "value")

    def below(self, tree: Expression, type: str) -> list[Path]:
        """The paths of a part of the expression that is applied to an item of a type."""
        return self._paths(tree, Path(type))

    def refused(self, why: str) -> FhirError:
        return refused(self._text, why)


def _choice(tree: Expression) -> tuple[Expression, frozenset[Any]] | None:
    """`system = 'a' or system = 'b'` as what is compared and the values; None for any other condition."""
    match tree:
        case Binary("=", left, Constant(value)):
            return left, frozenset({value})
        case Binary("or", left, right):
            one, other = _choice(left), _choice(right)
            if one is not None and other is not None and one[0] == other[0]:
                return one[0], one[1] | other[1]
    return None


def _last(path: Path) -> str:
    step = path.steps[-1]
    assert isinstance(step, Child)
    return step.name


def _url_is(url: str) -> Expression:
    return Binary("=", Name("url"), Constant(url))


# --- conditions ------------------------------------------------------------------------------------------------------


class _Testing:
    """Conditions on one item of a known type, as functions that tell true or false (an empty answer is false)."""

    def __init__(self, reading: _Reading, type: str, steps: tuple[Step, ...] = ()) -> None:
        self._reading = reading
        self._type = type

    def test(self, tree: Expression) -> Test:
        match tree:
            case Binary("and", left, right):
                one, other = self.test(left), self.test(right)
                return lambda item: one(item) and other(item)
            case Binary("=" | "or") if (choice := _choice(tree)) is not None:
                return self._is_one_of(*choice)
            case Binary("or", left, right):
                one, other = self.test(left), self.test(right)
                return lambda item: one(item) or other(item)
            case Binary("=" | "!=", left, Constant(value)) | Binary("=" | "!=", Constant(value), left):
                return self._compare(left, value, tree.operator == "=")
            case TypeTest("is", Call(target, "resolve", ()), type):
                return self._points_at(target, type)
            case Call(target, "exists", ()):
                return self._exists(target or Variable("$this"))
            case Call(target, "exists", (condition,)) if target is not None:
                return self._exists(Call(target, "where", (condition,)))
            case Call(target, "hasValue", ()) if target is not None:
                return self._exists(target)
            case Call(target, "empty", ()) if target is not None:
                exists = self._exists(target)
                return lambda item: not exists(item)
            case Call(target, "not", ()) if target is not None:
                positive = self.test(target)
                return lambda item: not positive(item)
            case Call(target, "hasExtension", (Constant(str(url)),)):
                extension = Call(target, "extension", (Constant(url),))
                return self._exists(extension)
            case Constant(bool(value)):
                return lambda item: value
            case Binary("|") | TypeTest("is") | Constant() | Binary():
                raise self._reading.refused("a comparison is between an element and a constant")
        return self._compare(tree, True, True)

    def _walks(self, tree: Expression) -> list[Walk]:
        return [path.walk() for path in self._reading.below(tree, self._type)]

    def _compare(self, tree: Expression, value: object, equal: bool) -> Test:
        walks = self._walks(tree)
        return lambda item: any((found == value) is equal for walk in walks for found in walk(item))

    def _is_one_of(self, tree: Expression, values: frozenset[Any]) -> Test:
        # Only primitive values can equal a constant.
        paths = [path for path in self._reading.below(tree, self._type) if path.type[:1].islower()]
        if (
            len(paths) == 1
            and len(paths[0].steps) == 1
            and isinstance(step := paths[0].steps[0], Child)
            and not step.many
        ):
            name = step.name
            return lambda item: item.get(name) in values
        walks = [path.walk() for path in paths]
        return lambda item: any(found in values for walk in walks for found in walk(item))

    def _exists(self, tree: Expression) -> Test:
        walks = self._walks(tree)
        return lambda item: any(walk(item) for walk in walks)

    def _points_at(self, target: Expression | None, type: str) -> Test:
        if target is None:
            return lambda item: target_type(item) == type
        walks = self._walks(target)
        return lambda item: any(target_type(found) == type for walk in walks for found in walk(item))
