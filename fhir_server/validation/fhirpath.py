"""FHIRPath compiled to closures over plain JSON, with the types of elements known from the structures beforehand.

A choice element is read by the JSON names of its types, so `value is Quantity` asks whether `valueQuantity` is there.
Expressions that need what is not here (other resources, `%terminologies`) are refused at compile time by FhirPathError.
"""

from __future__ import annotations

from msgspec.structs import replace

from fhir_server.definitions import fhirpath as syntax
from fhir_server.definitions.fhirpath import FhirPathError, parse
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.structures import Element
from fhir_server.validation import items as of
from fhir_server.validation.compiled import (
    CONSTANTS,
    Compiled,
    Shape,
    boxed,
    is_constant,
    is_text,
    literals,
    once,
    resource_type,
    selects,
    type_code,
)
from fhir_server.validation.functions import BY_ITEM, COLLECTIONS, FUNCTIONS, LOGIC, ORDERS, SAME_SHAPE
from fhir_server.validation.items import Environment, Focus, NoValue, Run, Test
from fhir_server.validation.moments import CLOCK, amount, literal_moment, negative
from fhir_server.validation.questions import QUESTIONS, conforms_to, member_of
from fhir_server.validation.steps import PRESENCE, Step, exists_at, reader

_EXTENSION: Shape = frozenset({("Extension", "")})
_BARE = (NoValue, dict)


def compile_condition(definitions: Definitions, expression: str, type: str, path: str = "", zone: str = "Z") -> Test:
    """The test of an invariant of an element: (focus, environment) → true, false or None for empty.

    type, path: the structure and the path of the element below it. zone: of `today()`, and of literals that name none.
    Raises FhirPathError for an expression that cannot be evaluated here.
    """
    compiler = _Compiler(definitions, type, path, zone)
    test = compiler.test(parse(expression), compiler.context)
    if "%context" not in expression:
        return test
    return lambda focus, environment: test(focus, replace(environment, context=focus[0], constants={}))


def compile_path(definitions: Definitions, expression: str, type: str) -> Run:
    """What an expression leads to from a resource of a type. Raises FhirPathError."""
    compiler = _Compiler(definitions, type, "", "Z")
    return compiler.run(parse(expression), compiler.context).run


