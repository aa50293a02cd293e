"""FHIRPath compiled to closures over plain JSON, with the types of elements known from the structures beforehand.

A choice element is read by the JSON names of its types, so `value is Quantity` asks whether `valueQuantity` is there.
Expressions that need what is not here (other resources, terminology) are refused at compile time by FhirPathError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from fhir_server.definitions import fhirpath as syntax
from fhir_server.definitions.fhirpath import FhirPathError, parse
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.structures import Element
from fhir_server.validation import items as of
from fhir_server.validation.functions import BY_ITEM, COLLECTIONS, FUNCTIONS, LOGIC, ORDERS, SAME_SHAPE
from fhir_server.validation.items import Constant, Environment, Focus, NoValue, Run, Test
from fhir_server.validation.steps import PRESENCE, Step, exists_at, reader

# Where a value may stand: (structure, path below it). None: not known, children are read by their JSON names.
Shape = frozenset[tuple[str, str]] | None

_EXTENSION: Shape = frozenset({("Extension", "")})
_UCUM = "http://unitsofmeasure.org"
_CONSTANTS = {"ucum": _UCUM, "sct": "http://snomed.info/sct", "loinc": "http://loinc.org"}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A closure, and where its results may stand. steps: how they are read, for children of the focus."""

    run: Run
    shape: Shape = None
    steps: tuple[Step, ...] = ()


def compile_condition(definitions: Definitions, expression: str, type: str, path: str = "") -> Test:
    """The test of an invariant of an element: (focus, environment) → true, false or None for empty.

    type, path: the structure and the path of the element below it. Raises FhirPathError for an expression that cannot
    be evaluated here.
    """
    compiler = _Compiler(definitions, type, path)
    test = compiler.test(parse(expression), compiler.context)
    if "%context" not in expression:
        return test
    return lambda focus, environment: test(focus, replace(environment, context=focus[0], constants={}))


def compile_path(definitions: Definitions, expression: str, type: str) -> Run:
    """What an expression leads to from a resource of a type. Raises FhirPathError."""
    compiler = _Compiler(definitions, type, "")
    return compiler.run(parse(expression), compiler.context).run


