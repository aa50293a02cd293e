"""Received files kept byte for byte: a Binary for each part of a file, and the DocumentReference that names them.

R4 Binary and DocumentReference. A file is many people's at once and may tell of HIV: what is
kept is restricted, whatever the file says.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fhir_server.interactions.exchange import Context
from fhir_server.interactions.planning import draft
from fhir_server.model.resources import Resource
from fhir_server.records.files import STDIN, name_of, opened
from fhir_server.records.ids import named_id
from fhir_server.store.contract import Transaction
from fhir_server.store.values import EVERYTHING, Op, Put, Written

PART = 6 << 20  # bytes of one Binary: in base64 it still fits into one stored document
MEDIA_TYPES = {
    ".xml": "application/xml",
    ".json": "application/json",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".csv": "text/csv",
    ".zip": "application/zip",
}
_RESTRICTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
    "code": "R",
    "display": "restricted",
}


@dataclass(frozen=True, slots=True)
class Received:
    """A kept file. id: of its DocumentReference. digest: RFC 6920 name of its bytes."""

    id: str
    digest: str

    @property
    def what(self) -> Resource:
        """A Reference to it, by which it is known even without the store."""
        return {
            "reference": f"DocumentReference/{self.id}",
            "identifier": {"system": "urn:ietf:rfc:3986", "value": self.digest},
            "display": "Tệp nhận được, nguyên vẹn",
        }


async def keep_received(context: Context, files: Sequence[Path], writes: bool) -> dict[str, Received]:
    """What is kept of each file by its path. The same bytes are kept once, under whatever name they come again.

    writes: False for a process that shares the files with another one, which keeps them.
    Raises OSError for a file that cannot be read.
    """
    kept: dict[str, Received] = {}
    for path in files:
        if path != STDIN and not path.is_file():
            continue
        received = _named(path)
        kept[name_of(path)] = received
        if writes and received.id not in await context.store.read_many("DocumentReference", [received.id], EVERYTHING):
            await _keep(context, path, received)
    return kept


def received_of(kept: dict[str, Received], file: str) -> Received | None:
    """What is kept of the file that a record's place names; of one in an archive it is the archive."""
    return kept.get(file) or next((one for path, one in kept.items() if file.startswith(f"{path}!")), None)


def _named(path: Path) -> Received:
    with opened(path) as stream:
        digest = hashlib.file_digest(stream, "sha256").digest()
    name = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return Received(named_id("received", "DocumentReference", name), f"ni:///sha-256;{name}")


async def _keep(context: Context, path: Path, received: Received) -> None:
    """The parts first, so that a DocumentReference always names what is there."""
    contents = []
    for binary, content in _parts(path, received):
        await _write(context, binary)
        contents.append(content)
    now = datetime.fromtimestamp(context.clock() / 1000, UTC).isoformat(timespec="seconds")
    await _write(
        context,
        {
            "resourceType": "DocumentReference",
            "id": received.id,
            "meta": {"security": [_RESTRICTED]},
            "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": received.digest},
            "status": "current",
            "type": {"text": "Tệp hồ sơ nhận được, nguyên vẹn"},
            "date": now,
            "description": Path(name_of(path)).name,
            "content": contents,
        },
    )


def _parts(path: Path, received: Received) -> Iterator[tuple[Resource, Resource]]:
    """(Binary, DocumentReference.content that names it) of each part; an empty file has one part."""
    name = Path(name_of(path)).name
    kind = MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
    with opened(path) as stream:
        part = stream.read(PART)
        number = 0
        while part or number == 0:
            number += 1
            id = named_id("received", "Binary", received.digest, str(number))
            binary: Resource = {
                "resourceType": "Binary",
                "id": id,
                "meta": {"security": [_RESTRICTED]},
                "contentType": kind,
                "securityContext": {"reference": f"DocumentReference/{received.id}"},
                "data": base64.b64encode(part).decode(),
            }
            attachment: Resource = {
                "contentType": kind,
                "url": f"Binary/{id}",
                "size": len(part),
                # R4 names SHA-1 for Attachment.hash; the whole file has its SHA-256 in masterIdentifier.
                "hash": base64.b64encode(hashlib.sha1(part, usedforsecurity=False).digest()).decode(),
                "title": name if number == 1 else f"{name}, phần {number}",
            }
            yield binary, {"attachment": attachment}
            part = stream.read(PART)


async def _write(context: Context, resource: Resource) -> None:
    ops: list[Op] = [Put(await draft(context, resource, resource["id"]), None)]

    async def work(transaction: Transaction) -> list[Written]:
        return await transaction.apply(ops)

    await context.store.transact(work)
