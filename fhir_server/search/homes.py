"""Where the keys of a parameter are kept: with the parameter itself, or with others that find the same values.

Many R4 parameters are unions or copies of others: `phonetic` is `name`, `combo-code` is `code` and `component-code`,
`subject` holds what `patient` does and more. Each value is written once, and the query looks in every home.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.definitions.search_params import SearchParameter
from fhir_server.search.lookup import Home
from fhir_server.search.path import Path
from fhir_server.search.types import string, token

_HL7 = "http://hl7.org/fhir/"
_UNITED = frozenset({"token", "quantity", "composite"})
# Dates are compared beside the order key, and special parameters have keys of their own kind.
_ALONE = frozenset({"date", "special"})


@dataclass(frozen=True, slots=True)
class _Finding:
    """What a parameter finds: kind tells how it writes keys, branches where it looks, target what it is limited to."""

    kind: tuple[Any, ...]
    branches: frozenset[Any]
    target: str | None


Homes = Mapping[str, tuple[Home, ...]]
Branches = Callable[[SearchParameter], tuple[Any, ...]]


def homes_of(params: Mapping[str, SearchParameter], paths: Branches, parts: Branches) -> Homes:
    """The homes of each parameter of one type. paths: of a parameter; parts: the paths of a composite's components."""
    findings = {code: _finding(param, paths(param), parts) for code, param in params.items()}
    # What R4 defines is the home of what an operator adds, so that a copy needs no new keys.
    order = sorted(findings, key=lambda code: (not params[code].url.startswith(_HL7), code))
    first: dict[_Finding, str] = {}
    for code in order:
        first.setdefault(findings[code], code)
    keepers = {code: finding for finding, code in first.items()}
    own: dict[str, tuple[Home, ...]] = {}
    for code in sorted(keepers, key=lambda code: len(keepers[code].branches)):
        alone = {name: keepers[name] for name, homes in own.items() if homes[0].code == name}
        own[code] = _united(keepers[code], alone) or (Home(code), *_limited(keepers[code], keepers))
    return {code: own[first[finding]] for code, finding in findings.items()}


def _finding(param: SearchParameter, paths: tuple[Path, ...], parts: Branches) -> _Finding:
    if param.type in _ALONE or param.code.startswith("_"):
        return _Finding((param.code,), frozenset(), None)
    kind: tuple[Any, ...] = (param.type,)
    if param.type == "token":
        kind += (any(path.type in token.CODED for path in paths),)
    if param.type == "string":
        kind += (string.parting_of(paths),)
    if param.type == "composite":
        return _Finding((*kind, parts(param)), frozenset((path.steps, path.type) for path in paths), None)
    if param.type == "reference":
        targets = {path.points_at for path in paths}
        if len(targets) == 1:
            return _Finding(kind, frozenset((_unlimited(path), path.type) for path in paths), targets.pop())
    return _Finding(kind, frozenset((path.steps, path.type) for path in paths), None)


def _unlimited(path: Path) -> tuple[Any, ...]:
    return path.steps[:-1] if path.points_at else path.steps


def _limited(finding: _Finding, keepers: Mapping[str, _Finding]) -> Iterable[Home]:
    """The homes of the values of one target type, where a parameter is limited to it."""
    if finding.kind[0] != "reference" or finding.target is not None:
        return ()
    return [
        Home(code, one.target)
        for code, one in keepers.items()
        if one.target is not None and one.kind == finding.kind and one.branches == finding.branches
    ]


def _united(finding: _Finding, others: Mapping[str, _Finding]) -> tuple[Home, ...]:
    """Smaller parameters that find the same together; none when there are no such."""
    if finding.kind[0] not in _UNITED or len(finding.branches) < 2:
        return ()
    smaller = {
        code: one.branches
        for code, one in others.items()
        if one.kind == finding.kind and one.branches < finding.branches
    }
    found: list[Home] = []
    covered: frozenset[Any] = frozenset()
    for code in sorted(smaller, key=lambda code: (-len(smaller[code]), code)):
        if smaller[code].isdisjoint(covered):
            found.append(Home(code))
            covered |= smaller[code]
    return tuple(found) if covered == finding.branches else ()
