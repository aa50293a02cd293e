"""OperationOutcome, R4 section 2.28."""

from __future__ import annotations

from collections.abc import Iterable

from fhir_server.errors import Issue
from fhir_server.model.resources import Resource

MOST_TOLD = 500  # issues of one outcome: nobody reads more, and a hostile body must not grow on its way back


def outcome(issues: Iterable[Issue]) -> Resource:
    """An OperationOutcome of one entry an issue; the Vietnamese text, where there is one, is in details.text."""
    told = list(issues)
    if len(told) > MOST_TOLD:
        more = Issue("information", "informational", f"{len(told) - MOST_TOLD} more issues are not told")
        told = [*told[:MOST_TOLD], more]
    return {"resourceType": "OperationOutcome", "issue": [_entry(issue) for issue in told]}


def _entry(issue: Issue) -> Resource:
    entry: Resource = {"severity": issue.severity, "code": issue.code}
    if issue.vi:
        entry["details"] = {"text": issue.vi}
    entry["diagnostics"] = issue.diagnostics
    if issue.expression:
        entry["expression"] = list(issue.expression)
    return entry
