"""The commands on who may come in, what people ask about their data, and the record of every access."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fhir_server.cli.faults import DONE, INCOMPLETE
from fhir_server.cli.options import settings

clients = typer.Typer(help="Systems that get access tokens here by their own keys (SMART Backend Services).")
petitions = typer.Typer(help="What people ask about their data, with the days by which it must be answered.")
erase = typer.Typer(help="Erasure by law of a person's whole record: one officer asks, another confirms.")
audit = typer.Typer(help="The record of every access.")

Keys = Annotated[Path | None, typer.Option("--keys", help="its public keys: a JWK Set, a JWK or PEM", exists=True)]
KeysUrl = Annotated[str | None, typer.Option("--keys-url", help="where its JWK Set is, in place of --keys")]
ClientId = Annotated[str, typer.Argument(help="the client id")]
Officer = Annotated[str, typer.Argument(help="name of the officer")]
OfficerBy = Annotated[str, typer.Option(help="name of the officer")]
Passphrase = Annotated[str, typer.Option(prompt=True, hide_input=True, help="of the officer; asked for unless given")]
By = Annotated[str, typer.Option(help="who notes it: name or number of the member of staff")]


@clients.command("add")
def add_client(
    name: Annotated[str, typer.Argument(help="what the system is called")],
    scope: Annotated[str, typer.Option(help="what it may do at most: 'system/*.rs system/Patient.cu'")],
    keys: Keys = None,
    keys_url: KeysUrl = None,
    organisation: Annotated[str | None, typer.Option(help="it belongs to the Organization with this id")] = None,
    facility: Annotated[
        str | None,
        typer.Option(help="it belongs to the Organization that records make of this facility code (MA_CSKCB)"),
    ] = None,
    unit: Annotated[str | None, typer.Option(help="it serves an administrative unit: ward:14797, province:38")] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="it may see everything that its scopes name")
    ] = False,
) -> None:
    """Register a system and show its client id. No secret is made or kept: the system signs with its own key."""
    from fhir_server.cli.clients import add, organisation_of
    from fhir_server.security.clients import Client

    owner = organisation_of(organisation, facility)
    made = Client(name, scope, keys_url=keys_url, organisation=owner, unit=unit, everything=everything)
    typer.echo(add(settings(), made, keys))


@clients.command("list")
def list_clients() -> None:
    """Show every registered system, a line of JSON each."""
    from fhir_server.cli.clients import every, shown

    for id, client in every(settings()).items():
        typer.echo(shown(id, client))


@clients.command("disable")
def disable_client(id: ClientId) -> None:
    """Let a system in no more, from ten seconds on at the latest. `rotate` lets it in again."""
    from fhir_server.cli.clients import disable

    disable(settings(), id)


@clients.command("rotate")
def rotate_client(
    id: ClientId,
    keys: Keys = None,
    keys_url: KeysUrl = None,
    keep: Annotated[bool, typer.Option("--keep", help="the old keys count on beside the new ones")] = False,
) -> None:
    """Give a system new keys, and let it in again if it was disabled."""
    from fhir_server.cli.clients import rotate

    rotate(settings(), id, keys, keys_url, keep)


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

    typer.echo(add(settings(), kind, patient, by))


@petitions.command("note")
def note_petition(
    id: Annotated[str, typer.Argument(help="the petition")],
    done: Annotated[Literal["acknowledged", "extended", "closed"], typer.Argument(help="what was done")],
    by: By,
    note: Annotated[str, typer.Option(help="why, or with what outcome")] = "",
) -> None:
    """Note that a petition was acknowledged, extended or closed. Nothing noted is ever taken away."""
    from fhir_server.cli.petitions import step

    typer.echo(step(settings(), id, done, by, note))


@petitions.command("list")
def list_petitions(late: Annotated[bool, typer.Option("--late", help="only those that are overdue")] = False) -> None:
    """Show petitions, a line of JSON each."""
    from fhir_server.cli.petitions import every

    for line in every(settings(), late):
        typer.echo(line)


@erase.command("add-officer")
def add_officer(
    name: Officer,
    passphrase: Annotated[
        str, typer.Option(prompt=True, confirmation_prompt=True, hide_input=True, help="asked for unless it is given")
    ],
) -> None:
    """Register who may ask for an erasure or confirm one, from the next day on; or give a new passphrase."""
    from fhir_server.cli.erase import add_officer

    add_officer(settings(), name, passphrase)


@erase.command("remove-officer")
def remove_officer(name: Officer) -> None:
    """Let somebody ask for and confirm erasures no more."""
    from fhir_server.cli.erase import remove_officer

    remove_officer(settings(), name)


@erase.command("officers")
def list_officers() -> None:
    """Show who may ask for an erasure or confirm one."""
    from fhir_server.cli.erase import officers

    for name in officers(settings()):
        typer.echo(name)


@erase.command("ask")
def ask_erasure(
    patient: Annotated[str, typer.Option(help="id of the Patient")],
    reason: Annotated[str, typer.Option(help="petition or decision that asks for it")],
    by: OfficerBy,
    passphrase: Passphrase,
) -> None:
    """Ask for an erasure, and show the id and the code by which another officer confirms it. Nothing is erased yet."""
    from fhir_server.cli.erase import ask

    typer.echo(ask(settings(), patient, by, passphrase, reason))


@erase.command("confirm")
def confirm_erasure(
    id: Annotated[str, typer.Argument(help="what `erase ask` showed")],
    code: Annotated[str, typer.Option(help="the code that `erase ask` showed to the officer who asked")],
    by: OfficerBy,
    passphrase: Passphrase,
    despite_retention: Annotated[
        str | None, typer.Option(help="number of the decision by which clinical records go before their legal time")
    ] = None,
) -> None:
    """Erase the record for good: every version of every resource. A tombstone and the entry in the register stay."""
    from fhir_server.cli.erase import confirm

    typer.echo(confirm(settings(), id, code, by, passphrase, despite_retention))


@audit.command("verify")
def verify_audit(
    noted: Annotated[
        list[str] | None, typer.Option("--seal", help="a seal that an earlier run showed: it must be there still")
    ] = None,
) -> None:
    """Prove that nothing on record was changed, taken away or put in: read every seal and every event."""
    from fhir_server.cli.audit import verify_record

    raise typer.Exit(DONE if verify_record(settings(), noted or ()) else INCOMPLETE)


@audit.command("export")
def export_audit(
    since: Annotated[str | None, typer.Option(help="from this date or instant on")] = None,
    until: Annotated[str | None, typer.Option(help="to before this date or instant")] = None,
) -> None:
    """Write AuditEvents to stdout, one a line."""
    from fhir_server.cli.audit import export

    export(settings(), since, until)


@audit.command("emergencies")
def list_emergencies() -> None:
    """Show every time that somebody broke the glass: who, whose record, why, when."""
    from fhir_server.cli.audit import emergencies

    for line in emergencies(settings()):
        typer.echo(line)


@audit.command("prune")
def prune_audit() -> None:
    """Take away the events that are older than FHIR_AUDIT_YEARS; the rest can be proved as before."""
    from fhir_server.cli.audit import prune

    typer.echo(f"{prune(settings())} events taken away.")


@audit.command("who-looked")
def who_looked_(
    patient: Annotated[str, typer.Argument(help="id of the Patient")],
    since: Annotated[str | None, typer.Option(help="from this date or instant on")] = None,
    form: Annotated[
        Literal["csv", "html"], typer.Option("--as", help="a table, or a page in both languages to read and print")
    ] = "csv",
    language: Annotated[Literal["vi", "en"], typer.Option(help="of the table")] = "vi",
) -> None:
    """Write who looked at a patient's record, the latest first: what the patient may be given."""
    from fhir_server.cli.audit import who_looked

    who_looked(settings(), patient, since, form, language)


@audit.command("consents")
def list_consents(patient: Annotated[str, typer.Argument(help="id of the Patient")]) -> None:
    """Show the evidence of a patient's consents: which text, by which channel, when, by whom, and whether it stands."""
    from fhir_server.cli.audit import consents

    for line in consents(settings(), patient):
        typer.echo(line)


@audit.command("hash")
def hash_number() -> None:
    """Read a personal number from stdin and show what stands for it on record, to search by."""
    import sys

    from fhir_server.cli.audit import hashed

    typer.echo(hashed(settings(), sys.stdin.readline().strip()))
