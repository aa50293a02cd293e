"""Warns of codes that a table which the operator has loaded does not have on the day of the record."""

from __future__ import annotations

from datetime import date

from fhir_server.interactions.exchange import Context
from fhir_server.model.dates import day_of
from fhir_server.records.record import Record
from fhir_server.records.source import Problem
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.unlisted import Unlisted, unlisted
from fhir_server.terminology.validate_code import named

RULE = "unknown-code"


async def warn_of_unlisted(context: Context, record: Record) -> None:
    """Adds a warning for each such code, with its nearest neighbours; the code is stored as it was sent.

    Codes of the lists that come with the program are looked at by the mapping itself.
    """
    if not context.terminology.has_tables or record.refused:
        return
    on = day_of(record.moment, context.settings.zone) if record.moment else None

    def question(known: Terminology) -> list[tuple[str, Unlisted]]:
        return [
            (record.format.sources_of(made.group, ".".join((made.resource["resourceType"], *one.names))), one)
            for made in record.mapped.made
            for one in unlisted(known, made.resource, on, of_tables=True)
        ]

    # One field may become a code of two systems, and one code may stand in several fields: each field is told once.
    told = {(field, one.title, one.coding.code): one for field, one in await context.terminology.ask(question)}
    for (field, _, _), one in told.items():
        text = (f"not in the list «{one.title}» of {on or 'today'}", f"không có trong danh mục «{one.title}» {_on(on)}")
        near = ", ".join(map(named, one.judgement.neighbours))
        record.mapped.problems.append(Problem("warning", RULE, text, field, one.coding.code, (near, near)))


def _on(day: date | None) -> str:
    return f"ngày {day:%d/%m/%Y}" if day else "hiện hành"