class _Compiler:
    """Compiles trees for one context; `shape` in each method is where the focus stands."""

    def __init__(self, definitions: Definitions, type: str, path: str, zone: str) -> None:
        self._definitions = definitions
        self._type = type
        self._zone = zone
        self._is_repeating = False
        # What trees came to, so that none is compiled twice; the tree too, which keeps its id its own.
        self._made: dict[tuple[int, Shape], tuple[syntax.Tree, Compiled]] = {}
        places = self._places(type, definitions.structure(type).elements[path]) if path else [("", "", (type, ""))]
        self.context: Shape = frozenset(place for _, _, place in places)

    # --- conditions

    def test(self, tree: syntax.Tree, shape: Shape) -> Test:
        if isinstance(tree, syntax.Binary) and tree.operator in LOGIC:
            return LOGIC[tree.operator](self.test(tree.left, shape), self.test(tree.right, shape))
        if isinstance(tree, syntax.Binary) and tree.operator in ("=", "!=", "in", "contains", *ORDERS):
            if tree.operator == "=" and isinstance(tree.right, syntax.Literal) and isinstance(tree.right.value, str):
                return is_text(self.run(tree.left, shape), tree.right.value)
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
        return lambda focus, environment: len(found := run(focus, environment)) == 1 and not isinstance(found[0], _BARE)

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
        key = (id(tree), shape)
        if key not in self._made:
            made = self._run(tree, shape)
            is_once = is_constant(tree) and not isinstance(tree, syntax.Variable)
            self._made[key] = tree, once(made) if is_once else made
        return self._made[key][1]

    def _run(self, tree: syntax.Tree, shape: Shape) -> Compiled:
        match tree:
            case syntax.This():
                return Compiled(lambda focus, environment: focus, shape)
            case syntax.Literal(value):
                constant = [] if value is None else [value]
                return Compiled(lambda focus, environment: constant)
            case syntax.Date(text):
                moment = [literal_moment(text, self._zone)]
                return Compiled(lambda focus, environment: moment)
            case syntax.Quantity(value, unit):
                quantity = [amount(value, unit)]
                return Compiled(lambda focus, environment: quantity)
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
            case syntax.Negative(target):
                run = self.run(target, shape).run
                return Compiled(lambda focus, environment: negative(run(focus, environment)))

    def _variable(self, name: str) -> Compiled:
        if name == "resource":
            return Compiled(lambda focus, environment: [environment.resource], self._resource_shape())
        if name == "rootResource":
            return Compiled(lambda focus, environment: [environment.root])
        if name == "context":
            return Compiled(lambda focus, environment: [environment.context], self.context)
        if name == "extension":
            return Compiled(lambda focus, environment: [environment.extension], _EXTENSION)
        if name in CONSTANTS:
            constant = [CONSTANTS[name]]
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
        elements = [
            (type, one)
            for type, path in shape
            for one in self._children(type, path)
            if one.name == name or (one.is_choice and any(name == key for key, _ in one.json_names()))
        ]
        if not elements:
            if any(type in ("Resource", "DomainResource") for type, _ in shape):
                return (Step(name, None),), None
            raise FhirPathError(f"there is no element {name} in {' or '.join(sorted(type for type, _ in shape))}")
        steps: dict[str, Step] = {}
        below: set[tuple[str, str]] = set()
        for type, element in elements:
            for key, code, place in self._places(type, element):
                if (only is None or code == only) and name in (element.name, key):
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
        listed = literals(tree)
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
            return boxed(self.test(tree, shape))
        raise FhirPathError(f"the operator {operator} is not evaluated")

    # --- types

    def _type_test(self, operator: str, target: syntax.Tree, type: str, shape: Shape) -> Compiled:
        if operator == "is":
            return boxed(self._is_of_type(syntax.TypeTest(operator, target, type), shape))
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
        name = type_code(type)
        whole = self.run(target, shape)
        run = whole.run
        codes = None if whole.shape is None else {code for code, path in whole.shape if not path}
        if codes is None or codes & {"Resource", "DomainResource"}:
            known = self._definitions.concrete_types
            if name not in known:
                raise FhirPathError(f"{name} is not a resource type")
            return Compiled(
                lambda focus, environment: [one for one in run(focus, environment) if resource_type(one) == name],
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
        if name in CLOCK and not arguments:
            return self._clock(name)
        if name in ("exists", "empty", "not", "hasValue") and not arguments:
            return boxed(self._simple_call(syntax.Call(target, name, ()), shape))
        inner = self.run(target, shape)
        if name in BY_ITEM:
            condition = self.test(self._only(name, arguments), inner.shape)
            is_condition = name in ("exists", "all")
            return Compiled(BY_ITEM[name](inner.run, condition), None if is_condition else inner.shape)
        if name == "select":
            return self._select(inner, self._only(name, arguments))
        if name == "repeat":
            return self._repeat(inner, self._only(name, arguments))
        if name == "iif":
            return self._iif(inner, arguments)
        if name == "resolve":
            run = inner.run
            return Compiled(
                lambda focus, environment: of.resolve(run(focus, environment), environment),
                frozenset({("Resource", "")}),
            )
        made = tuple(self.run(one, shape).run for one in arguments)
        return self._question(inner, name, made) if name in QUESTIONS else self._plain_call(inner, name, made)

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

    def _clock(self, name: str) -> Compiled:
        """`today()` and the like: the same wherever one expression asks for it."""
        read, zone = CLOCK[name], self._zone

        def run(focus: Focus, environment: Environment) -> Focus:
            found = environment.constants.get(name)
            if found is None:
                found = environment.constants[name] = of.Constant([read(zone)])
            return found

        return Compiled(run)

    def _repeat(self, inner: Compiled, projection: syntax.Tree) -> Compiled:
        if self._is_repeating or not selects(projection):
            raise FhirPathError("repeat() is evaluated only of what stands in the resource, and not within another")
        self._is_repeating = True
        shape, each = inner.shape, self.run(projection, inner.shape)
        while shape is not None and (each.shape is None or not each.shape <= shape):
            shape = None if each.shape is None else shape | each.shape
            each = self.run(projection, shape)
        self._is_repeating = False
        run, project = inner.run, each.run
        return Compiled(
            lambda focus, environment: of.repeat(run(focus, environment), lambda items: project(items, environment)),
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

    def _question(self, inner: Compiled, name: str, arguments: tuple[Run, ...]) -> Compiled:
        if len(arguments) != 1:
            raise FhirPathError(f"{name}() needs one argument")
        run, argument = inner.run, arguments[0]
        if name == "memberOf":
            return Compiled(
                lambda focus, environment: member_of(run(focus, environment), argument(focus, environment), environment)
            )
        spots = inner.shape or frozenset()
        if len(spots) != 1:
            raise FhirPathError("conformsTo() needs values of one type")
        (spot,) = spots
        return Compiled(
            lambda focus, environment: conforms_to(
                run(focus, environment), argument(focus, environment), environment, spot
            )
        )

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
