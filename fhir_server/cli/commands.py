"""The commands of the program and their options; each imports what it needs when it runs, so small ones are quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fhir_server.cli.access_commands import audit, clients, erase, petitions
from fhir_server.cli.data_commands import packages, records, terminology
from fhir_server.cli.faults import DONE, INCOMPLETE
from fhir_server.cli.options import settings as read

app = typer.Typer(
    help="HL7 FHIR R4 server for Vietnamese basic health records. Exit codes: 0 done, 1 done in part (records refused, "
    "a check found something), 2 wrong use, 3 cannot run (no database, busy port).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(records, name="records", no_args_is_help=True)
app.add_typer(terminology, name="terminology", no_args_is_help=True)
app.add_typer(clients, name="clients", no_args_is_help=True)
app.add_typer(petitions, name="petitions", no_args_is_help=True)
app.add_typer(erase, name="erase", no_args_is_help=True)
app.add_typer(audit, name="audit", no_args_is_help=True)
app.add_typer(packages, name="packages", no_args_is_help=True)


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

    serve(read(host=host, port=port, workers=workers), sample)


@app.command()
def sample(
    people: Annotated[int, typer.Option(min=1, max=1_000_000, help="people of the commune")] = 1000,
    seed: Annotated[int, typer.Option(help="the same seed writes the same files")] = 1,
    out: Annotated[Path, typer.Option(help="folder to write to")] = Path("sample"),
) -> None:
    """Write synthetic records of every format for a commune that does not exist."""
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

    raise typer.Exit(DONE if check(read(), store) else INCOMPLETE)


@app.command("hand-over")
def hand_over(
    out: Annotated[Path, typer.Argument(help="folder to write to; one that was cut off is completed")],
) -> None:
    """Write everything that is stored as NDJSON: every version, deletion, access and register, and hashes of all."""
    from fhir_server.cli.handing_over import hand_over

    hand_over(read(), out)


@app.command()
def settings() -> None:
    """Show each setting: its environment variable, meaning, default and current value."""
    from fhir_server.cli.settings import show

    show(read())


@app.command()
def migrate() -> None:
    """Bring the stored data to the schema of this version. May be stopped and started again."""
    from fhir_server.cli.migrate import migrate

    migrate(read())
