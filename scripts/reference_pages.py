"""Writes docs/reference/settings.md and docs/reference/commands.md from the program itself.

python scripts/reference_pages.py          writes the pages
python scripts/reference_pages.py --check  exits 1 when a page is not what the program says
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from fhir_server.cli.commands import app
from fhir_server.cli.settings import rows
from fhir_server.config import Settings
from fhir_server.records.advice import rules

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"

SETTINGS = """# Settings

Every setting is an environment variable. `fhir-server settings` shows them with the values of the moment, passwords
masked; `fhir-server check` names variables that look like settings and are none.

| variable | meaning | default |
|---|---|---|
"""
COMMANDS = """# Commands

`fhir-server` and `python -m fhir_server` are the same. Progress bars go to stderr, and only to a terminal.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | done in part: some records were refused, or a check found something |
| 2 | wrong use: an unknown option, a setting out of range, a file that is not there |
| 3 | cannot run: no database, a busy port, a data directory that somebody holds; one sentence says which |
"""


REPORT = """# The report of an import

For each record that has something to tell: its place, the field, what was found (personal numbers masked), the rule,
and what to do. `fhir-server records import --report FILE` writes it by the suffix of the file; `POST /records` answers
with it by `Accept`.

| form | command | HTTP |
|---|---|---|
| JSON, with counts and a sum by rule | `--report report.json` | `application/json` (without a wish) |
| CSV for a spreadsheet, one line a problem | `--report report.csv` | `text/csv` |
| a page to read and print | `--report report.html` | `text/html` |
| one JSON object a record, while it runs | `--report report.ndjson` | |
| an OperationOutcome, one issue a problem | | `application/fhir+json` |

The counts: `read`, of which `stored` (something changed in the store), `unchanged` (everything was there), `refused`
(nothing of it was stored); `with_warnings` are among the first two. An error refuses its record; a warning does not.

Columns of the CSV: `file`, `record` (number in the file), `line`, `key` (the sender's own), `format`, `status`,
`severity`, `rule`, `part` (table), `field`, `value`, and in both languages `message`, `allowed` and `do`. `line` is
that of the file, or with a `part` that is a document of its own the line in it. What has no `status` speaks of the file
as a whole.

Whether a value is masked follows from its field: keys of records, amounts, days and codes are told in full, personal
numbers and long digits in text as `038*******23`, also where a personal number stands within a key or in a field of
another kind.

The checks of the receivers (`mappings/<format>/checks.json`: required fields, lengths, forms, order of dates, sums,
tables that must agree) are warnings unless `FHIR_RECORD_CHECKS` says `refuse` or `off`. The insurer's own list of rules
stands [field by field](../mappings/bhxh-rules.md), each with the check that applies it or why none does.

## Rules

| rule | nghĩa là | cần làm | means | what to do |
|---|---|---|---|---|
"""


def pages() -> dict[Path, str]:
    return {
        FOLDER / "settings.md": settings_page(),
        FOLDER / "commands.md": commands_page(),
        FOLDER / "import-report.md": report_page(),
    }


def report_page() -> str:
    return REPORT + "".join(
        f"| `{name}` | {told.meaning[1]} | {told.do[1]} | {told.meaning[0]} | {told.do[0]} |\n"
        for name, told in rules().items()
    )


def settings_page() -> str:
    defaults = Settings.model_construct()
    return SETTINGS + "".join(
        f"| `{row.name}` | {row.meaning} | {f'`{row.default}`' if row.default != 'unset' else ''} |\n"
        for row in rows(defaults)
    )


def commands_page() -> str:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return COMMANDS + "".join(_section(name, command) for name, command in _commands(group, "fhir-server"))


def _commands(group: TyperGroup, prefix: str) -> Iterator[tuple[str, TyperCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _commands(command, f"{prefix} {name}")
        elif isinstance(command, TyperCommand):
            yield f"{prefix} {name}", command


def _section(name: str, command: TyperCommand) -> str:
    arguments = [one for one in command.params if isinstance(one, TyperArgument)]
    options = [one for one in command.params if isinstance(one, TyperOption) and one.name != "help"]
    usage = " ".join([name, *(f"{(one.name or '').upper()}…" for one in arguments)])
    rows_ = [f"| `{(one.name or '').upper()}` | {one.help} |\n" for one in arguments]
    rows_ += [f"| `{'`, `'.join([*one.opts, *one.secondary_opts])}` | {_option_help(one)} |\n" for one in options]
    table = "\n| | |\n|---|---|\n" + "".join(rows_) if rows_ else ""
    return f"\n## {usage}\n\n{command.help}\n{table}"


def _option_help(option: TyperOption) -> str:
    default = option.default
    shown = "" if default is None or isinstance(default, bool) else f" (`{default}`)"
    return f"{option.help}{shown}"


def main() -> int:
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.name} is not what the program says: make docs", file=sys.stderr)
        return 1 if stale else 0
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
