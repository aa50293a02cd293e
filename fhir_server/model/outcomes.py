"""OperationOutcome, by R4."""

from __future__ import annotations

from collections.abc import Iterable

from fhir_server.errors import Issue
from fhir_server.model.personal import place_without_values, without_values
from fhir_server.model.resources import Resource

MOST_TOLD = 500  # issues of one outcome: nobody reads more, and a hostile body must not grow on its way back


VIETNAMESE, ENGLISH = "vi", "en"


def outcome(issues: Iterable[Issue], language: str = VIETNAMESE) -> Resource:
    """An OperationOutcome of one entry an issue: details.text in the language of the reader, where we have it, and
    diagnostics always in English. Neither repeats a personal number or what may be a name: outcomes go into the logs of
    clients and proxies, and the place says where to look."""
    told = list(issues)
    if len(told) > MOST_TOLD:
        more = Issue("information", "informational", f"{len(told) - MOST_TOLD} more issues are not told")
        told = [*told[:MOST_TOLD], more]
    return {"resourceType": "OperationOutcome", "issue": [_entry(issue, language) for issue in told]}


def _entry(issue: Issue, language: str) -> Resource:
    entry: Resource = {"severity": issue.severity, "code": issue.code}
    diagnostics = without_values(issue.diagnostics)
    text = diagnostics if language == ENGLISH else without_values(issue.vi) if issue.vi else None
    if text:
        entry["details"] = {"text": text}
    entry["diagnostics"] = diagnostics
    if issue.expression:
        entry["expression"] = [place_without_values(place) for place in issue.expression]
    return entry