class _Compiler:
    """Compiles trees for one context; `shape` in each method is where the focus stands."""

    def __init__(self, definitions: Definitions, type: str, path: str) -> None:
        self._definitions = definitions
        self._type = type
        places = self._places(type, definitions.structure(type).elements[path]) if path else [("", "", (type, ""))]
        self.context: Shape = frozenset(place for _, _, place in places)

    # --- conditions

    def test(self, tree: syntax.Tree, shape: Shape) -> Test:
        if isinstance(tree, syntax.Binary) and tree.operator in LOGIC:
            return LOGIC[tree.operator](self.test(tree.left, shape), self.test(tree.right, shape))
        if isinstance(tree, syntax.Binary) and tree.operator in ("=", "!=", "in", "contains", *ORDERS):
            if tree.operator == "=" and isinstance(tree.right, syntax.Literal) and isinstance(tree.right.value, str):
                return _is_text(self.run(tree.left, shape), tree.right.value)
            return self._comparison(tree.operator, self.run(tree.left, shape).run, self.run(tree.right, shape).run)
        if isinstance(tree, syntax.Call) and tree.name in ("exists", "empty", "not", "hasValue") and not tree.arguments:
            return self._simple_call(tree, shape)
        if isinstance(tree, syntax.TypeTest) and tree.operator == "is":
            return self._is_of_type(tree, shape)
        run = self.run(tree, shape).run
        return lambda focus, environment: of.truth(run(focus, environment))

    def _simple_call(self, tree: syntax.Call, shape: Shape) -> Test:
        if tree.name == "not":
            inner = self.test(tree.target, shape)
            return lambda focus, environment: not inner(focus, environment)
        if isinstance(tree.target, syntax.Member) and isinstance(tree.target.target, syntax.This) and shape is not None:
            steps, _ = self._steps(shape, tree.target.name, None)
            return PRESENCE[tree.name](steps)
        run = self.run(tree.target, shape).run
        if tree.name == "exists":
            return lambda focus, environment: bool(run(focus, environment))
        if tree.name == "empty":
            return lambda focus, environment: not run(focus, environment)
        return lambda focus, environment: len(found := run(focus, environment)) == 1 and found[0].__class__ not in _BARE

    def _comparison(self, operator: str, left: Run, right: Run) -> Test:
        if operator == "=":
            return lambda focus, environment: of.equal(left(focus, environment), right(focus, environment))
        if operator == "!=":
            return lambda focus, environment: (
                None if (same := of.equal(left(focus, environment), right(focus, environment))) is None else not same
            )
        if operator == "in":
            return lambda focus, environment: of.contains(right(focus, environment), left(focus, environment))
        if operator == "contains":
            return lambda focus, environment: of.contains(left(focus, environment), right(focus, environment))
        holds = ORDERS[operator]
        return lambda focus, environment: of.compare(left(focus, environment), right(focus, environment), holds)

    # --- collections

    def run(self, tree: syntax.Tree, shape: Shape) -> Compiled:
        made = self._run(tree, shape)
        return made if isinstance(tree, syntax.Variable) or not _is_constant(tree) else _once(made)

    def _run(self, tree: syntax.Tree, shape: Shape) -> Compiled:
        match tree:
            case syntax.This():
                return Compiled(lambda focus, environment: focus, shape)
            case syntax.Literal(value):
                constant = [] if value is None else [value]
                return Compiled(lambda focus, environment: constant)
            case syntax.Variable(name):
                return self._variable(name)
            case syntax.Member(target, name):
                return self._member(target, name, shape)
            case syntax.Call(target, name, arguments):
                return self._call(target, name, arguments, shape)
            case syntax.Index(target, index):
                return self._index(target, index, shape)
            case syntax.Binary(operator, left, right):
                return self._binary(operator, left, right, tree, shape)
            case syntax.TypeTest(operator, target, type):
                return self._type_test(operator, target, type, shape)
            case syntax.Negative():
                raise FhirPathError("negative numbers are not evaluated")

    def _variable(self, name: str) -> Compiled:
        if name == "resource":
            return Compiled(lambda focus, environment: [environment.resource], self._resource_shape())
        if name == "rootResource":
            return Compiled(lambda focus, environment: [environment.root])
        if name == "context":
            return Compiled(lambda focus, environment: [environment.context], self.context)
        if name == "extension":
            return Compiled(lambda focus, environment: [environment.extension], _EXTENSION)
        if name in _CONSTANTS:
            constant = [_CONSTANTS[name]]
            return Compiled(lambda focus, environment: constant)
        raise FhirPathError(f"%{name} is not evaluated")

    def _resource_shape(self) -> Shape:
        """The resource around a value is known for elements of resources, not for datatypes."""
        is_resource = self._definitions.structure(self._type).kind == "resource"
        return frozenset({(self._type, "")}) if is_resource and self._type != "DomainResource" else None

    def _member(self, target: syntax.Tree, name: str, shape: Shape, only: str | None = None) -> Compiled:
        if isinstance(target, syntax.This) and shape is not None and name == self._type and (name, "") in shape:
            return Compiled(lambda focus, environment: focus, shape)  # `Appointment.status` from an Appointment
        inner = self.run(target, shape)
        if inner.shape is None:
            run = inner.run
            return Compiled(lambda focus, environment: of.named(run(focus, environment), name))
        if name == "extension" and isinstance(target, syntax.Member) and self._is_primitive(inner.shape):
            raise FhirPathError("extensions of primitives are not evaluated")
        steps, below = self._steps(inner.shape, name, only)
        return Compiled(reader(inner.run, steps), below, steps if isinstance(target, syntax.This) else ())

    def _is_primitive(self, shape: frozenset[tuple[str, str]]) -> bool:
        return all(type in self._definitions.primitive_types for type, _ in shape)

    def _steps(self, shape: frozenset[tuple[str, str]], name: str, only: str | None) -> tuple[tuple[Step, ...], Shape]:
        """The JSON names that hold the child `name`, with `only` those of one type of a choice."""
        elements = [(type, one) for type, path in shape for one in self._children(type, path) if one.name == name]
        if not elements:
            if any(type in ("Resource", "DomainResource") for type, _ in shape):
                return (Step(name, None),), None
            raise FhirPathError(f"there is no element {name} in {' or '.join(sorted(type for type, _ in shape))}")
        steps: dict[str, Step] = {}
        below: set[tuple[str, str]] = set()
        for type, element in elements:
            for key, code, place in self._places(type, element):
                if only is None or code == only:
                    primitive = code in self._definitions.primitive_types
                    steps[key] = Step(key, f"_{key}" if primitive else None)
                    below.add(place)
        return tuple(steps.values()), frozenset(below)

    def _children(self, type: str, path: str) -> tuple[Element, ...]:
        return self._definitions.structure(type).children(path)

    def _places(self, type: str, element: Element) -> list[tuple[str, str, tuple[str, str]]]:
        """(JSON name, type code, where its value stands) of each form of an element."""
        if element.content is not None:
            return [(element.name, "BackboneElement", (type, element.content))]
        own = bool(self._children(type, element.path))
        return [(key, one.code, (type, element.path) if own else (one.code, "")) for key, one in element.json_names()]

    def _index(self, target: syntax.Tree, index: syntax.Tree, shape: Shape) -> Compiled:
        if not isinstance(index, syntax.Literal) or not isinstance(index.value, int):
            raise FhirPathError("only a plain number is evaluated as an index")
        inner, place = self.run(target, shape), index.value
        run = inner.run
        return Compiled(lambda focus, environment: run(focus, environment)[place : place + 1], inner.shape)

    def _binary(
        self, operator: str, left: syntax.Tree, right: syntax.Tree, tree: syntax.Tree, shape: Shape
    ) -> Compiled:
        listed = _literals(tree)
        if listed is not None:
            constant = of.Constant(of.distinct(listed))
            return Compiled(lambda focus, environment: constant)
        if operator in COLLECTIONS:
            combine = COLLECTIONS[operator]
            one, other = self.run(left, shape), self.run(right, shape)
            first, second = one.run, other.run
            both = one.shape | other.shape if one.shape is not None and other.shape is not None else None
            return Compiled(
                lambda focus, environment: combine(first(focus, environment), second(focus, environment)), both
            )
        if operator in LOGIC or operator in ORDERS or operator in ("=", "!=", "in", "contains"):
            return _boxed(self.test(tree, shape))
        raise FhirPathError(f"the operator {operator} is not evaluated")

    # --- types

    def _type_test(self, operator: str, target: syntax.Tree, type: str, shape: Shape) -> Compiled:
        if operator == "is":
            return _boxed(self._is_of_type(syntax.TypeTest(operator, target, type), shape))
        return self._of_type(target, type, shape)

    def _is_of_type(self, tree: syntax.TypeTest, shape: Shape) -> Test:
        """`value is Quantity`, of a choice: whether `valueQuantity` is there."""
        part = self._of_type(tree.target, tree.type, shape)
        if part.steps:
            return exists_at(part.steps)
        run = part.run
        return lambda focus, environment: bool(run(focus, environment))

    def _of_type(self, target: syntax.Tree, type: str, shape: Shape) -> Compiled:
        """The values of one type: by the JSON name of a choice, by resourceType, or all when no other type can be."""
        name = _type_code(type)
        whole = self.run(target, shape)
        run = whole.run
        codes = None if whole.shape is None else {code for code, path in whole.shape if not path}
        if codes is None or codes & {"Resource", "DomainResource"}:
            known = self._definitions.concrete_types
            if name not in known:
                raise FhirPathError(f"{name} is not a resource type")
            return Compiled(
                lambda focus, environment: [one for one in run(focus, environment) if _resource_type(one) == name],
                frozenset({(name, "")}),
            )
        if isinstance(target, syntax.Member):
            return self._member(target.target, target.name, shape, only=name)
        return whole if name in codes else Compiled(lambda focus, environment: [])

    # --- functions

    def _call(self, target: syntax.Tree, name: str, arguments: tuple[syntax.Tree, ...], shape: Shape) -> Compiled:
        if name in ("is", "as", "ofType"):
            if len(arguments) != 1 or not isinstance(arguments[0], syntax.Literal):
                raise FhirPathError(f"{name}() needs one type")
            return self._type_test(name, target, str(arguments[0].value), shape)
        inner = self.run(target, shape)
        if name in ("exists", "empty", "not", "hasValue") and not arguments:
            return _boxed(self._simple_call(syntax.Call(target, name, ()), shape))
        if name in BY_ITEM:
            condition = self.test(self._only(name, arguments), inner.shape)
            boxed = name in ("exists", "all")
            return Compiled(BY_ITEM[name](inner.run, condition), None if boxed else inner.shape)
        if name == "select":
            return self._select(inner, self._only(name, arguments))
        if name == "iif":
            return self._iif(inner, arguments)
        if name == "resolve":
            run = inner.run
            return Compiled(
                lambda focus, environment: of.resolve(run(focus, environment), environment),
                frozenset({("Resource", "")}),
            )
        return self._plain_call(inner, name, tuple(self.run(one, shape).run for one in arguments))

    def _only(self, name: str, arguments: tuple[syntax.Tree, ...]) -> syntax.Tree:
        if len(arguments) != 1:
            raise FhirPathError(f"{name}() needs one argument")
        return arguments[0]

    def _select(self, inner: Compiled, projection: syntax.Tree) -> Compiled:
        run, each = inner.run, self.run(projection, inner.shape)
        project = each.run
        return Compiled(
            lambda focus, environment: [
                found for item in run(focus, environment) for found in project([item], environment)
            ],
            each.shape,
        )

    def _iif(self, inner: Compiled, arguments: tuple[syntax.Tree, ...]) -> Compiled:
        if len(arguments) not in (2, 3):
            raise FhirPathError("iif() needs two or three arguments")
        run, condition = inner.run, self.test(arguments[0], inner.shape)
        yes = self.run(arguments[1], inner.shape).run
        no = self.run(arguments[2] if len(arguments) == 3 else syntax.Literal(None), inner.shape).run

        def choose(focus: Focus, environment: Environment) -> Focus:
            items = run(focus, environment)
            return (yes if condition(items, environment) else no)(items, environment)

        return Compiled(choose)

    def _plain_call(self, inner: Compiled, name: str, arguments: tuple[Run, ...]) -> Compiled:
        if name == "trace":
            return inner
        function = FUNCTIONS.get((name, len(arguments)))
        if function is None:
            raise FhirPathError(f"the function {name}() is not evaluated")
        run = inner.run
        shape = inner.shape if name in SAME_SHAPE else _EXTENSION if name == "extension" else None
        return Compiled(
            lambda focus, environment: function(
                run(focus, environment), *(one(focus, environment) for one in arguments)
            ),
            shape,
        )


