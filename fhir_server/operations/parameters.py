"""What an operation is asked: the query or the Parameters body, held against its definition (R4 Operations).

asked = arguments(context, request, "http://hl7.org/fhir/OperationDefinition/CodeSystem-lookup")
asked.one("code")        the value, None when it was not sent
asked.all("property")    every value of a parameter that repeats
asked.at("code")         where it stands, as the expression of a FhirError
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.operations import Parameter
from fhir_server.errors import Issue, refuse_faults
from fhir_server.interactions.content import resource_of
from fhir_server.interactions.exchange import Context, FhirRequest, Pairs
from fhir_server.model.resources import Digits, Resource
from fhir_server.validation.primitives import PRIMITIVES

_BODY = "Parameters.parameter"
# Types of which a query can name a value (R4 Operations: GET is for primitive parameters alone).
_PRIMITIVES = PRIMITIVES.keys()


@dataclass(frozen=True, slots=True)
class Argument:
    """One value sent. type: R4 type of the value. place: FHIRPath of the parameter in the body, or its name in the
    query."""

    name: str
    type: str
    value: Any
    place: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """What was sent, by name. A value is JSON as R4 has it; a parameter of parts is Arguments again."""

    given: Mapping[str, tuple[Argument, ...]]

    def one(self, name: str) -> Any:
        """The value, None when it was not sent."""
        found = self.given.get(name)
        return found[0].value if found else None

    def all(self, name: str) -> tuple[Any, ...]:
        """Every value, () when none was sent."""
        return tuple(argument.value for argument in self.given.get(name, ()))

    def at(self, *names: str) -> tuple[str, ...]:
        """Where these parameters stand, for `FhirError.expression`; the name of one that was not sent."""
        return tuple(place for name in names for place in self._places(name))

    def _places(self, name: str) -> list[str]:
        return [argument.place for argument in self.given.get(name, ())] or [name]

    def __contains__(self, name: object) -> bool:
        return name in self.given


def arguments(
    context: Context,
    request: FhirRequest,
    definition: str,
    unchecked: Collection[str] = (),
    more: Sequence[Parameter] = (),
) -> Arguments:
    """What a request says for the parameters of the operation with this canonical URL (`Operation.definition`).

    GET: each query pair is a parameter of a primitive type. POST: a Parameters resource, or where the definition has
    exactly one parameter of a resource type that resource itself; primitive ones may stand in the query beside it.
    unchecked: parameters of a resource type whose content is not validated here, because the operation does so itself.
    more: parameters that the operation takes beside those of its definition.

    Raises FhirError(INVALID) that names every fault: parameters that the operation does not have, values of another
    type or format, what repeats and must not, what is required and absent, and faults of base R4 in the body. A
    specialisation of the type is taken (a `canonical` for a `uri`, a `code` for a `string`).
    """
    return taken(context, request, (*context.definitions.operation_parameters(definition), *more), unchecked)


def taken(
    context: Context, request: FhirRequest, parameters: Sequence[Parameter], unchecked: Collection[str] = ()
) -> Arguments:
    """As `arguments`, for an operation of our own that has these parameters."""
    known = {one.name: one for one in parameters}
    issues: list[Issue] = []
    found = list(_from_query(request.query, known, issues))
    if request.method == "POST" and (request.resource is not None or request.body.strip()):
        found += _from_body(context, resource_of(request), known, unchecked, issues)
    _check_cardinality(found, known.values(), issues)
    refuse_faults(issues)
    return Arguments(_by_name(found))


def _by_name(found: Iterable[Argument]) -> dict[str, tuple[Argument, ...]]:
    given: dict[str, tuple[Argument, ...]] = {}
    for argument in found:
        given[argument.name] = (*given.get(argument.name, ()), argument)
    return given


def _check_cardinality(found: Iterable[Argument], known: Iterable[Parameter], issues: list[Issue]) -> None:
    given = _by_name(found)
    for parameter in known:
        sent = given.get(parameter.name, ())
        if len(sent) > 1 and not parameter.many:
            issues.append(_fault("invalid", f"{parameter.name} may be given once only", sent[1].place))
        # A fault of the value has been told already when there are any.
        if parameter.required and not sent and not issues:
            issues.append(_fault("required", f"the parameter {parameter.name} is required", parameter.name))


def _fault(code: str, text: str, place: str) -> Issue:
    return Issue("error", code, text, (place,))


def _unknown(name: str, known: Mapping[str, Parameter], place: str) -> Issue:
    text = f"the operation has no parameter {name[:64]!r}; it has {', '.join(known) or 'none'}"
    return _fault("not-supported", text, place)


# --- the query -------------------------------------------------------------------------------------------------------


def _from_query(query: Pairs, known: Mapping[str, Parameter], issues: list[Issue]) -> Iterator[Argument]:
    for name, text in query:
        parameter = known.get(name)
        if parameter is None:
            issues.append(_unknown(name, known, name[:64]))
        elif parameter.type not in _PRIMITIVES:
            kind = parameter.type or "parts"
            issues.append(_fault("invalid", f"{name} ({kind}) does not fit into a URL: POST a Parameters", name))
        else:
            value = read_text(parameter.type, text)
            if value is None:
                issues.append(_fault("value", _wrong_format(name, parameter.type), name))
            else:
                yield Argument(name, parameter.type, value, name)


def read_text(type: str, text: str) -> Any:
    """The JSON value that a text is of a primitive type, None when it is none."""
    primitive = PRIMITIVES[type]
    if primitive.json == "boolean":
        return {"true": True, "false": False}.get(text)
    if primitive.json == "integer":
        return _integer(text, primitive.low, primitive.high)
    if primitive.json == "number":
        return _decimal(text)
    return text if primitive.matches(text) else None


def _integer(text: str, low: int | None, high: int | None) -> int | None:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 10:
        return None
    value = int(text)
    return value if (low is None or low <= value) and (high is None or value <= high) else None


def _decimal(text: str) -> Digits | None:
    try:
        value = Digits(text)
    except ArithmeticError:
        return None
    return value if value.is_finite() and len(text) <= 64 else None


def _a(type: str) -> str:
    """A type with its article: `an integer`, `an unsignedInt`, `a uri`."""
    return f"{'an' if type.startswith((*'aeioAEIO', 'un')) else 'a'} {type}"


def _wrong_format(name: str, type: str) -> str:
    return f"{name} is {_a(type)}" + (f", such as {PRIMITIVES[type].example}" if type in PRIMITIVES else "")


# --- the body --------------------------------------------------------------------------------------------------------


def _from_body(
    context: Context, body: Resource, known: Mapping[str, Parameter], unchecked: Collection[str], issues: list[Issue]
) -> list[Argument]:
    type = body["resourceType"]
    if type != "Parameters":
        return _bare_resource(context, body, known, unchecked, issues)
    read = _Body(context.definitions, issues)
    found = list(read.arguments(body.get("parameter") or (), known, _BODY))
    skipped = tuple(one.place + "." for one in found if one.name in unchecked)
    issues += [one for one in context.validator.validate(body) if not _is_within(one, skipped)]
    return found


def _is_within(issue: Issue, places: tuple[str, ...]) -> bool:
    return bool(places) and any(one.startswith(places) for one in issue.expression)


def _bare_resource(
    context: Context, body: Resource, known: Mapping[str, Parameter], unchecked: Collection[str], issues: list[Issue]
) -> list[Argument]:
    """R4 Operations: the one resource that an operation takes may be sent as the body itself."""
    type = body["resourceType"]
    taken = [one for one in known.values() if _is_resource(context.definitions, one.type)]
    if len(taken) != 1 or taken[0].type not in (type, "Resource"):
        wanted = f"Parameters or {taken[0].type}" if len(taken) == 1 else "Parameters"
        issues.append(_fault("invalid", f"the body must be {wanted}, not {type[:64]!r}", "resourceType"))
        return []
    if taken[0].name not in unchecked:
        issues += context.validator.validate(body)
    return [Argument(taken[0].name, type, body, type)]


def _is_resource(definitions: Definitions, type: str) -> bool:
    return type == "Resource" or type in definitions.concrete_types


class _Body:
    """Reads Parameters.parameter. What is no list of objects is left to validation, which names it."""

    def __init__(self, definitions: Definitions, issues: list[Issue]) -> None:
        self._definitions = definitions
        self._issues = issues

    def arguments(self, sent: Any, known: Mapping[str, Parameter], path: str) -> Iterator[Argument]:
        for number, one in enumerate(sent if isinstance(sent, list | tuple) else ()):
            place, name = f"{path}[{number}]", one.get("name") if isinstance(one, dict) else None
            if not isinstance(name, str):
                continue
            parameter = known.get(name)
            if parameter is None:
                self._issues.append(_unknown(name, known, f"{place}.name"))
            else:
                yield from self._argument(one, parameter, place)

    def _argument(self, one: Resource, parameter: Parameter, place: str) -> Iterator[Argument]:
        if parameter.parts:
            known = {part.name: part for part in parameter.parts}
            parts = list(self.arguments(one.get("part"), known, f"{place}.part"))
            _check_cardinality(parts, parameter.parts, self._issues)
            yield Argument(parameter.name, "", Arguments(_by_name(parts)), place)
            return
        if "resource" in one:
            found, value, at = _type_of(one["resource"]), one["resource"], f"{place}.resource"
        else:
            key = next((key for key in one if key.startswith("value")), None)
            if key is None:
                text = f"{parameter.name} has no value; it is {_a(parameter.type)}"
                self._issues.append(_fault("required", text, place))
                return
            found, value, at = self._data_type(key), one[key], f"{place}.value"
        if self._fits(found, parameter.type):
            yield Argument(parameter.name, found, value, at)
        else:
            text = f"{parameter.name} is {_a(parameter.type)}, not {_a(found[:64])}"
            self._issues.append(_fault("invalid", text, at))

    def _data_type(self, key: str) -> str:
        """`valueUri` is `uri`, `valueCoding` is `Coding`."""
        name = key.removeprefix("value")
        lower = name[:1].lower() + name[1:]
        return lower if lower in self._definitions.primitive_types else name

    def _fits(self, found: str, wanted: str) -> bool:
        if wanted == "Element":
            return not _is_resource(self._definitions, found)
        return found in self._definitions.structure_names and wanted in self._definitions.lineage(found)


def _type_of(resource: Any) -> str:
    type = resource.get("resourceType") if isinstance(resource, dict) else None
    return type if isinstance(type, str) else "value without resourceType"
