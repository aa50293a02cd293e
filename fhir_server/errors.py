"""The one error of this program, and the one table from its kind to HTTP status and R4 issue code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

import msgspec


class Kind(Enum):
    """What went wrong: (HTTP status, R4 issue-type code). R4 RESTful API, HTTP Status Codes; R4 OperationOutcome."""

    INVALID = (400, "invalid")
    STRUCTURE = (400, "structure")
    REQUIRED = (400, "required")
    VALUE = (400, "value")
    INVARIANT = (400, "invariant")
    UNSUPPORTED_PARAMETER = (400, "not-supported")
    LOGIN = (401, "login")
    FORBIDDEN = (403, "forbidden")
    TOO_COSTLY = (403, "too-costly")
    NOT_FOUND = (404, "not-found")
    UNKNOWN_TYPE = (404, "not-supported")
    METHOD_NOT_ALLOWED = (405, "not-supported")
    NOT_ACCEPTABLE = (406, "not-supported")
    TIMEOUT = (408, "timeout")
    CONFLICT = (409, "conflict")
    DELETED = (410, "deleted")
    PRECONDITION = (412, "conflict")
    MULTIPLE_MATCHES = (412, "multiple-matches")
    TOO_LONG = (413, "too-long")
    URI_TOO_LONG = (414, "too-long")
    MEDIA_TYPE = (415, "not-supported")
    BUSINESS_RULE = (422, "business-rule")
    UNPROCESSABLE = (422, "processing")
    TOO_LARGE = (422, "too-costly")
    LOCKED = (423, "lock-error")
    THROTTLED = (429, "throttled")
    UNEXPECTED = (500, "exception")
    NOT_IMPLEMENTED = (501, "not-supported")
    UNAVAILABLE = (503, "transient")

    def __init__(self, status: int, code: str) -> None:
        self.status = status
        self.code = code

    # Members with equal rows (NOT_ACCEPTABLE and others differ by status only today) must stay apart.
    def __new__(cls, status: int, code: str) -> Kind:
        member = object.__new__(cls)
        member._value_ = (status, code, len(cls.__members__))
        return member


class Issue(msgspec.Struct, frozen=True):
    """One OperationOutcome.issue.

    severity: fatal | error | warning | information. code: an R4 issue-type code. expression: FHIRPath of the
    places meant, with indices (`Patient.name[0].given[1]`). diagnostics: English; vi: the same in Vietnamese, where
    we have it.
    """

    severity: str
    code: str
    diagnostics: str
    expression: tuple[str, ...] = ()
    vi: str | None = None

    @property
    def is_error(self) -> bool:
        return self.severity in ("error", "fatal")


@dataclass(eq=False)
class FhirError(Exception):
    """An answer that is not the one asked for: becomes an OperationOutcome with `kind.status`.

    `issues`, when given, are told in place of the single issue made from `kind`, `diagnostics` and `expression`.
    about: the resources (type, id) that a refused transaction was to read or write, for the audit trail.
    """

    kind: Kind
    diagnostics: str
    expression: tuple[str, ...] = ()
    issues: tuple[Issue, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    about: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        super().__init__(self.diagnostics)

    def all_issues(self) -> tuple[Issue, ...]:
        return self.issues or (Issue("error", self.kind.code, self.diagnostics, self.expression),)


def refuse_faults(issues: Iterable[Issue], kind: Kind = Kind.INVALID) -> None:
    """Raises FhirError(kind) with every issue when at least one is an error; warnings alone pass."""
    found = tuple(issues)
    if any(issue.is_error for issue in found):
        raise FhirError(kind, "the content was refused", issues=found)


class Faults:
    """What speaks against one request, gathered so that all of it is told at once.

    Not gathered but raised at once is what ends the request itself: the database is away or the time is over.
    """

    def __init__(self, gathered: Iterable[FhirError] = ()) -> None:
        self._gathered = list(gathered)

    def __bool__(self) -> bool:
        return bool(self._gathered)

    def __iter__(self) -> Iterator[FhirError]:
        return iter(self._gathered)

    @contextmanager
    def gathering(self, located: Callable[[FhirError], FhirError] | None = None) -> Iterator[None]:
        """Keeps the fault of the block, which ends there. located: the fault with its place."""
        try:
            yield
        except FhirError as fault:
            self.keep(fault, located)

    def keep(self, fault: FhirError, located: Callable[[FhirError], FhirError] | None = None) -> None:
        """As `gathering`, for loops over thousands of things that mostly have no fault."""
        if fault.kind.status >= 500 or fault.kind is Kind.TIMEOUT:
            raise fault
        self._gathered.append(located(fault) if located else fault)
        if fault.kind is Kind.TOO_COSTLY:  # the database may have ended the transaction with the query
            self.refuse()

    def refuse(self) -> None:
        """Raises what there is as one FhirError."""
        if self._gathered:
            raise self.together()

    def together(self) -> FhirError:
        """One or more faults as one, with the issues of all, each once. Its status is theirs where all have the same,
        else 400."""
        first, *others = self._gathered
        if not others:
            return first
        kind = first.kind if all(fault.kind.status == first.kind.status for fault in others) else Kind.INVALID
        issues = tuple(dict.fromkeys(issue for fault in self._gathered for issue in fault.all_issues()))
        return FhirError(kind, first.diagnostics, issues=issues)
