"""Requests that are answered later, kept so that any process can go on with one whose process died.

    deferrals: {_id, caller, owner, until: end of the owner's lease, done, at}

Their requests and answers are kept among the answers. All times are the database's own: the clocks of the machines
that servers run on need not agree.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.store.answers import ANSWER_SECONDS, Answers
from fhir_server.store.documents import Document
from fhir_server.store.values import Deferred

DEFERRALS = "deferrals"


class Deferrals:
    """The deferred requests of one database."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._deferrals = database[DEFERRALS]
        self._answers = Answers(database)

    async def defer(self, id: str, caller: str, request: bytes) -> None:
        """The request first: a deferral that is found has one."""
        await self._answers.keep(_request(id), request)
        now = datetime.now(UTC)
        await self._deferrals.insert_one(
            {"_id": id, "caller": caller, "owner": "", "until": now, "done": False, "at": now}
        )

    async def lease(self, id: str, owner: str, seconds: float) -> bytes | None:
        free = {"$expr": {"$or": [{"$eq": ["$owner", {"$literal": owner}]}, {"$lte": ["$until", "$$NOW"]}]}}
        taken = await self._deferrals.update_one({"_id": id, "done": False, **free}, _lease(owner, seconds))
        return await self._answers.kept(_request(id)) if taken.matched_count else None

    async def renew(self, id: str, owner: str, seconds: float) -> bool:
        renewed = await self._deferrals.update_one({"_id": id, "owner": owner, "done": False}, _lease(owner, seconds))
        return bool(renewed.matched_count)

    async def settle(self, id: str, owner: str, answer: bytes) -> None:
        """The answer under the owner's name first, so that two who both believe to own it cannot mix."""
        await self._answers.forget(_answer(id, owner))  # of an earlier try that was cut off
        await self._answers.keep(_answer(id, owner), answer)
        settled = await self._deferrals.update_one({"_id": id, "owner": owner, "done": False}, {"$set": {"done": True}})
        await self._answers.forget(_request(id) if settled.matched_count else _answer(id, owner))

    async def deferred(self, id: str, caller: str) -> Deferred | None:
        step: list[dict[str, Any]] = [
            {"$match": {"_id": str(id), "caller": str(caller)}},
            {"$set": {"held": {"$gt": ["$until", "$$NOW"]}}},
        ]
        found = await (await self._deferrals.aggregate(step)).to_list()
        if not found:
            return None
        kept: Document = found[0]
        expires = int(kept["at"].replace(tzinfo=UTC).timestamp() * 1000) + ANSWER_SECONDS * 1000
        answer = await self._answers.kept(_answer(id, kept["owner"])) if kept["done"] else None
        return Deferred(kept["done"], kept["held"], expires, answer)

    async def cancel(self, id: str, caller: str) -> bool:
        """False when there was none. Whoever works on it learns so when it renews its lease."""
        gone = await self._deferrals.find_one_and_delete({"_id": str(id), "caller": str(caller)})
        if gone is None:
            return False
        await self._answers.forget(_request(id))
        await self._answers.forget(_answer(id, gone["owner"]))
        return True


def _lease(owner: str, seconds: float) -> list[dict[str, Any]]:
    until = {"$add": ["$$NOW", int(seconds * 1000)]}
    return [{"$set": {"owner": {"$literal": owner}, "until": until}}]


def _request(id: str) -> str:
    return f"deferred/{id}/request"


def _answer(id: str, owner: str) -> str:
    return f"deferred/{id}/answer/{owner}"
