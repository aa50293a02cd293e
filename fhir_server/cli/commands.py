"""The commands and their options; each imports what it needs when it runs, so that the small ones answer at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fhir_server.cli.faults import DONE, INCOMPLETE

app = typer.Typer(
    help="HL7 FHIR R4 server for Vietnamese basic health records. Exit codes: 0 done, 1 done in part (records refused, "
    "a check found something), 2 wrong use, 3 cannot run (no database, busy port).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
records = typer.Typer(help="Vietnamese health records as files: HSSK-831 XML, insurance XML, basic group JSON/CSV.")
app.add_typer(records, name="records", no_args_is_help=True)
terminology = typer.Typer(help="Code systems that are loaded as tables: ICD-10 of Việt Nam, SNOMED CT, LOINC, lists.")
app.add_typer(terminology, name="terminology", no_args_is_help=True)
clients = typer.Typer(help="Systems that get access tokens here by their own keys (SMART Backend Services).")
app.add_typer(clients, name="clients", no_args_is_help=True)
petitions = typer.Typer(help="What people ask about their data, with the days by which it must be answered.")
app.add_typer(petitions, name="petitions", no_args_is_help=True)
By = Annotated[str, typer.Option(help="who notes it: name or number of the member of staff")]
erase = typer.Typer(help="Erasure by law of a person's whole record: one person asks, another confirms.")
app.add_typer(erase, name="erase", no_args_is_help=True)
audit = typer.Typer(help="The record of every access.")
app.add_typer(audit, name="audit", no_args_is_help=True)

Keys = Annotated[Path | None, typer.Option("--keys", help="its public keys: a JWK Set, a JWK or PEM", exists=True)]
KeysUrl = Annotated[str | None, typer.Option("--keys-url", help="where its JWK Set is, in place of --keys")]
ClientId = Annotated[str, typer.Argument(help="the client id")]
packages = typer.Typer(help="FHIR packages: profiles and terminology of guides, kept in the database for all servers.")
app.add_typer(packages, name="packages", no_args_is_help=True)


def _existing(paths: list[Path]) -> list[Path]:
    missing = [path for path in paths if str(path) != "-" and not path.exists()]
    if missing:
        raise typer.BadParameter(f"{str(missing[0])!r} does not exist.")
    return paths


Paths = Annotated[
    list[Path],
    typer.Argument(help="files, .zip archives, folders of them, or - for standard input", callback=_existing),
]


def _version(asked: bool) -> None:
    if asked:
        from fhir_server.config import FHIR_VERSION, VERSION

        typer.echo(f"fhir-server {VERSION} (FHIR {FHIR_VERSION})")
        raise typer.Exit(DONE)


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version and end")
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="address to listen on, in place of FHIR_HOST")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on, in place of FHIR_PORT")] = None,
    workers: Annotated[int | None, typer.Option(help="server processes, in place of FHIR_WORKERS")] = None,
    sample: Annotated[
        bool | None,
        typer.Option(
            "--sample/--no-sample",
            help="load the shipped sample of 1,000 people, or never; without either: when the embedded MongoDB is new",
        ),
    ] = None,
) -> None:
    """Serve FHIR until Ctrl-C or SIGTERM."""
    from fhir_server.cli.serve import serve

    serve(_settings(host=host, port=port, workers=workers), sample)


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

    raise typer.Exit(import_files(_settings(), paths, report, jobs))


@records.command("map")
def map_(
    paths: Paths,
    form: Annotated[
        Literal["ndjson", "bundle"], typer.Option("--format", help="resources line by line, or one Bundle a record")
    ] = "ndjson",
) -> None:
    """Write the FHIR resources of records to stdout. Needs no server and no database."""
    from fhir_server.cli.records import map_files

    raise typer.Exit(map_files(_settings(), paths, form))


@records.command("formats")
def formats() -> None:
    """List the record formats that are known, and what is wrong with their mappings. Needs no database."""
    from fhir_server.cli.records import show_formats

    raise typer.Exit(show_formats(_settings()))


@records.command("account")
def account(
    username: Annotated[str, typer.Argument(help="name of the account")],
    facility: Annotated[str, typer.Option(help="code of the facility that it sends for")],
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, help="asked for unless it is given")],
) -> None:
    """Show an account of the gateway as a line for the file that FHIR_GATEWAY_ACCOUNTS names."""
    from fhir_server.cli.records import show_account

    show_account(username, facility, password)


@records.command("watch")
def watch(
    folder: Annotated[Path, typer.Argument(help="folder into which files are put", exists=True, file_okay=False)],
    once: Annotated[bool, typer.Option("--once", help="import what is there and end")] = False,
) -> None:
    """Import files as they are put into a folder; each then lies in done/ or refused/ with its report beside it."""
    from fhir_server.cli.watching import watch

    watch(_settings(), folder, once)


@records.command("export")
def export_(
    format: Annotated[str, typer.Option("--format", help="hssk831, bhxh or basic")],
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

    raise typer.Exit(export_files(_settings(), Wanted(format, form, out, tuple(patient or ()), facility, since)))


@packages.command("install")
def install(
    path: Annotated[Path, typer.Argument(help="a package: .tgz, or a folder with package.json", exists=True)],
    strict: Annotated[bool, typer.Option(help="install nothing when anything is wrong with it")] = False,
) -> None:
    """Install a FHIR package, in the place of the same one. No network is needed."""
    from fhir_server.cli.packages import install

    raise typer.Exit(install(_settings(), path, strict))


@packages.command("list")
def list_() -> None:
    """Show what is installed, and what is wrong with it."""
    from fhir_server.cli.packages import show

    show(_settings())


@packages.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="its name, or name#version, or as `list` shows it")],
) -> None:
    """Remove a package."""
    from fhir_server.cli.packages import remove

    remove(_settings(), name)


@app.command()
def sample(
    people: Annotated[int, typer.Option(min=1, max=1_000_000, help="people of the commune")] = 1000,
    seed: Annotated[int, typer.Option(help="the same seed writes the same files")] = 1,
    out: Annotated[Path, typer.Option(help="folder to write to")] = Path("sample"),
) -> None:
    """Write synthetic records of all three formats for a commune that does not exist."""
    from fhir_server.cli.sample import write

    write(people, seed, out)


@app.command()
def check(
    store: Annotated[
        bool, typer.Option("--store", help="read every stored resource and compare keys, versions and history")
    ] = False,
) -> None:
    """Tell whether definitions, settings and database are as the server needs them."""
    from fhir_server.cli.check import check

    raise typer.Exit(DONE if check(_settings(), store) else INCOMPLETE)


@app.command()
def settings() -> None:
    """Show each setting: its environment variable, meaning, default and current value."""
    from fhir_server.cli.settings import show

    show(_settings())


@app.command()
def migrate() -> None:
    """Bring the stored data to the schema of this version. May be stopped and started again."""
    from fhir_server.cli.migrate import migrate

    migrate(_settings())


@clients.command("add")
def add_client(
    name: Annotated[str, typer.Argument(help="what the system is called")],
    scope: Annotated[str, typer.Option(help="what it may do at most: 'system/*.rs system/Patient.cu'")],
    keys: Keys = None,
    keys_url: KeysUrl = None,
    organisation: Annotated[str | None, typer.Option(help="it belongs to the Organization with this id")] = None,
    unit: Annotated[str | None, typer.Option(help="it serves an administrative unit: ward:14797, province:38")] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="it may see everything that its scopes name")
    ] = False,
) -> None:
    """Register a system and show its client id. No secret is made or kept: the system signs with its own key."""
    from fhir_server.cli.clients import add
    from fhir_server.security.clients import Client

    made = Client(name, scope, keys_url=keys_url, organisation=organisation, unit=unit, everything=everything)
    typer.echo(add(_settings(), made, keys))


@clients.command("list")
def list_clients() -> None:
    """Show every registered system, a line of JSON each."""
    from fhir_server.cli.clients import every, shown

    for id, client in every(_settings()).items():
        typer.echo(shown(id, client))


@clients.command("disable")
def disable_client(id: ClientId) -> None:
    """Let a system in no more, from ten seconds on at the latest. `rotate` lets it in again."""
    from fhir_server.cli.clients import change

    change(_settings(), id, disabled=True)


@clients.command("rotate")
def rotate_client(
    id: ClientId,
    keys: Keys = None,
    keys_url: KeysUrl = None,
    keep: Annotated[bool, typer.Option("--keep", help="the old keys count on beside the new ones")] = False,
) -> None:
    """Give a system new keys, and let it in again if it was disabled."""
    from fhir_server.cli.clients import rotate

    rotate(_settings(), id, keys, keys_url, keep)


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
    raise typer.Exit(load(_settings(), wanted))


@terminology.command("list")
def list_terminology() -> None:
    """Show the tables: URL, version, how many codes, when in force."""
    from fhir_server.cli.terminology import show

    show(_settings())


@terminology.command("remove")
def remove_terminology(canonical: Annotated[str, typer.Argument(help="URL|version as `list` shows it")]) -> None:
    """Remove a table and the CodeSystem resources that describe it."""
    from fhir_server.cli.terminology import remove

    raise typer.Exit(remove(_settings(), canonical))


@petitions.command("add")
def add_petition(
    kind: Annotated[
        Literal["access", "correct", "restrict", "withdraw", "erase"], typer.Argument(help="what is asked for")
    ],
    patient: Annotated[str, typer.Option(help="id of the Patient")],
    by: By,
) -> None:
    """Enter a petition and show by when it must be acknowledged and answered."""
    from fhir_server.cli.petitions import add

    typer.echo(add(_settings(), kind, patient, by))


@petitions.command("note")
def note_petition(
    id: Annotated[str, typer.Argument(help="the petition")],
    done: Annotated[Literal["acknowledged", "extended", "closed"], typer.Argument(help="what was done")],
    by: By,
    note: Annotated[str, typer.Option(help="why, or with what outcome")] = "",
) -> None:
    """Note that a petition was acknowledged, extended or closed. Nothing noted is ever taken away."""
    from fhir_server.cli.petitions import step

    typer.echo(step(_settings(), id, done, by, note))


@petitions.command("list")
def list_petitions(late: Annotated[bool, typer.Option("--late", help="only those that are overdue")] = False) -> None:
    """Show petitions, a line of JSON each."""
    from fhir_server.cli.petitions import every

    for line in every(_settings(), late):
        typer.echo(line)


@erase.command("ask")
def ask_erasure(
    patient: Annotated[str, typer.Option(help="id of the Patient")],
    reason: Annotated[str, typer.Option(help="petition or decision that asks for it")],
    by: By,
) -> None:
    """Ask for an erasure and show the id by which another person confirms it. Nothing is erased yet."""
    from fhir_server.cli.erase import ask

    typer.echo(ask(_settings(), patient, by, reason))


@erase.command("confirm")
def confirm_erasure(
    id: Annotated[str, typer.Argument(help="what `erase ask` showed")],
    by: By,
    despite_retention: Annotated[
        str | None, typer.Option(help="number of the decision by which clinical records go before their legal time")
    ] = None,
) -> None:
    """Erase the record for good: every version of every resource. A tombstone and the entry in the register stay."""
    from fhir_server.cli.erase import confirm

    typer.echo(confirm(_settings(), id, by, despite_retention))


@audit.command("verify")
def verify_audit(
    noted: Annotated[
        list[str] | None, typer.Option("--seal", help="a seal that an earlier run showed: it must be there still")
    ] = None,
) -> None:
    """Prove that nothing on record was changed, taken away or put in: read every seal and every event."""
    from fhir_server.cli.audit import verify_record

    raise typer.Exit(DONE if verify_record(_settings(), noted or ()) else INCOMPLETE)


@audit.command("export")
def export_audit(
    since: Annotated[str | None, typer.Option(help="from this date or instant on")] = None,
    until: Annotated[str | None, typer.Option(help="to before this date or instant")] = None,
) -> None:
    """Write AuditEvents to stdout, one a line."""
    from fhir_server.cli.audit import export

    export(_settings(), since, until)


@audit.command("emergencies")
def list_emergencies() -> None:
    """Show every time that somebody broke the glass: who, whose record, why, when."""
    from fhir_server.cli.audit import emergencies

    for line in emergencies(_settings()):
        typer.echo(line)


@audit.command("prune")
def prune_audit() -> None:
    """Take away the events that are older than FHIR_AUDIT_YEARS; the rest can be proved as before."""
    from fhir_server.cli.audit import prune

    typer.echo(f"{prune(_settings())} events taken away.")


@audit.command("who-looked")
def who_looked_(
    patient: Annotated[str, typer.Argument(help="id of the Patient")],
    since: Annotated[str | None, typer.Option(help="from this date or instant on")] = None,
) -> None:
    """Write who looked at a patient's record, as CSV, the latest first: what the patient may be given."""
    from fhir_server.cli.audit import who_looked

    who_looked(_settings(), patient, since)


@audit.command("hash")
def hash_number() -> None:
    """Read a personal number from stdin and show what stands for it on record, to search by."""
    import sys

    from fhir_server.cli.audit import hashed

    typer.echo(hashed(_settings(), sys.stdin.readline().strip()))


def _settings(**given: Any) -> Any:
    from fhir_server.cli.settings import read_settings

    return read_settings(**given)
