"""The commands on what is stored: records, terminology, packages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fhir_server.cli.options import settings

records = typer.Typer(help="Vietnamese health records as files: HSSK-831 XML, insurance XML, basic group JSON/CSV.")
terminology = typer.Typer(help="Code systems that are loaded as tables: ICD-10 of Việt Nam, SNOMED CT, LOINC, lists.")
packages = typer.Typer(help="FHIR packages: profiles and terminology of guides, kept in the database for all servers.")


def _existing(paths: list[Path]) -> list[Path]:
    missing = [path for path in paths if str(path) != "-" and not path.exists()]
    if missing:
        raise typer.BadParameter(f"{str(missing[0])!r} does not exist.")
    return paths


Paths = Annotated[
    list[Path],
    typer.Argument(help="files, .zip archives, folders of them, or - for standard input", callback=_existing),
]


@records.command("import")
def import_(
    paths: Paths,
    report: Annotated[
        Path | None,
        typer.Option(help="write the report to this file: .csv, .html, .json, or .ndjson (a line a record)"),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=64, help="processes; one a core for large files, else one")
    ] = None,
) -> None:
    """Store the records of files, each whole or not at all. Sending them again changes nothing."""
    from fhir_server.cli.records import import_files

    raise typer.Exit(import_files(settings(), paths, report, jobs))


@records.command("map")
def map_(
    paths: Paths,
    form: Annotated[
        Literal["ndjson", "bundle"], typer.Option("--format", help="resources line by line, or one Bundle a record")
    ] = "ndjson",
) -> None:
    """Write the FHIR resources of records to stdout. Needs no server and no database."""
    from fhir_server.cli.records import map_files

    raise typer.Exit(map_files(settings(), paths, form))


@records.command("formats")
def formats() -> None:
    """List the record formats that are known, and what is wrong with their mappings. Needs no database."""
    from fhir_server.cli.records import show_formats

    raise typer.Exit(show_formats(settings()))


@records.command("account")
def account(
    username: Annotated[str, typer.Argument(help="name of the account")],
    facility: Annotated[str, typer.Option(help="code of the facility that it sends for")],
    password: Annotated[str | None, typer.Option(help="asked for unless it is given")] = None,
) -> None:
    """Show an account of the gateway as a line for the file that FHIR_GATEWAY_ACCOUNTS names."""
    from fhir_server.cli.records import show_account

    # Asked on stderr: stdout is the line, which goes into a file.
    show_account(username, facility, password or typer.prompt("Password", hide_input=True, err=True))


@records.command("watch")
def watch(
    folder: Annotated[Path, typer.Argument(help="folder into which files are put", exists=True, file_okay=False)],
    once: Annotated[bool, typer.Option("--once", help="import what is there and end")] = False,
) -> None:
    """Import files as they are put into a folder; each then lies in done/ or refused/ with its report beside it."""
    from fhir_server.cli.watching import watch

    watch(settings(), folder, once)


@records.command("export")
def export_(
    format: Annotated[str, typer.Option("--format", help="hssk831, bhxh, ksk, basic or tiemchung")],
    out: Annotated[Path, typer.Option(help="folder to write to")] = Path("export"),
    form: Annotated[str | None, typer.Option(help="xml, json, ndjson or csv, where the format has several")] = None,
    patient: Annotated[list[str] | None, typer.Option(help="id of a Patient; may be repeated; nobody: all")] = None,
    facility: Annotated[str, typer.Option(help="code of the facility in whose name to write; else its sender's")] = "",
    since: Annotated[
        str | None,
        typer.Option(help="only who changed since a token of the last export or an instant; `all` for a first one"),
    ] = None,
) -> None:
    """Write people as records of a Vietnamese format, by the same tables that read such records."""
    from fhir_server.cli.exporting import Wanted, export_files

    raise typer.Exit(export_files(settings(), Wanted(format, form, out, tuple(patient or ()), facility, since)))


PatientId = Annotated[str, typer.Argument(help="id of a Patient")]


@records.command("doubts")
def doubts() -> None:
    """List who may be one person, or is a newborn under another's number: a line of JSON each, until it is settled."""
    from fhir_server.cli.identity import list_doubts

    list_doubts(settings())


@records.command("different")
def different(id: Annotated[str, typer.Argument(help="id of the doubt, as `doubts` lists it")]) -> None:
    """Settle a doubt: the two are different people."""
    from fhir_server.cli.identity import settle_as_different

    settle_as_different(settings(), id)


@records.command("merge")
def merge_(
    source: PatientId,
    into: Annotated[str, typer.Argument(help="id of the Patient who stays")],
    preview: Annotated[bool, typer.Option("--preview", help="tell what would be done, and do nothing")] = False,
) -> None:
    """Join two Patients that are one person. Both stay; what referred to the source refers to the other."""
    from fhir_server.cli.identity import merge

    merge(settings(), source, into, preview)


@records.command("unmerge")
def unmerge_(source: PatientId) -> None:
    """Take a Patient out of the one it was joined into, as both were before."""
    from fhir_server.cli.identity import unmerge

    unmerge(settings(), source)


@packages.command("install")
def install(
    path: Annotated[Path, typer.Argument(help="a package: .tgz, or a folder with package.json", exists=True)],
    strict: Annotated[bool, typer.Option(help="install nothing when anything is wrong with it")] = False,
) -> None:
    """Install a FHIR package, in the place of the same one. No network is needed."""
    from fhir_server.cli.packages import install

    raise typer.Exit(install(settings(), path, strict))


@packages.command("list")
def list_() -> None:
    """Show what is installed, and what is wrong with it."""
    from fhir_server.cli.packages import show

    show(settings())


@packages.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="its name, or name#version, or as `list` shows it")],
) -> None:
    """Remove a package."""
    from fhir_server.cli.packages import remove

    remove(settings(), name)


@terminology.command("load")
def load_terminology(
    file: Annotated[Path, typer.Argument(help="CSV, XLSX, ZIP (RF2, LOINC) or a CodeSystem as JSON", exists=True)],
    form: Annotated[
        Literal["icd-10-vn", "list", "snomed", "loinc", "code-system"] | None,
        typer.Option("--as", help="what the file is; without it the file itself tells, and a table is icd-10-vn"),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option("--code-version", help="which version it is, such as '06/2026/TT-BYT' or '4469/QĐ-BYT'"),
    ] = None,
    system: Annotated[str | None, typer.Option(help="URL of the code system, needed for --as list")] = None,
    title: Annotated[str | None, typer.Option(help="its name for people")] = None,
    start: Annotated[str | None, typer.Option("--from", help="first day on which it is in force, 2026-07-01")] = None,
    end: Annotated[str | None, typer.Option("--to", help="last day on which it is in force")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="where a column is when its header does not tell: code=18, vi=21, en=20 (from 1)"),
    ] = None,
) -> None:
    """Load a code system as a table. The same file again changes nothing; what was cut off goes on."""
    from fhir_server.cli.terminology import load, table_file

    wanted = table_file(file, form, version, system, title, (start, end), column or [])
    raise typer.Exit(load(settings(), wanted))


@terminology.command("list")
def list_terminology() -> None:
    """Show the tables: URL, version, how many codes, when in force."""
    from fhir_server.cli.terminology import show

    show(settings())


@terminology.command("remove")
def remove_terminology(canonical: Annotated[str, typer.Argument(help="URL|version as `list` shows it")]) -> None:
    """Remove a table and the CodeSystem resources that describe it."""
    from fhir_server.cli.terminology import remove

    raise typer.Exit(remove(settings(), canonical))
