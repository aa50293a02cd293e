"""Rows of a mapping as functions: from a source path through transforms to a target path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fhir_server.model.resources import Resource
from fhir_server.records.conditions import Test, compile_test
from fhir_server.records.facts import Facts, WrongValue
from fhir_server.records.scopes import Mapped, Places, Scope, compile_source, field_of_item
from fhir_server.records.source import Problem
from fhir_server.records.targets import Elements, Put, compile_target, copied
from fhir_server.records.transform_dates import Transform
from fhir_server.records.transforms import TRANSFORMS, semicolon_list

# What a row may say; a word that is misspelt must not be passed over.
WORDS = frozenset({
    "source", "target", "as", "with", "when", "default", "absent", "wrong", "vi", "en", "link", "value", "line", "on",
    "derived", "copy_of",
})  # fmt: skip

# (what stands in the row's field, where it reads, where it writes, facts, what is made)
Act = Callable[[Any, Scope, Places, Facts, Mapped], object]
# The one field of the item that a row reads and without which it does nothing, None where there is no such; the row.
Row = tuple[str | None, Act]


def compile_row(row: Mapping[str, Any], group: str, elements: Elements) -> Row:
    """One row as a function. Raises ValueError for a row that says nothing sensible."""
    try:
        return _field_of(row), _compiled(row, group, elements)
    except (KeyError, ValueError) as fault:
        what = f"{fault.args[0]!r} is missing or does not exist" if isinstance(fault, KeyError) else str(fault)
        raise ValueError(f"{group}, the row of {row.get('target', row)!r}: {what}") from fault


def _field_of(row: Mapping[str, Any]) -> str | None:
    source = row.get("source")
    needs_it = "default" not in row and row.get("absent", "leave") == "leave"
    return field_of_item(source) if isinstance(source, str) and needs_it else None


def _compiled(row: Mapping[str, Any], group: str, elements: Elements) -> Act:
    if not row.keys() <= WORDS:
        raise ValueError(f"a row says nothing of {', '.join(sorted(row.keys() - WORDS))}")
    owner = row.get("on", group)
    put = compile_target(row["target"], owner, elements)
    test = compile_test(row.get("when"))
    act = next((make for name, make in _ACTS if name in row), _value)(row, put)
    if owner != group:
        act = _on_another(owner, act)
    return act if test is None else _when(test, act)


def _on_another(owner: str, act: Act) -> Act:
    """Writes into the resource of another group, where there is one."""

    def run(found: Any, scope: Scope, places: Places, facts: Facts, mapped: Mapped) -> None:
        target = mapped.latest.get(owner)
        if target is not None:
            act(found, scope, target.places, facts, mapped)

    return run


def _when(test: Test, act: Act) -> Act:
    def run(found: Any, scope: Scope, places: Places, facts: Facts, mapped: Mapped) -> None:
        if test(scope):
            act(found, scope, places, facts, mapped)

    return run


def _constant(row: Mapping[str, Any], put: Put) -> Act:
    value = row["value"]
    return lambda found, scope, places, facts, mapped: put(places, copied(value), scope)


def _line(row: Mapping[str, Any], put: Put) -> Act:
    offset = row["line"]
    return lambda found, scope, places, facts, mapped: put(places, scope.line + offset, scope)


def _link(row: Mapping[str, Any], put: Put) -> Act:
    wanted = row["link"]

    def act(found: Any, scope: Scope, places: Places, facts: Facts, mapped: Mapped) -> None:
        target = scope.made if wanted == "#" else mapped.of(wanted)
        if target is not None:
            reference: Resource = {}
            element = put(places, reference, scope)
            mapped.links.append((reference if element is None else element, target))

    return act


def _value(row: Mapping[str, Any], put: Put) -> Act:
    sources = row["source"] if isinstance(row["source"], list) else [row["source"]]
    reads = [(path, compile_source(path)) for path in sources]
    names = row.get("as", "text")
    chain = [TRANSFORMS[name] for name in (names if isinstance(names, list) else [names])]
    transform = _in_turn(chain)
    options: Mapping[str, Any] = row.get("with", {})
    default, absent, wrong = row.get("default"), row.get("absent", "leave"), row.get("wrong", "refuse")
    takes_one = "[+]" not in row["target"]
    # Options whose value is read from the record: `facility_from` gives the transform its option `facility`.
    read_options = [
        (name.removesuffix("_from"), compile_source(at)) for name, at in options.items() if name.endswith("_from")
    ]

    def act(found: Any, scope: Scope, places: Places, facts: Facts, mapped: Mapped) -> None:
        path = sources[0]
        if found is None:
            for at, read in reads:
                found = read(scope)
                if found is not None:
                    path = at
                    break
        if found is None:
            if default is not None:
                put(places, copied(default), scope)
            elif absent != "leave":
                mapped.problems.append(_missing(path, absent))
            return
        facts.at = path
        chosen = {**options, **{name: read(scope) for name, read in read_options}} if read_options else options
        if found.__class__ is str and transform is not None:  # as nearly always
            try:
                value = transform(found, chosen, facts)
            except WrongValue as fault:
                mapped.problems.append(_wrong(path, fault, wrong))
                value = None
            if value is None and default is not None:
                value = copied(default)
            if value is not None:
                put(places, value, scope)
            return
        values: list[Any] = found if found.__class__ is list else [found]
        if takes_one and any(one != values[0] for one in values[1:]):  # each would be written over the one before
            several = "; ".join(one for one in values if isinstance(one, str))
            mapped.problems.append(_wrong(path, WrongValue(several, ("one value", "một giá trị")), wrong))
            return
        for each in chain:
            values = _apply(each, values, chosen, facts, mapped, path, wrong)
        if not values and default is not None:
            values = [copied(default)]
        for value in values:
            put(places, value, scope)

    return act


def _in_turn(chain: Sequence[Transform]) -> Transform | None:
    """Transforms one after the other as one; None where a text may become several."""
    if semicolon_list in chain:
        return None
    if len(chain) == 1:
        return chain[0]

    def transform(found: Any, options: Mapping[str, Any], facts: Facts) -> Any:
        for one in chain:
            found = one(found, options, facts)
            if found is None:
                return None
        return found

    return transform


def _copy(row: Mapping[str, Any], put: Put) -> Act:
    """A field that repeats another: written only where it says something else."""
    read_original = compile_source(row["copy_of"])

    def act(found: Any, scope: Scope, places: Places, facts: Facts, mapped: Mapped) -> None:
        if isinstance(found, str) and not _agree(found, read_original(scope)):
            put(places, found, scope)

    return act


def _agree(found: str, wanted: Any) -> bool:
    """Equal, or dates of which one is told more exactly."""
    if found == wanted:
        return True
    if not isinstance(wanted, str) or not (found.isdigit() and wanted.isdigit() and len(found) in (8, 12)):
        return False
    return found.startswith(wanted) or wanted.startswith(found)


def _apply(
    transform: Transform,
    values: list[Any],
    options: Mapping[str, Any],
    facts: Facts,
    mapped: Mapped,
    path: str,
    wrong: str,
) -> list[Any]:
    """What a transform makes of each value; a wrong one is told and left out."""
    made: list[Any] = []
    for value in values:
        if value.__class__ is not str:  # a table stands where a text is expected
            mapped.problems.append(_wrong(path, WrongValue("…", ("a text", "một giá trị")), wrong))
            continue
        try:
            result = transform(value, options, facts)
        except WrongValue as fault:
            mapped.problems.append(_wrong(path, fault, wrong))
            continue
        if result.__class__ is list:
            made += result
        elif result is not None:
            made.append(result)
    return made


_ACTS: tuple[tuple[str, Callable[[Mapping[str, Any], Put], Act]], ...] = (
    ("link", _link),
    ("value", _constant),
    ("line", _line),
    ("copy_of", _copy),
)

_SEVERITY = {"refuse": "error", "tell": "warning"}


def _missing(path: str, rule: str) -> Problem:
    texts = ("a value is needed and there is none", "bắt buộc có giá trị nhưng đang trống")
    return Problem(_SEVERITY[rule], "required", texts, field=path)


def _wrong(path: str, fault: WrongValue, rule: str) -> Problem:
    texts = ("this value cannot be read", "giá trị không hợp lệ")
    if rule == "tell":
        texts = ("this value cannot be read and was left out", "giá trị không hợp lệ, đã bỏ qua")
    return Problem(_SEVERITY[rule], "value", texts, path, fault.found, fault.allowed)
