"""Compiled FHIRPath: what a part of an expression becomes, and the small parts that others are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fhir_server.definitions import fhirpath as syntax
from fhir_server.validation.items import Constant, Environment, Focus, Run, Test
from fhir_server.validation.steps import Step

# Where a value may stand: (structure, path below it). None: not known, children are read by their JSON names.
Shape = frozenset[tuple[str, str]] | None

CONSTANTS = {"ucum": "http://unitsofmeasure.org", "sct": "http://snomed.info/sct", "loinc": "http://loinc.org"}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A closure, and where its results may stand. steps: how they are read, for children of the focus."""

    run: Run
    shape: Shape = None
    steps: tuple[Step, ...] = ()


def is_constant(tree: syntax.Tree) -> bool:
    """True for a path from %resource or the like: it comes to the same for every focus."""
    while isinstance(tree, syntax.Member) or (isinstance(tree, syntax.Call) and not tree.arguments):
        tree = tree.target
    return isinstance(tree, syntax.Variable) and tree.name not in CONSTANTS


_SELECTING = (
    "where", "first", "last", "tail", "skip", "take", "children", "descendants", "extension", "distinct", "resolve",
    "ofType", "as",
)  # fmt: skip


def selects(tree: syntax.Tree) -> bool:
    """True for what only leads to values that a resource has: repeated it ends, as `$this & 'x'` would not."""
    match tree:
        case syntax.This():
            return True
        case syntax.Binary("|", left, right):
            return selects(left) and selects(right)
        case syntax.Call(target, name):
            return name in _SELECTING and selects(target)
        case syntax.Member(target) | syntax.Index(target) | syntax.TypeTest("as", target):
            return selects(target)
    return False


def literals(tree: syntax.Tree) -> Focus | None:
    """The values of `'a' | 'b' | 'c'`; None for anything else."""
    if isinstance(tree, syntax.Literal) and tree.value is not None:
        return [tree.value]
    if not isinstance(tree, syntax.Binary) or tree.operator != "|":
        return None
    left, right = literals(tree.left), literals(tree.right)
    return None if left is None or right is None else [*left, *right]


def once(made: Compiled) -> Compiled:
    run = made.run

    def remembered(focus: Focus, environment: Environment) -> Focus:
        found = environment.constants.get(run)
        if found is None:
            found = environment.constants[run] = Constant(run(focus, environment))
        return found

    return Compiled(remembered, made.shape)


def is_text(path: Compiled, text: str) -> Test:
    """`path = 'text'`, the commonest comparison, mostly of one child of one item."""
    run, name = path.run, path.steps[0].key if len(path.steps) == 1 else ""

    def test(focus: Focus, environment: Environment) -> bool | None:
        if len(focus) == 1 and focus[0].__class__ is dict and (value := focus[0].get(name)).__class__ is str:
            return bool(value == text)
        found = run(focus, environment)
        return found == [text] if found else None

    return test


def boxed(test: Test) -> Compiled:
    def run(focus: Focus, environment: Environment) -> Focus:
        held = test(focus, environment)
        return [] if held is None else [held]

    return Compiled(run)


def type_code(name: str) -> str:
    """`FHIR.Patient` → Patient, `System.String` and `Boolean` → string, boolean."""
    code = name.rpartition(".")[2]
    return _SYSTEM_TYPES.get(code, code)


_SYSTEM_TYPES = {
    "Boolean": "boolean", "String": "string", "Integer": "integer", "Decimal": "decimal", "Date": "date",
    "DateTime": "dateTime", "Time": "time",
}  # fmt: skip


def resource_type(item: Any) -> Any:
    return item.get("resourceType") if isinstance(item, dict) else None
