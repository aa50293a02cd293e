"""Where records are sent in, and what is stored of them is looked at: one context for all, emptied before each test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fhir_server.interactions.exchange import Context
from fhir_server.model.resources import decode
from fhir_server.records.doubts import open_doubts
from fhir_server.records.importing import import_records
from fhir_server.records.report import ImportReport
from fhir_server.store.values import EVERYTHING


class Desk:
    def __init__(self, context: Context, folder: Path) -> None:
        self.context = context
        self.folder = folder

    def put(self, body: bytes, name: str) -> Path:
        path = self.folder / name
        path.write_bytes(body)
        return path

    async def send(self, body: bytes, name: str = "a.xml") -> ImportReport:
        return await import_records(self.context, [self.put(body, name)])

    async def stored(self, type: str) -> list[dict[str, Any]]:
        return [decode(one.raw) async for one in self.context.store.walk(type, EVERYTHING)]

    async def versions(self) -> dict[str, int]:
        """`Type/id` -> version of all that is stored."""
        types = sorted(await self.context.store.types() - {"AuditEvent"})
        walks = {type: self.context.store.walk(type, EVERYTHING) for type in types}
        return {f"{type}/{one.id}": one.version for type, walk in walks.items() async for one in walk}

    async def of_number(self, value: str) -> dict[str, Any]:
        """The one Patient who bears a number."""
        found = await self.stored("Patient")
        (one,) = [one for one in found if value in [held["value"] for held in one.get("identifier", ())]]
        return one

    async def doubts(self) -> list[tuple[str, str, str]]:
        """(reason, about, other) of those that are open."""
        return [
            (one["reasonCode"]["coding"][0]["code"], one["for"]["reference"], one["focus"]["reference"])
            for one in await open_doubts(self.context, 100)
        ]