def _is_constant(tree: syntax.Tree) -> bool:
    """True for a path from %resource or the like: it comes to the same for every focus."""
    while isinstance(tree, syntax.Member) or (isinstance(tree, syntax.Call) and not tree.arguments):
        tree = tree.target
    return isinstance(tree, syntax.Variable) and tree.name not in _CONSTANTS


def _literals(tree: syntax.Tree) -> Focus | None:
    """The values of `'a' | 'b' | 'c'`; None for anything else."""
    if isinstance(tree, syntax.Literal) and tree.value is not None:
        return [tree.value]
    if not isinstance(tree, syntax.Binary) or tree.operator != "|":
        return None
    left, right = _literals(tree.left), _literals(tree.right)
    return None if left is None or right is None else [*left, *right]


def _once(made: Compiled) -> Compiled:
    run = made.run

    def remembered(focus: Focus, environment: Environment) -> Focus:
        found = environment.constants.get(run)
        if found is None:
            found = environment.constants[run] = Constant(run(focus, environment))
        return found

    return Compiled(remembered, made.shape)


_BARE = (NoValue, dict)


def _is_text(path: Compiled, text: str) -> Test:
    """`path = 'text'`, the commonest comparison, mostly of one child of one item."""
    run, name = path.run, path.steps[0].key if len(path.steps) == 1 else ""

    def test(focus: Focus, environment: Environment) -> bool | None:
        if len(focus) == 1 and focus[0].__class__ is dict and (value := focus[0].get(name)).__class__ is str:
            return bool(value == text)
        found = run(focus, environment)
        return found == [text] if found else None

    return test


def _boxed(test: Test) -> Compiled:
    def run(focus: Focus, environment: Environment) -> Focus:
        held = test(focus, environment)
        return [] if held is None else [held]

    return Compiled(run)


def _type_code(name: str) -> str:
    """`FHIR.Patient` → Patient, `System.String` and `Boolean` → string, boolean."""
    code = name.rpartition(".")[2]
    return _SYSTEM_TYPES.get(code, code)


_SYSTEM_TYPES = {
    "Boolean": "boolean", "String": "string", "Integer": "integer", "Decimal": "decimal", "Date": "date",
    "DateTime": "dateTime", "Time": "time",
}  # fmt: skip


def _resource_type(item: Any) -> Any:
    return item.get("resourceType") if isinstance(item, dict) else None
