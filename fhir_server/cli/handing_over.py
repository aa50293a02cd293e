"""`fhir-server hand-over`: everything that is stored as files, for whoever takes the data over: every version of every
resource, deletions, the record of accesses with what proves it, packages, code tables, the registers, and a hash of
each file. All of it is read at one moment, though a server writes meanwhile.

Files are written in parts. A part that is complete is noted in `parts.ndjson`; run again, the command goes on behind
the last one. Memory holds one step of the database at a time.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from fhir_server.cli.desk import Desk, at_desk
from fhir_server.cli.faults import CannotRun
from fhir_server.cli.progress import progress
from fhir_server.config import FHIR_VERSION, VERSION, Settings
from fhir_server.errors import FhirError, Kind
from fhir_server.model.dates import instant
from fhir_server.model.ids import now
from fhir_server.model.resources import decode, encode
from fhir_server.records.newborns import REGISTER as NEWBORNS
from fhir_server.security.clients import REGISTER as CLIENTS
from fhir_server.security.emergency import REGISTER as EMERGENCIES
from fhir_server.security.erasure import REGISTER as ERASURES
from fhir_server.security.petitions import REGISTER as PETITIONS
from fhir_server.store.contract import Store
from fhir_server.store.table_contract import Row, Table, beginning_with
from fhir_server.store.values import EVERYTHING, LEDGER_TYPE, HistoryQuery, Installed, Stored

PART_BYTES = 256 << 20
NOTED, SUMS, MANIFEST = "parts.ndjson", "SHA256SUMS", "manifest.json"
_MARGIN_MS = 120_000  # longer than a transaction takes
_KEPT_SECONDS = 86_400  # for which the moment can be read while the files are written
_CODES = 1_000  # concepts of a table that are read together
_SECRET = ("code", "tries")  # of an entry of the register of erasures

# A name to go on after, and a line without its end.
Lines = AsyncIterator[tuple[str, bytes]]


class Part(msgspec.Struct, frozen=True):
    """A complete file. source: of which it is a part. last: the name to go on after; is_end: there is no more."""

    source: str
    file: str
    sha256: str
    lines: int
    last: str
    is_end: bool


class Begun(msgspec.Struct, frozen=True, rename="camel"):
    """Of which moment the files are, as the database counts and in ms since the epoch; how many versions `_written`
    told then; the types that were there, and those of them that had old versions."""

    moment: int
    begun_at: int
    versions_before: int
    types: list[str]
    old_types: list[str]


_decode_parts = msgspec.json.Decoder(Part).decode_lines


@dataclass(frozen=True, slots=True)
class Source:
    """What files are made of. name: `resources/Patient`. lines: those behind a name."""

    name: str
    lines: Callable[[str], Lines]


def hand_over(settings: Settings, out: Path) -> None:
    """Writes everything, or what is missing of it, and says what there is. Raises CannotRun."""

    async def work(desk: Desk) -> None:
        folder = _Folder(out)
        await desk.note("export", (("everything", "hand-over"),))
        async with desk.store.keeping_moments(_KEPT_SECONDS):
            begun = await _moment(desk.store, folder.begun)
            folder.begin(begun)
            store = desk.store.at(begun.moment)
            with progress("Handing over", "lines") as report:
                async for source in _sources(store, begun):
                    await folder.write(source, lambda done: report(done, None))
            folder.end(await _registers(store), settings.mongodb_database, begun)
        for line in folder.told():
            print(line)

    try:
        at_desk(settings, "hand-over", work)
    except OSError as fault:
        raise CannotRun(f"{fault.filename or out} cannot be written: {fault.strerror}.") from None


async def _written(store: Store, since: int) -> int:
    """How many versions there are from before any transaction that ran at a moment (ms since the epoch) until now."""
    return await store.history_count(HistoryQuery(since=since - _MARGIN_MS), EVERYTHING)


async def _moment(store: Store, begun: Begun | None) -> Begun:
    """Of which moment the files are: of now, or of when an earlier run began. Where the database keeps that no more,
    now is as good while nothing was written since. Raises CannotRun."""
    if begun is None:
        at, before, after = now(), None, await _types(store)
        while before != after:  # a type that is new must not be missed, nor looked for before it was there
            written, before = await _written(store, at), after
            moment, after = await store.moment(), await _types(store)
        return Begun(moment, at, written, *after)
    try:
        await store.at(begun.moment).entries(PETITIONS)
    except FhirError as fault:
        if fault.kind is not Kind.DELETED:
            raise
        if await _written(store, begun.begun_at) != begun.versions_before:
            text = "What is there is of a moment that the database keeps no more: hand over into a new folder."
            raise CannotRun(text) from None
        return msgspec.structs.replace(begun, moment=await store.moment())
    return begun


async def _types(store: Store) -> tuple[list[str], list[str]]:
    return sorted(await store.types()), sorted(await store.old_types())


async def _sources(store: Store, begun: Begun) -> AsyncIterator[Source]:
    for old, types, told, gone in (
        (False, begun.types, "resources", "deleted"),
        (True, begun.old_types, "history", "deleted-before"),
    ):
        for type in types:
            yield Source(f"{told}/{type}", partial(_bodies, store, type, old))
            yield Source(f"{gone}/{type}", partial(_deletions, store, type, old))
    yield Source(f"audit/{LEDGER_TYPE}", lambda after: _pages(store, after, lambda page, raws: raws))
    yield Source("audit/pages", lambda after: _pages(store, after, lambda page, raws: [encode(_page(page))]))
    yield Source("audit/seals", lambda after: _seals(store, after))
    yield Source("audit/waiting", store.ledger.waiting)
    for package in await store.packages():
        name = f"packages/{_file_name(package.identity)}"
        yield Source(name, partial(_package, store, package))
    for table in await store.tables.ready():
        name = f"tables/{table.number}-{_file_name(table.head['url'])}"
        yield Source(name, partial(_table, store, table))


async def _bodies(store: Store, type: str, old: bool, after: str) -> Lines:
    async for name, stored in store.versions(type, old, after=after):
        yield name, stored.raw


async def _deletions(store: Store, type: str, old: bool, after: str) -> Lines:
    async for name, stored in store.versions(type, old, deleted=True, after=after):
        yield name, encode(_deletion(stored))


def _deletion(stored: Stored) -> dict[str, Any]:
    """As an entry of a history Bundle (R4 RESTful API, history)."""
    return {
        "request": {"method": "DELETE", "url": f"{stored.type}/{stored.id}"},
        "response": {"status": "204", "etag": f'W/"{stored.version}"', "lastModified": instant(stored.updated)},
    }


async def _pages(store: Store, after: str, told: Callable[[Any, list[bytes]], Iterable[bytes]]) -> Lines:
    """after: `chain/number` of a page."""
    chain_before, _, number = after.rpartition("/")
    for chain in await store.ledger.chains():
        if chain < chain_before:
            continue
        first = int(number) if chain == chain_before else 0
        async for page, raws in store.ledger.pages(chain, after=first):
            lines = list(told(page, raws))
            for line in lines[:-1]:
                yield "", line
            yield f"{chain}/{page.number}", lines[-1]


def _page(page: Any) -> dict[str, Any]:
    told = {"chain": page.chain, "number": page.number, "first": page.first, "at": page.at, "late": page.late}
    return told | {"before": page.before.hex(), "digests": [one.hex() for one in page.digests]}


async def _seals(store: Store, after: str) -> Lines:
    async for seal in store.ledger.seals(after=int(after or 0)):
        told = {"number": seal.number, "at": seal.at, "chain": seal.chain, "pages": seal.pages}
        told |= {"head": seal.head.hex(), "before": seal.before.hex(), "hash": seal.hash.hex()}
        yield str(seal.number), encode(told)


async def _package(store: Store, package: Installed, after: str) -> Lines:
    """What is known of the package, then its resources."""
    if not after:
        yield "", encode({"package": package.identity, **package.facts})
    resources = await store.package_resources(package)
    for number in range(int(after or 0), len(resources)):
        yield str(number + 1), resources[number]


async def _table(store: Store, table: Table, after: str) -> Lines:
    """The CodeSystem without its concepts, then one concept a line."""
    if not after:
        yield "", encode(table.head)
    while batch := await store.tables.codes(table.number, beginning_with(table.number, ""), after, _CODES):
        rows = await store.tables.rows(table.number, [code for code, _ in batch])
        for after, _ in batch:
            yield after, encode(_concept(rows[after]))


def _concept(row: Row) -> dict[str, Any]:
    """As in CodeSystem.concept, and what the table tells beside that."""
    told: dict[str, Any] = {
        "code": row.code,
        "display": row.display,
        "inactive": row.inactive,
        "abstract": row.abstract,
    }
    told |= {"parents": list(row.parents), **(decode(row.more) if row.more else {})}
    return {name: value for name, value in told.items() if value}


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:80]


async def _registers(store: Store) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for register in (PETITIONS, ERASURES, EMERGENCIES, CLIENTS, NEWBORNS):
        entries = await store.entries(register)
        found[register] = [
            {"id": id, **{name: value for name, value in entry.items() if name not in _SECRET}}
            for id, entry in entries.items()
        ]
    return found


class _Folder:
    """What is written, and what was before. Nobody but its owner may read it. begun: what an earlier run noted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        noted = path / NOTED
        self._parts = _decode_parts(noted.read_bytes()) if noted.exists() else []
        manifest = path / MANIFEST
        self.begun = msgspec.json.decode(manifest.read_bytes(), type=Begun) if manifest.exists() else None
        self._lines = sum(part.lines for part in self._parts)

    def begin(self, begun: Begun) -> None:
        """Notes it, unless an earlier run has."""
        if begun != self.begun:
            file = self._open(MANIFEST)
            file.add(msgspec.json.encode(begun))
            file.close()

    async def write(self, source: Source, report: Callable[[int], None]) -> None:
        """The parts that are missing of a source."""
        before = [part for part in self._parts if part.source == source.name]
        if before and before[-1].is_end:
            return
        number = len(before)
        lines = source.lines(before[-1].last if before else "")
        last, is_end = before[-1].last if before else "", False
        while not is_end:
            number += 1
            file = self._open(f"{source.name}-{number:04d}.ndjson")
            is_end = True
            async for name, line in lines:
                file.add(line)
                self._lines += 1
                last = name or last
                if name and file.size >= PART_BYTES:
                    is_end = False
                    break
            report(self._lines)
            self._note(Part(source.name, file.name, file.close(), file.lines, last, is_end))

    def _open(self, name: str) -> _File:
        (self._path / name).parent.mkdir(mode=0o700, exist_ok=True)
        return _File(self._path, name)

    def _note(self, part: Part) -> None:
        self._parts.append(part)
        file = self._open(NOTED)
        for one in self._parts:
            file.add(msgspec.json.encode(one))
        file.close()

    def end(self, registers: dict[str, list[dict[str, Any]]], database: str, begun: Begun) -> None:
        """The registers, which are small and written whole each time, the manifest and the hashes."""
        sums = {part.file: part.sha256 for part in self._parts if part.lines}
        for register, entries in registers.items():
            file = self._open(f"registers/{register}.ndjson")
            for entry in entries:
                file.add(encode(entry))
            hash = file.close()
            sums |= {file.name: hash} if entries else {}
        manifest = {"fhirVersion": FHIR_VERSION, "server": VERSION, "database": database, "at": instant(begun.begun_at)}
        told = {**msgspec.to_builtins(begun), **manifest, "lines": self._counts()}
        file = self._open(MANIFEST)
        file.add(encode(told))
        sums[file.name] = file.close()
        (self._path / SUMS).write_text("".join(f"{hash}  {name}\n" for name, hash in sorted(sums.items())))

    def _counts(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for part in self._parts:
            counts[part.source] = counts.get(part.source, 0) + part.lines
        return {source: count for source, count in counts.items() if count}

    def told(self) -> Iterable[str]:
        for source, count in self._counts().items():
            yield f"{count:>12,}  {source}"
        yield f"Everything is in {self._path}; `cd {self._path} && sha256sum -c {SUMS}` proves that it is whole."


class _File:
    """A file on its way: under another name until it is whole; without a line there is none in the end."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._path = folder / name
        self._open = os.fdopen(os.open(f"{self._path}.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        self._hash = hashlib.sha256()
        self.size = self.lines = 0

    def add(self, line: bytes) -> None:
        self._open.write(line + b"\n")
        self._hash.update(line + b"\n")
        self.size += len(line) + 1
        self.lines += 1

    def close(self) -> str:
        """The hash, as hexadecimal digits."""
        self._open.flush()
        os.fsync(self._open.fileno())
        self._open.close()
        written = Path(f"{self._path}.part")
        if self.lines:
            written.replace(self._path)
        else:
            written.unlink()
        return self._hash.hexdigest()
