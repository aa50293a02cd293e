"""Referential integrity, when the operator asks for it: no dangling reference is written, no delete leaves one.

R4 Resource References and R4 RESTful API, delete, leave both to the server.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from fhir_server.errors import Issue, Kind, refuse_faults
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.finder import Finder
from fhir_server.model.references import Literal, literal, references
from fhir_server.search.tree import Leaf, Or
from fhir_server.store.contract import Transaction
from fhir_server.store.values import EVERYTHING, LEDGER_TYPE, Draft, Find, Stored, View

Identity = tuple[str, str]
# What was done is told of a version, which can be read when the resource is deleted.
_STAY = frozenset({LEDGER_TYPE, "Provenance"})
TOLD = 3  # holders named for each resource that may not be deleted


async def refuse_dangling(
    context: Context,
    transaction: Transaction,
    drafts: Mapping[str, Draft],
    written: Collection[Identity],
    removed: Collection[Identity],
    urls: Collection[str | None] = (),
) -> None:
    """drafts: by the place to tell. written, removed: what there will be, and what there will not. urls: those of the
    entries of a bundle. Raises FhirError BUSINESS_RULE naming each reference to nothing."""
    issues = []
    wanted: dict[Identity, list[str]] = defaultdict(list)
    versions: dict[str, dict[tuple[str, int], list[Issue]]] = defaultdict(lambda: defaultdict(list))
    for place, draft in drafts.items():
        for path, text in references(draft.resource):
            target = literal(text)
            if target is not None and _is_ours(context, target) and (target.type, target.id) not in written:
                if target.version is None:
                    wanted[target.type, target.id].append(f"{place}.{path}")
                else:
                    number = int(target.version) if target.version.isdigit() and len(target.version) < 10 else 0
                    versions[target.type][target.id, number].append(_to_nothing(text, f"{place}.{path}"))
            elif text.startswith(("urn:uuid:", "urn:oid:")) and text not in urls:
                issues.append(_to_nothing(f"{text[:80]}, which is no entry of the bundle,", f"{place}.{path}"))
    await transaction.rely_on([_name(identity) for identity in wanted])
    missing = wanted.keys() - (await _live(transaction, wanted, context.view)).difference(removed)
    issues += [_to_nothing("/".join(name), path) for name in sorted(missing) for path in wanted[name]]
    for type, named in versions.items():
        # A version can be referred to as long as it can be read, be it of something that was deleted since.
        there = await transaction.versions(type, named, context.view)
        issues += [issue for version, told in named.items() if version not in there for issue in told]
    refuse_faults(issues, Kind.BUSINESS_RULE)


def _to_nothing(name: str, place: str) -> Issue:
    return Issue("error", "not-found", f"there is no {name} to refer to", (place,))


def _name(identity: Identity) -> str:
    return f"held {identity[0]}/{identity[1]}"


def _is_ours(context: Context, target: Literal) -> bool:
    return target.type in context.capability.types and target.base in (None, f"{context.base}/")


async def _live(transaction: Transaction, wanted: Iterable[Identity], view: View) -> set[Identity]:
    ids: dict[str, list[str]] = defaultdict(list)
    for type, id in wanted:
        ids[type].append(id)
    found: set[Identity] = set()
    for type, some in ids.items():
        for start in range(0, len(some), 1000):
            part = some[start : start + 1000]
            query = Find(type, {"_id": {"$in": part}}, (("_id", 1),), len(part), raw=False)
            # What the caller may not see is not there to refer to, just as what has never been.
            found.update((type, stored.id) for stored in await transaction.find(query, view))
    return found


async def refuse_orphans(
    context: Context, transaction: Transaction, written: Collection[Identity], removed: Mapping[Identity, str]
) -> None:
    """removed: with the place to tell. Raises FhirError CONFLICT naming up to three holders of each resource that would
    be deleted under them.

    Those that the caller may not see are neither named nor counted."""
    if not removed:
        return
    await transaction.upset([_name(identity) for identity in removed])
    gone = {*removed, *written}
    sources = sorted((context.capability.types.keys() & await context.store.types()) - _STAY)
    issues = [
        Issue("error", "conflict", f"{type}/{id} is referred to{by}", (place,))
        for (type, id), place in sorted(removed.items())
        for by in await _held(context, transaction, sources, (type, id), gone)
    ]
    refuse_faults(issues, Kind.CONFLICT)


async def _held(
    context: Context, transaction: Transaction, sources: Sequence[str], held: Identity, gone: set[Identity]
) -> list[str]:
    """` by Condition/12` for each holder that is told; one empty text when there are only others."""
    type, id = held
    if not await transaction.find(Find(type, {"_id": id}, (), 1, raw=False), context.view):
        return []  # it is not removed, for it is not there for this caller
    seen = await _holders(context, transaction, sources, held, gone)
    if seen or context.view == EVERYTHING:
        return [f" by {holder}" for holder in seen]
    return [""] if await _holders(context.with_(view=EVERYTHING), transaction, sources, held, gone) else []


async def _holders(
    context: Context, transaction: Transaction, sources: Sequence[str], held: Identity, gone: set[Identity]
) -> list[str]:
    finder = Finder(context, transaction)
    told: list[str] = []
    for source in sources:
        found = await holders(finder, source, held, TOLD + len(gone))
        told += [f"{source}/{stored.id}" for stored in found if (source, stored.id) not in gone]
        if len(told) >= TOLD:
            break
    return told[:TOLD]


async def holders(finder: Finder, source: str, held: Identity, most: int) -> list[Stored]:
    """The resources of the type `source` that refer to another by any reference that is searched, up to `most`."""
    leaves = tuple(
        Leaf(source, param, None, ("/".join(held),))
        for param in finder.parameters(source)
        if param.type == "reference" and param.expression and (held[0] in param.targets or not param.targets)
    )
    return await finder.page(await finder.plan(source, Or(leaves)), most) if leaves else []
