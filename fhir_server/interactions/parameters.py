"""Makes SearchParameter resources and those of terminology take effect: adopted when written, and told to every
process."""

from __future__ import annotations

from collections.abc import Iterable

from fhir_server.interactions.exchange import Context
from fhir_server.model.resources import decode
from fhir_server.store.values import EVERYTHING
from fhir_server.terminology.catalogue import TYPES

TYPE = "SearchParameter"


async def adopt(context: Context) -> None:
    """Reads the stored SearchParameter resources, and gives letters to what is new. Types with resources keep their
    new parameters pending until they are re-indexed."""
    stored = [decode(found.raw) async for found in context.store.walk(TYPE, EVERYTHING)]
    context.search.adopt(stored)
    await context.store.ensure_letters(context.search.declared())


async def after_writing(context: Context, types: Iterable[str]) -> None:
    """What follows a committed write of these types."""
    written = frozenset(types)
    if TYPE in written:
        await adopt(context)
        await context.store.announce_parameters()
    if not written.isdisjoint(TYPES):
        await context.terminology.announce()
