"""Driver errors become FhirError here, so that none leaves the store."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from bson.errors import BSONError
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
)

from fhir_server.errors import FhirError, Kind

log = logging.getLogger(__name__)

TRANSIENT = "TransientTransactionError"
UNKNOWN_COMMIT = "UnknownTransactionCommitResult"

WRITE_CONFLICT, DUPLICATE_KEY, TOO_LARGE_FOR_CACHE = 112, 11000, 388
_TOO_LONG = frozenset({10334, 17280, 17419, 17420})  # BSONObjectTooLarge and the like
_TOO_COSTLY = frozenset({50, 262, 292, 96})  # MaxTimeMSExpired, ExceededTimeLimit, memory limits of a sort
_UNAVAILABLE = frozenset({91, 11600, 11602, 14031, 189, 10107, 13435, 13436, 317})  # shutdown, failover, disk full
_MOMENT_GONE = frozenset({239, 246})  # SnapshotTooOld; SnapshotUnavailable: a collection was made or changed since
_BAD_VALUE, _NO_SUCH_INDEX = 2, "hint provided does not correspond"
_RETRY = {"Retry-After": "2"}
OUTCOME_UNKNOWN = "whether it was written is told by reading it"


class RunAgain(Exception):
    """The transaction must be undone and run again from its start.

    collections: to be made with their indexes before.
    """

    def __init__(self, collections: Iterable[str] = ()) -> None:
        self.collections = tuple(collections)
        super().__init__("the transaction is run again")


@contextmanager
def wrapped(doing: str, limit_seconds: float | None = None, in_transaction: bool = False) -> Iterator[None]:
    """Raises FhirError in place of a driver's error; `doing` names the work in the diagnostics.

    in_transaction: errors after which the transaction is to run again pass unchanged, for `transactions.run`.
    """
    try:
        yield
    except (BSONError, UnicodeError, OverflowError) as fault:
        raise FhirError(Kind.VALUE, f"{doing}: a value cannot be stored ({type(fault).__name__})") from None
    except PyMongoError as fault:
        if in_transaction and runs_again(fault):
            raise
        # Without its cause: the text of a driver's error may hold the documents it was about.
        raise fhir_error(fault, doing, limit_seconds) from None


def runs_again(fault: PyMongoError) -> bool:
    """True when the transaction has been undone and may be run again from its start.

    One that is too large for the cache may have met others there; `transactions` gives it a few more chances.
    """
    return fault.has_error_label(TRANSIENT) or code_of(fault) in (WRITE_CONFLICT, DUPLICATE_KEY, TOO_LARGE_FOR_CACHE)


def lacks_index(fault: OperationFailure) -> bool:
    """True when a hint named an index that is not there, as in a first load that puts indexes off."""
    return fault.code == _BAD_VALUE and _NO_SUCH_INDEX in str(fault)


def code_of(fault: PyMongoError) -> int | None:
    """The server's code, also of the first refused write of a batch."""
    if not isinstance(fault, OperationFailure):
        return None
    refused = (fault.details or {}).get("writeErrors") or ()
    return refused[0]["code"] if refused else fault.code


def fhir_error(fault: PyMongoError, doing: str, limit_seconds: float | None = None) -> FhirError:
    """The kind by what can be done about it: wait, ask for less, send less; all else is unexpected and logged."""
    code = code_of(fault)
    if fault.has_error_label(UNKNOWN_COMMIT):
        return FhirError(Kind.TIMEOUT, f"the database did not confirm {doing}; {OUTCOME_UNKNOWN}", headers=_RETRY)
    if isinstance(fault, ExecutionTimeout) or code in _TOO_COSTLY:
        limit = f"the limit of {limit_seconds:g} seconds" if limit_seconds else "a limit of the database"
        return FhirError(Kind.TOO_COSTLY, f"{doing} took more work than {limit} allows; narrow it")
    if isinstance(fault, DocumentTooLarge) or code in _TOO_LONG:
        return FhirError(Kind.TOO_LONG, f"{doing}: a document is over MongoDB's limit of 16 MiB")
    if code == TOO_LARGE_FOR_CACHE:
        text = f"{doing} is more at once than the database's cache holds; nothing was written, send it in parts"
        return FhirError(Kind.TOO_COSTLY, text)
    if code in _MOMENT_GONE and not fault.has_error_label(TRANSIENT):
        return FhirError(Kind.DELETED, f"{doing}: the moment to be read is gone")
    if isinstance(fault, WaitQueueTimeoutError):
        return FhirError(Kind.UNAVAILABLE, "every connection to the database is busy", headers=_RETRY)
    if isinstance(fault, ConnectionFailure) or code in _UNAVAILABLE:
        return FhirError(Kind.UNAVAILABLE, "the database does not answer now", headers=_RETRY)
    if code in (WRITE_CONFLICT, DUPLICATE_KEY) or fault.has_error_label(TRANSIENT):
        return FhirError(Kind.CONFLICT, f"{doing} met another write of the same resources; send it again")
    if isinstance(fault, ConfigurationError):
        return FhirError(Kind.UNAVAILABLE, "the settings of the database connection do not fit the server")
    log.error("%s failed in the database: %s, code %s", doing, type(fault).__name__, code)
    return FhirError(Kind.UNEXPECTED, f"{doing} failed in the database")
