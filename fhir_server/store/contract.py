"""What the rest of the program may ask of the store, and what each promise means.

Every read takes the caller's View, and the View is part of the database query. Every write goes through `transact`.
Driver errors never leave the store: they become FhirError (CONFLICT after retries, UNAVAILABLE, TIMEOUT, TOO_COSTLY).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from fhir_server.model.registry import Registry
from fhir_server.model.resources import Resource
from fhir_server.store.ledger_contract import Event, Ledger, Page
from fhir_server.store.table_contract import Tables
from fhir_server.store.values import (
    EVERYTHING,
    Change,
    ChangeSpan,
    Deferred,
    Filter,
    Find,
    HistoryQuery,
    Indexed,
    Installed,
    Narrowing,
    Op,
    Problem,
    Stored,
    View,
    Written,
)

T = TypeVar("T")


class Guard(Protocol):
    """Holds writes against what the caller may do; the documents it is shown are as stored (`p w s c a k raw d`)."""

    def finds(self, op: Op, document: Mapping[str, Any] | None) -> bool:
        """Whether the caller may know of what an op writes to; when not, a removal finds nothing there. Raises
        FhirError FORBIDDEN when the op must not be tried."""
        ...

    def admit(self, op: Op, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        """Raises FhirError FORBIDDEN when the caller may not leave the document so. before: None or a tombstone for
        what is new."""
        ...


class Transaction(Protocol):
    """The inside of one MongoDB transaction. Reads see this transaction's own writes."""

    async def read(self, type: str, id: str, view: View) -> Stored | None: ...

    async def read_many(self, type: str, ids: Sequence[str], view: View) -> dict[str, Stored]: ...

    async def find(self, query: Find, view: View) -> list[Stored]: ...

    async def count(self, type: str, filter: Filter, view: View, cap: int | None = None) -> int: ...

    async def vread(self, type: str, id: str, version: int, view: View) -> Stored | None: ...

    async def versions(self, type: str, versions: Collection[tuple[str, int]], view: View) -> set[tuple[str, int]]:
        """Those of the versions, (id, number), that can be read: neither deletions nor hidden."""
        ...

    async def history(self, query: HistoryQuery, view: View) -> list[Stored]: ...

    async def history_count(self, query: HistoryQuery, view: View) -> int: ...

    async def claim(self, criterion: str) -> None:
        """Locks a conditional criterion: a second transaction that claims the same one conflicts and is run again."""
        ...

    async def rely_on(self, names: Collection[str]) -> None:
        """For something that must stay as this transaction has read it: one that `upsets` it conflicts, others that
        rely on it seldom do."""
        ...

    async def upset(self, names: Collection[str]) -> None: ...

    async def claim_all(self, criteria: Iterable[str]) -> None:
        """Locks many at once."""
        ...

    async def apply(self, ops: Sequence[Op], guard: Guard | None = None) -> list[Written]:
        """Writes in one batch a collection, history included. Raises FhirError PRECONDITION when `expected` fails, and
        what the guard raises, which is asked first."""
        ...

    async def examine(self, ops: Sequence[Op], guard: Guard | None = None) -> None:
        """Raises what `apply` would raise, for a transaction that is refused already; writes no resource."""
        ...

    async def consent(self, patient: str, restricts: bool, codes: Sequence[str]) -> None:
        """Writes what the patient's Consents say into every version of every resource of the compartment: `c`, and the
        codes (without `/`, beginning with `+`, `-` or `=`) among the parties; or keeps it until there is a Patient."""
        ...

    async def resettle(self, patient: str, narrowing: Narrowing) -> None:
        """Writes where a deleted Patient lived, and who cared for it, into every version of every resource of the
        compartment; of a Patient that is there a Put does that."""
        ...

    async def enter(self, register: str, name: str, entry: Mapping[str, Any]) -> bool:
        """As Store.enter."""
        ...

    async def entries_named(self, register: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """As Store.entries_named, as this transaction sees them."""
        ...

    async def enter_all(self, register: str, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Keeps several entries of a register for ever, whatever was there under their names."""
        ...

    async def answered(self, key: str) -> bytes | None:
        """What an earlier transaction kept under the key. The key is locked as by `claim`, so that of two transactions
        with one key the second waits for the first and then sees its answer."""
        ...

    async def keep_answer(self, key: str, content: bytes) -> None:
        """Keeps bytes of any length under the key for a day: when, and only when, this transaction commits."""
        ...

    async def record(self, events: Sequence[Event]) -> None:
        """Keeps AuditEvents of what this transaction does until they are in a page; `store.ledger` is open."""
        ...

    async def adopt(self, page: Page, events: Sequence[Event]) -> bool:
        """Writes a page of events that another process left behind, and lets go of them; false when somebody else has
        taken one of them."""
        ...


class Store(Protocol):
    registry: Registry
    ledger: Ledger

    @property
    def tables(self) -> Tables:
        """The code systems that are kept as tables."""
        ...

    async def ready(self) -> Mapping[str, int]:
        """What is in place (`types`, `generation`). Raises FhirError UNAVAILABLE while an index is missing."""
        ...

    async def read(self, type: str, id: str, view: View) -> Stored | None:
        """The current version, a tombstone (deleted=True) or None. Concurrent reads of a tick share one query."""
        ...

    async def read_many(self, type: str, ids: Sequence[str], view: View) -> dict[str, Stored]: ...

    async def vread(self, type: str, id: str, version: int, view: View) -> Stored | None: ...

    async def find(self, query: Find, view: View) -> list[Stored]: ...

    async def find_at_once(self, queries: Sequence[Find], view: View) -> list[Stored]:
        """What finds of few resources each give, one behind the other, in one query and up to the limit that they have
        in common. Their order is one of `o`; hints and bounds are left out, and the ledger cannot be asked so."""
        ...

    async def count(self, type: str, filter: Filter, view: View, cap: int | None = None) -> int: ...

    async def weigh(self, type: str, filter: Filter, cap: int, view: View = EVERYTHING) -> int:
        """About how many resources a filter finds that is one condition on `k`, `o`, `u` or `_id`, or none: `cap` when
        there are at least so many. For the choice between ways to walk and its bounds only: it may be minutes old, and
        a View narrows it by nothing but a ward, and that only where an index does."""
        ...

    async def sampled(self, type: str, filter: Filter) -> int:
        """How many of a hundred resources, taken by chance, a filter finds: for the choice between long lists."""
        ...

    async def types(self) -> set[str]:
        """The resource types that have ever been written: the others need not be asked."""
        ...

    async def old_types(self) -> set[str]:
        """Those of which a version ever had a successor."""
        ...

    async def history(self, query: HistoryQuery, view: View) -> list[Stored]: ...

    async def history_count(self, query: HistoryQuery, view: View) -> int: ...

    async def ensure_letters(self, definitions: Mapping[tuple[str, str], str]) -> None:
        """Gives letters to search parameters, pending ones where a type has resources that lack the keys.
        definitions: {(resource type, code): hash of the definition}."""
        ...

    async def switch_letters(self, done: Mapping[tuple[str, str], str]) -> None:
        """Ends a re-index: every stored resource has keys with these pending letters, and they become the ones that
        are searched. done: {(resource type, code): letters}."""
        ...

    async def announce_parameters(self) -> None:
        """Makes `announced` grow."""
        ...

    async def announced(self) -> int:
        """A number that grows whenever parameters or packages have changed."""
        ...

    async def renarrow_versions(self, type: str, narrow: Callable[[Resource, str], Narrowing]) -> None:
        """Writes anew what access to old versions and tombstones is narrowed by, as `narrow(resource, id)` tells it,
        while nothing else writes. Of current versions a Put does that."""
        ...

    async def lead_reindex(self, owner: str, seconds: float) -> bool:
        """True for the one process that re-indexes: until the time is over, or as long as it asks again before."""
        ...

    async def note_reindexed(self, done: int, total: int) -> None:
        """How far a re-index is, for every process to tell."""
        ...

    async def reindexed(self) -> tuple[int, int] | None:
        """(done, total) of the last re-index, None when there was none."""
        ...

    async def intern(self, uris: Sequence[str]) -> None:
        """Gives numbers to system URIs, durably, and adds them to `registry`."""
        ...

    async def known_system(self, uri: str) -> int | None:
        """The number of a URI, asking the database when this process has not seen it yet."""
        ...

    async def transact(self, work: Callable[[Transaction], Awaitable[T]], about: Iterable[str] = ()) -> T:
        """Runs `work` in one majority transaction. It may run several times: it must rebuild all its state, and ids
        and times come from outside. Raises FhirError CONFLICT when conflicts outlast the retries; nothing is written
        then. about: names of what others may want to write too; those of this process that share one queue up."""
        ...

    def bulk_load(self, joins: bool | None = None) -> AbstractAsyncContextManager[bool]:
        """For a first load: into an empty store, indexes are built once at the end. Gives whether they are put off;
        while they are, a search of any type but Patient reads all of it, so load by given ids. joins: for a process
        that takes part in the load of another one, whether that one puts them off; it builds them for both."""
        ...

    def walk(self, type: str, view: View, raw: bool = True) -> AsyncIterator[Stored]:
        """Every live resource of a type in `_id` order, in bounded memory."""
        ...

    async def moment(self) -> int:
        """Now, as the database counts; everything that was acknowledged is in it."""
        ...

    def at(self, moment: int) -> Store:
        """What was stored at a moment, for reading alone, however long that takes. Reading raises FhirError DELETED
        when the database keeps the moment no more."""
        ...

    def keeping_moments(self, seconds: int) -> AbstractAsyncContextManager[None]:
        """While it is open, and after a fault in it, moments of up to so long ago can be read, where the account may
        ask the database for that; else those of five minutes, unless it was set up otherwise."""
        ...

    def versions(
        self, type: str, old: bool = False, deleted: bool = False, after: str = ""
    ) -> AsyncIterator[tuple[str, Stored]]:
        """Every current version of a type, or every old one, whoever may see it, in bounded memory; of deletions their
        tombstones alone. With each a name to go on after."""
        ...

    async def secret(self, name: str) -> bytes:
        """32 random bytes, made at the first call and kept in the database: the same for every process, for ever."""
        ...

    async def keep(self, content: bytes) -> str:
        """Keeps bytes under their own hash, which is returned, for a week after the last time they were kept."""
        ...

    async def kept(self, hash: str) -> bytes | None:
        """What `keep` was given, None when it is unknown or its time is over."""
        ...

    async def agree(self, key: str, content: bytes) -> bytes:
        """What is kept under the key for a day by whoever came first: `content`, or what was there before."""
        ...

    async def draw(
        self, name: str, amount: tuple[float, float], rate: float, size: float, now: int
    ) -> tuple[float, float]:
        """Takes from the bucket of that name what is in it, at least and at most so much; gives what was drawn, 0 for
        less than the least, and what is left. It holds `size`, is full at first, and gets `rate` a second; now: ms
        since the epoch. All processes draw from the same."""
        ...

    async def enter(self, register: str, name: str, entry: Mapping[str, Any]) -> bool:
        """Keeps an entry of a register for ever. False when the name is taken; nothing is written then."""
        ...

    async def replace(self, register: str, name: str, entry: Mapping[str, Any], was: Mapping[str, Any]) -> bool:
        """Changes an entry that still is as it `was`; False when it is not."""
        ...

    async def entry(self, register: str, name: str) -> dict[str, Any] | None: ...

    async def entries_named(self, register: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The entries of a register that bear one of the names, by name."""
        ...

    async def entries(self, register: str) -> dict[str, dict[str, Any]]:
        """All entries of a register by name, sorted."""
        ...

    async def due(self, register: str, until: str) -> dict[str, dict[str, Any]]:
        """The entries of a register whose names come before a text, at most a thousand."""
        ...

    async def withdraw(self, register: str, name: str) -> None:
        """Takes an entry out of a register."""
        ...

    async def erase(self, patient: str, beside: Collection[tuple[str, str]] = ()) -> int:
        """Takes every version of every resource of a patient's compartment away for good and leaves a tombstone of the
        Patient. beside: type and id of what goes too and stands outside the compartment. Gives how many there were;
        run again it completes what was cut off."""
        ...

    async def defer(self, id: str, caller: str, request: bytes) -> None:
        """Keeps a request that is to be answered later, for a day. id: not known to anybody yet."""
        ...

    async def lease(self, id: str, owner: str, seconds: float) -> bytes | None:
        """The request, for the owner alone to work on for so long; None while another owner has it, when it is done
        and when it was cancelled. Two owners are possible after a lease ran out unnoticed: what they write must be
        guarded by `Transaction.answered`."""
        ...

    async def renew(self, id: str, owner: str, seconds: float) -> bool:
        """Extends a lease. False: it was cancelled, is done or is another's; stop."""
        ...

    async def settle(self, id: str, owner: str, answer: bytes) -> None:
        """Keeps the owner's answer, of any length; the request is forgotten. Nothing happens without the lease."""
        ...

    async def deferred(self, id: str, caller: str) -> Deferred | None:
        """How it stands; None when it is not known, was another's request, or its time is over."""
        ...

    async def cancel(self, id: str, caller: str) -> bool:
        """Forgets request and answer; the owner learns so at the next `renew`. False when there was nothing."""
        ...

    async def follow_changes(self, owner: str) -> None:
        """Numbers what is committed, by any process, for as long as this one is the one that does. Ends at once when
        another does: ask again after a while."""
        ...

    async def catch_up_changes(self, owner: str) -> bool:
        """Numbers what is committed by now. False when another process does so already."""
        ...

    async def change_span(self) -> ChangeSpan | None:
        """None where nobody has numbered changes yet."""
        ...

    async def changes(self, after: int, until: int, limit: int) -> list[Change]:
        """In the order of commits; what is committed later always has a higher number than what was told."""
        ...

    async def changes_before(self, moment: int) -> int | None:
        """The number after which all changes from a moment on come; None when it is too long ago to be known."""
        ...

    async def latest_changes(
        self, patients: Sequence[str], after: int, until: int, types: Sequence[str]
    ) -> dict[str, int]:
        """Patient id -> the number of the last change of a resource of these types in its compartment, in the span."""
        ...

    async def deleted_of(self, patients: Sequence[str], after: int, until: int) -> list[Change]:
        """The deletions in these compartments within the span."""

    async def packages(self) -> list[Installed]:
        """The FHIR packages that are installed, by identity."""
        ...

    async def package_resources(self, package: Installed) -> list[bytes]:
        """The resources of a package, in the order they were installed in."""
        ...

    async def install(self, package: Installed, resources: Sequence[bytes]) -> None:
        """Keeps a package in the place of one with its identity, and makes `announced` grow."""
        ...

    async def uninstall(self, identity: str) -> bool:
        """Forgets a package, and tells every process; false when there was none."""
        ...

    def check(self, index: Callable[[Resource], Indexed]) -> AsyncIterator[Problem]:
        """Everything in a store at rest that is not as promised: bytes, times, history, keys, narrowing. index: what a
        resource is found by today."""
        ...
