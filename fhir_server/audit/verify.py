"""Proves the ledger: that no event was changed, taken away or put in since it was written, and names where if not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from fhir_server.errors import FhirError
from fhir_server.model.resources import decode
from fhir_server.store.ledger_contract import BEGINNING, Anchor, Ledger, Page, Seal, digest

MOST_TOLD = 100


@dataclass(slots=True)
class Verdict:
    """What a verification came to. late: events that a process left behind and another wrote. unsealed: pages that no
    seal covers yet. faults: a sentence each, in the order in which they were found. seal: the last one."""

    chains: int = 0
    pages: int = 0
    events: int = 0
    late: int = 0
    unsealed: int = 0
    faults: list[str] = field(default_factory=list)
    seal: Seal | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A seal that an operator has noted elsewhere: its number and its hash, as hexadecimal digits."""

    number: int
    hash: str


async def verify(ledger: Ledger, kept: Sequence[Kept] = ()) -> Verdict:
    """Reads every seal, page and event. kept: seals that must still be there."""
    verdict, anchor = Verdict(), await ledger.anchor()
    heads = await _verify_seals(ledger, anchor, kept, verdict)
    chains = dict.fromkeys((*await ledger.chains(), *heads))
    for chain in chains:
        await _verify_chain(ledger, chain, anchor, heads.get(chain, {}), verdict)
    verdict.chains = len(chains)
    async for chain, number in ledger.unfindable():
        text = "it is not found by what its events say; `fhir-server migrate` mends what is no fraud"
        verdict.faults.append(f"chain {chain}, page {number}: {text}")
    return verdict


async def _verify_seals(
    ledger: Ledger, anchor: Anchor, kept: Sequence[Kept], verdict: Verdict
) -> dict[str, dict[int, Seal]]:
    """By chain and number of pages, the seals; each must follow the one before it."""
    heads: dict[str, dict[int, Seal]] = {}
    wanted = {one.number: one.hash for one in kept if one.number > anchor.seals}
    number, before = anchor.seals, anchor.hash
    async for seal in ledger.seals(after=anchor.seals):
        if seal.number != number + 1:
            verdict.faults.append(f"seal {number + 1}: it is missing")
        elif seal.before != before:
            verdict.faults.append(f"seal {seal.number}: it does not follow seal {number}: one of them was changed")
        if wanted.pop(seal.number, seal.hash.hex()) != seal.hash.hex():
            verdict.faults.append(f"seal {seal.number}: it is not the one that was noted")
        heads.setdefault(seal.chain, {})[seal.pages] = seal
        number, before, verdict.seal = seal.number, seal.hash, seal
    verdict.faults += [f"seal {number}: it was noted, and is not there" for number in sorted(wanted)]
    return heads


async def _verify_chain(ledger: Ledger, chain: str, anchor: Anchor, seals: dict[int, Seal], verdict: Verdict) -> None:
    number, events, head = anchor.chains.get(chain, (0, 0, BEGINNING))
    sealed = number
    async for page, raws in ledger.pages(chain, after=number):
        place = f"chain {chain}, page {page.number}"
        if page.number != number + 1:
            verdict.faults.append(f"{place}: the pages from {number + 1} on are missing before it")
        elif page.before != head or page.first != events + 1:
            verdict.faults.append(f"{place}: it does not follow the page before: one of them was changed")
        _verify_events(page, raws, place, verdict)
        seal = seals.pop(page.number, None)
        if seal is not None:
            sealed = page.number
            if seal.head != page.head:
                verdict.faults.append(f"{place}: it is not the page that seal {seal.number} was put on")
        number, events, head = page.number, page.first + len(page.digests) - 1, page.head
        verdict.pages += 1
        verdict.events += len(raws)
        verdict.late += len(raws) if page.late else 0
    pruned = anchor.chains.get(chain, (0, 0, BEGINNING))[0]
    for missing in sorted(pages for pages in seals if pages > max(number, pruned)):
        verdict.faults.append(f"chain {chain}: page {missing}, which seal {seals[missing].number} is on, is missing")
    verdict.unsealed += number - sealed


def _verify_events(page: Page, raws: Sequence[bytes], place: str, verdict: Verdict) -> None:
    """The bytes of each event are those that were written, and there is none more and none less."""
    found = [digest(raw) for raw in raws]
    if tuple(found) == page.digests:
        return
    for number, (is_there, was_there) in enumerate(zip_longest(found, page.digests)):
        if is_there == was_there:
            continue
        where = f"event {page.first + number} ({place})"
        if was_there is None or was_there in found[number + 1 :]:
            verdict.faults.append(f"{where}: {_named(raws[number])} was put in")
        elif is_there is None or is_there in page.digests[number + 1 :]:
            verdict.faults.append(f"{where}: it was taken away")
        else:
            verdict.faults.append(f"{where}: {_named(raws[number])} was changed")
        return


def _named(raw: bytes) -> str:
    try:
        return f"AuditEvent/{decode(raw)['id']}"
    except (FhirError, KeyError, TypeError):
        return "it"
