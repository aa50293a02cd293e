"""Synthetic records: written to a folder, and loaded when a new embedded MongoDB is started for the first time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from fhir_server.cli.faults import WRONG_USE, CannotRun
from fhir_server.cli.progress import progress
from fhir_server.config import Settings
from fhir_server.errors import FhirError

SHIPPED_PEOPLE = 1000
SHIPPED_SEED = 1
# In the data directory while the sample is wanted and not loaded to its end, so that it outlives a kill.
_MARK = "sample-is-loading"


def write(people: int, seed: int, out: Path) -> None:
    """Writes the records of a commune to the folder `out` and says what it holds. Raises CannotRun."""
    from fhir_server.records.sample import write_sample

    started = time.monotonic()
    try:
        with progress("Writing records", "people") as report:
            manifest = write_sample(people, seed, out, lambda done: report(done, people))
    except FhirError as fault:
        raise CannotRun(fault.diagnostics, WRONG_USE) from None
    except OSError as fault:
        raise CannotRun(f"{out} cannot be written: {fault.strerror}") from None
    print(f"{people} people of seed {seed} are in {out} ({time.monotonic() - started:.1f} s):")
    for kind, records in sorted(manifest.records.items()):
        print(f"  {kind}: {records} records in {manifest.files[kind]} files")
    print(f"  {len(manifest.oddities)} deliberate oddities, listed in {out / 'manifest.json'}")


def sample_is_wanted(settings: Settings) -> bool:
    """True for an embedded MongoDB that has never been started, or whose first load was cut off. Raises CannotRun."""
    if settings.mongodb_uri is not None:
        return False
    mark = settings.data_dir / _MARK
    if not (settings.data_dir / "db").exists():
        try:
            settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            mark.touch()
        except OSError as fault:
            raise CannotRun(f"The data directory {settings.data_dir} cannot be used: {fault.strerror}.") from None
    return mark.exists()


def load_sample(settings: Settings, say: Callable[[str], None]) -> None:
    """Makes the shipped sample and imports it; what is there already stays as it is. Raises CannotRun."""
    from fhir_server.cli.records import import_all
    from fhir_server.records.sample import write_sample

    started = time.monotonic()
    folder = settings.data_dir / "sample"
    with progress("Making sample records", "people") as report:
        write_sample(SHIPPED_PEOPLE, SHIPPED_SEED, folder, lambda done: report(done, SHIPPED_PEOPLE))
    stored = import_all(settings, [folder], "Loading sample records", lambda outcome: None)
    (settings.data_dir / _MARK).unlink(missing_ok=True)
    say(
        f"Sample: {SHIPPED_PEOPLE} people who do not exist, {stored.read} records, {stored.resources} resources "
        f"({time.monotonic() - started:.1f} s); the files are in {folder}"
    )
