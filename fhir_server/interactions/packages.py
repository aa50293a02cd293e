"""FHIR packages at work: their profiles and terminology are taken up at the start and whenever they have changed."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from fhir_server.definitions.packages import Package, missing, version_key
from fhir_server.errors import Issue
from fhir_server.interactions.exchange import Context
from fhir_server.model.references import is_id
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.store.values import EVERYTHING, Installed
from fhir_server.terminology.catalogue import TYPES
from fhir_server.validation.conformance import Conformance
from fhir_server.validation.validate import Validator

# Faults of one definition, and of one package, that are told.
_MOST_OF_ONE = 3
_MOST_PROBLEMS = 500
_START = b'{"resourceType":"'
_NOT_OF_IDS = re.compile(r"[^A-Za-z0-9.-]")


async def adopt_packages(context: Context) -> None:
    """Takes what the installed packages define, unless it has taken just that already."""
    packages = await _in_order(context)
    edition = [package.revision for package in packages]
    conformance = context.validator.conformance
    if conformance is None or conformance.edition == tuple(edition):
        return
    contents = [content for one in packages for content in await context.store.package_resources(one)]
    guides = [one.facts["guide"] for one in packages if one.facts["guide"]]
    conformance.adopt((one for one in contents if _type(one) == "StructureDefinition"), guides, edition)
    context.terminology.take(one for one in contents if _type(one) in TYPES)


async def _in_order(context: Context) -> list[Installed]:
    """The packages by name, later versions later."""
    found = await context.store.packages()
    return sorted(found, key=lambda one: (one.facts["name"], version_key(one.facts["version"])))


def _type(content: bytes) -> str:
    return content[len(_START) :].partition(b'"')[0].decode()


def identity(package: Package) -> str:
    """Name and version, and the base of its URLs, since different guides are published under one name."""
    return f"{package.id} {package.canonical}".strip()


@dataclass(frozen=True, slots=True)
class Plan:
    """A package that was looked at and may be installed. contents: its resources as JSON."""

    installed: Installed
    contents: tuple[bytes, ...]


async def plan(context: Context, package: Package) -> Plan:
    """What would be installed; what is wrong with it is in its facts."""
    others = [one for one in await _in_order(context) if one.identity != identity(package)]
    package, unreadable = _readable(package, context.validator)
    contents = tuple(encode({"resourceType": one["resourceType"], **one}) for one in package.resources)
    installed = [content for one in others for content in await context.store.package_resources(one)]
    problems = [*package.problems, *unreadable, *_needs(package, others), *_twice(package, installed)]
    conformance = context.validator.conformance
    if conformance is not None:
        definitions = (one for one in (*installed, *contents) if _type(one) == "StructureDefinition")
        problems += _faults(package, context.validator, conformance.beside(definitions))
    facts = {
        "name": package.name,
        "version": package.version,
        "canonical": package.canonical,
        "title": package.title,
        "guide": package.guide,
        "dependencies": [f"{name} {version}" for name, version in package.dependencies.items()],
        "counts": dict(Counter(one["resourceType"] for one in package.resources)),
        "problems": problems[:_MOST_PROBLEMS],
        "stored_as": await _names(context, identity(package), package.resources, others),
    }
    return Plan(Installed(identity(package), facts), contents)


def _readable(package: Package, validator: Validator) -> tuple[Package, list[str]]:
    """The package without definitions that are not even shaped as R4 has them, and what is wrong with those."""
    kept, problems = [], []
    for one in package.resources:
        if validator.is_shaped(one):
            kept.append(one)
        else:
            name = f"{one['resourceType']} {str(one.get('url') or one.get('id'))[:200]}"
            faults = [_told(issue) for issue in validator.validate(one) if issue.is_error]
            problems.append(f"{name} is left out: {faults[0]}")
    return replace(package, resources=tuple(kept)), problems


async def _names(
    context: Context, identity: str, resources: Sequence[Resource], others: Sequence[Installed]
) -> list[str]:
    """`Type/id` of each resource as it is stored for clients to read: its own id; one with its place in the package
    where that is no id of R4, or names a resource of another package, of ours or of a client."""
    taken = {name for one in others for name in stored_as(one)}
    before = {name for one in await context.store.packages() for name in stored_as(one)} - taken
    for type in {one["resourceType"] for one in resources}:
        ids = [one["id"] for one in resources if one["resourceType"] == type and is_id(one.get("id"))]
        there = await context.store.read_many(type, ids, EVERYTHING)
        taken |= {f"{type}/{one.id}" for one in there.values() if not one.deleted} - before
    names: list[str] = []
    for number, one in enumerate(resources):
        name = f"{one['resourceType']}/{one.get('id')}"
        if not is_id(one.get("id")) or name in taken:
            mark = hashlib.sha256(f"{identity} {number}".encode()).hexdigest()[:12]
            name = f"{one['resourceType']}/{_NOT_OF_IDS.sub('-', str(one.get('id', '')))[:50]}-{mark}"
        taken.add(name)
        names.append(name)
    return names


def stored_as(package: Installed) -> Sequence[str]:
    """`Type/id` of each resource of a package, in its order; none of one that an older program installed."""
    found: Sequence[str] = package.facts.get("stored_as", ())
    return found


async def name_resources(context: Context) -> list[Installed]:
    """Gives the packages that an older program installed the names under which what they define is stored; gives
    these packages."""
    packages = await _in_order(context)
    named: list[Installed] = []
    for package in (one for one in packages if "stored_as" not in one.facts):
        contents = await context.store.package_resources(package)
        others = [one for one in await _in_order(context) if one.identity != package.identity]
        names = await _names(context, package.identity, [decode(one) for one in contents], others)
        named.append(Installed(package.identity, {**package.facts, "stored_as": names}))
        await context.store.install(named[-1], contents)
    return named


async def install(context: Context, plan: Plan) -> None:
    """Keeps a package in the place of one with its identity, and takes it up here; every other process does so
    within seconds."""
    await context.store.install(plan.installed, plan.contents)
    await adopt_packages(context)


def dependents(package: Installed, packages: Sequence[Installed]) -> list[str]:
    """The names of the packages that name one as a dependency."""
    name = package.facts["name"]
    return [one.facts["name"] for one in packages if any(row.split()[0] == name for row in one.facts["dependencies"])]


# --- what is wrong with a package


def _needs(package: Package, others: Sequence[Installed]) -> Iterator[str]:
    versions: dict[str, set[str]] = {}
    for one in others:
        versions.setdefault(one.facts["name"], set()).add(one.facts["version"])
    for wanted in missing(package, versions):
        yield f"it needs {wanted}, which is not installed; what its profiles take from there is not checked"


def _twice(package: Package, installed: Sequence[bytes]) -> Iterator[str]:
    """Definitions of which another one with the same URL and version is there: the one of the later package counts."""
    own = [_canonical(one) for one in package.resources if "url" in one]
    for canonical, count in Counter(own).items():
        if count > 1:
            yield f"{canonical} is defined {count} times; the last one counts"
    theirs = frozenset(own).intersection(_canonicals(installed))
    yield from (f"{canonical} is defined by another package too" for canonical in sorted(theirs))


def _canonical(resource: Resource) -> str:
    return f"{resource['url']}|{resource.get('version', '')}"


class _Name(msgspec.Struct):
    url: str | None = None
    version: str | None = None


def _canonicals(contents: Sequence[bytes]) -> Iterator[str]:
    for name in (msgspec.json.decode(content, type=_Name) for content in contents):
        if name.url:
            yield f"{name.url}|{name.version or ''}"


def _faults(package: Package, validator: Validator, conformance: Conformance) -> Iterator[str]:
    """Faults of base R4 in the definitions, and what keeps a profile from being applied whole."""
    for one in package.resources:
        name = f"{one['resourceType']} {one.get('url') or one.get('id') or one.get('name', '')}"
        faults = [issue for issue in validator.validate(one) if issue.is_error]
        yield from (f"{name}: {_told(issue)}" for issue in faults[:_MOST_OF_ONE])
        if len(faults) > _MOST_OF_ONE:
            yield f"{name}: {len(faults) - _MOST_OF_ONE} more faults of base R4"
        if one["resourceType"] == "StructureDefinition":
            canonical = f"{one['url']}|{one.get('version')}"
            if conformance.profiles.get(canonical) is not None:
                yield from (f"{name}: {problem}" for problem in conformance.problems(canonical))
    yield from _undeclared(package.resources)


def _told(issue: Issue) -> str:
    return f"{', '.join(issue.expression)}: {issue.diagnostics}"


def _undeclared(resources: Sequence[Resource]) -> Iterator[str]:
    """Identifier systems that profiles fix and that no NamingSystem of the package has, though it has some there."""
    rows = [row for one in resources if one["resourceType"] == "NamingSystem" for row in one.get("uniqueId", ())]
    declared = {str(row.get("value")) for row in rows}
    bases = {uri.rpartition("/")[0] for uri in declared}
    for one in resources:
        for row in (one.get("differential") or {}).get("element", ()):
            system = str(row.get("fixedUri", "")) if str(row.get("path")).endswith("identifier.system") else ""
            if system and system.rpartition("/")[0] in bases and system not in declared:
                yield f"StructureDefinition {one.get('url')}: {row.get('id')} is {system}, which no NamingSystem names"
