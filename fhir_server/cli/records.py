"""`fhir-server records`: files of Vietnamese records into the store, or to stdout as FHIR."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import uvloop

from fhir_server.cli.database import context, database
from fhir_server.cli.faults import DONE, INCOMPLETE, INTERRUPTED, WRONG_USE, CannotRun
from fhir_server.cli.import_processes import Workers, import_by_processes, processes_for, workers
from fhir_server.cli.person import acting
from fhir_server.cli.progress import progress
from fhir_server.config import Settings
from fhir_server.model.resources import encode
from fhir_server.records.formats import Formats, MappingFault
from fhir_server.records.importing import OnRecord, formats_of, import_records, map_records
from fhir_server.records.mapping_checks import mapping_faults
from fhir_server.records.mapping_files import all_groups
from fhir_server.records.report import ImportReport, RecordOutcome, problem_as_json, where
from fhir_server.records.report_files import ReportFile, report_file
from fhir_server.records.signers import CertificateFault, signers_of


def import_files(settings: Settings, paths: list[Path], report_to: Path | None, jobs: int | None) -> int:
    """Imports, tells refused records on stderr and the sum on stdout. Gives the exit code; raises CannotRun.

    report_to: a file for the report, by its suffix JSON, NDJSON, CSV or HTML. jobs: processes, None for as many as it
    is worth.
    """
    started = time.monotonic()
    formats = known_formats(settings)
    with ExitStack() as stack:
        told = stack.enter_context(_opened(report_to, formats)) if report_to else None
        running = stack.enter_context(database(settings, share=True))
        so_far = ImportReport()

        def tell(outcome: RecordOutcome) -> None:
            for line in refusal(outcome):
                print(line, file=sys.stderr)
            if told is not None:
                told.add(outcome)
                so_far.add(outcome)

        try:
            report = import_all(running, paths, "Importing", tell, jobs)
        except KeyboardInterrupt:
            if told is not None:
                told.end(so_far)
            raise CannotRun("interrupted; importing again completes what is missing", INTERRUPTED) from None
        if told is not None:
            told.end(report)
    for line in summary(report, settings, time.monotonic() - started):
        print(line)
    return INCOMPLETE if report.refused else DONE


@contextmanager
def _opened(path: Path, formats: Formats) -> Iterator[ReportFile]:
    """Raises CannotRun when the report cannot be written there."""
    try:
        with report_file(path, formats) as made:
            yield made
    except OSError as fault:
        raise CannotRun(f"The report cannot be written: {path}: {fault.strerror}.", WRONG_USE) from None


def import_all(
    settings: Settings, paths: list[Path], title: str, tell: OnRecord, jobs: int | None = None
) -> ImportReport:
    """Imports on a database that runs, with a progress bar. Raises CannotRun."""

    async def work(crew: Workers) -> ImportReport:
        async with context(settings) as opened:
            with progress(title, "records") as on_progress:
                acts = acting(opened, "records import")
                if crew.pipes:
                    return await import_by_processes(acts, paths, crew, on_progress, tell)
                return await import_records(acts, paths, on_progress, tell)

    with workers(processes_for(paths, jobs)) as crew, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work(crew))


def map_files(settings: Settings, paths: list[Path], form: str) -> int:
    """Writes resources (`ndjson`) or the transaction of each record (`bundle`) to stdout. Gives the exit code."""
    refused = 0
    for outcome, bundle in map_records(paths, known_formats(settings), settings.record_checks):
        for line in refusal(outcome):
            print(line, file=sys.stderr)
        if bundle is None:
            refused += outcome.status == "refused"
            continue
        _write(sys.stdout.buffer, bundle, form)
    sys.stdout.buffer.flush()
    return INCOMPLETE if refused else DONE


def _write(out: IO[bytes], bundle: dict[str, object], form: str) -> None:
    entries = bundle["entry"]
    assert isinstance(entries, list)
    for resource in [bundle] if form == "bundle" else [entry["resource"] for entry in entries]:
        out.write(encode(resource) + b"\n")


def refusal(outcome: RecordOutcome) -> Iterator[str]:
    """Why a record was refused: where, what was found, what is allowed, in Vietnamese and in English."""
    if outcome.status != "refused":
        return
    for problem in outcome.problems:
        if problem.severity == "error":
            said = problem_as_json(problem)
            found = f" «{said['found']}»" if "found" in said else ""
            yield f"{where(outcome.place)}: {said.get('field', '')}{found}"
            for language in ("vi", "en"):
                allowed = said.get(f"allowed_{language}")
                yield f"    {said[language]}" + (f" ({allowed})" if allowed else "")


def summary(report: ImportReport, settings: Settings, seconds: float) -> Iterator[str]:
    """What the import did, in a few lines."""
    yield (
        f"{report.files} files, {report.read} records: {report.stored} stored, {report.unchanged} unchanged, "
        f"{report.refused} refused, {report.with_warnings} stored with warnings"
    )
    whole = report.as_json(formats_of(settings))
    for rule in whole["rules"]:
        if rule["severity"] == "warning":
            yield f"  warning   {rule['rule']} ×{rule['count']}"
    for left in whole["kept_out"]:
        yield f"  kept out  {left['format']} {left['field']} ×{left['count']}: {left['en']}"
    for left in whole["unknown_fields"]:
        yield f"  unknown   {left['format']} {left['field']} ×{left['count']}"
    rate = report.written / seconds if seconds else 0
    yield f"{report.written} of {report.resources} resources written in {seconds:.1f} s ({rate:.0f} a second)"


def show_formats(settings: Settings) -> int:
    """Prints each format with what its files are, and each fault of its mapping on stderr. Gives the exit code."""
    faulty = False
    for one in known_formats(settings).by_name.values():
        kinds = [one.kind, *(["csv"] if one.csv is not None and one.kind != "csv" else [])]
        rows = sum(len(group["rows"]) for group in all_groups(one.data["resources"]))
        print(f"{one.name:<12} {', '.join(kinds):<10} {rows:>4} rows  {one.title[1]} / {one.title[0]}")
        for fault in mapping_faults(one):
            faulty = True
            print(f"{one.folder / 'mapping.json'}: {fault}", file=sys.stderr)
    return INCOMPLETE if faulty else DONE


def known_formats(settings: Settings) -> Formats:
    """The formats as the settings want them. Raises CannotRun for a mapping that cannot be compiled, and for trusted
    certificates that cannot be read."""
    try:
        signers_of(settings)
        return formats_of(settings)
    except (MappingFault, CertificateFault) as fault:
        raise CannotRun(str(fault), WRONG_USE) from None


def show_account(username: str, facility: str, password: str) -> None:
    """Prints an account as JSON, its password hashed."""
    from fhir_server.model.passwords import hashed

    print(encode({"username": username, "facility": facility, "secret": hashed(password)}).decode())
