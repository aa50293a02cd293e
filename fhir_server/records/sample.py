"""Synthetic records of a commune that does not exist, in all formats: the same seed writes the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from fhir_server.errors import FhirError, Kind
from fhir_server.records.population import (
    HOSPITAL,
    PROVINCE,
    STATION,
    TODAY,
    Draw,
    Household,
    Person,
    Place,
    population,
)
from fhir_server.records.sample_basic import basic, csv_header, csv_lines
from fhir_server.records.sample_bhxh import dossier
from fhir_server.records.sample_doses import campaign_dose
from fhir_server.records.sample_envelope import envelope_end, envelope_start
from fhir_server.records.sample_health import Health, household_health
from fhir_server.records.sample_hssk831 import hssk831
from fhir_server.records.sample_ksk import check_up
from fhir_server.records.sample_oddities import ODDITIES, Plan
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.translate import predecessors

# In which format the commune's own record of a household is written; a visit to the hospital is an insurance dossier.
_FORMS = (("hssk831", 75), ("ndjson", 15), ("csv", 7), ("json", 3))
DOSSIERS_A_FILE = 200
# Envelopes: format -> (root element, who sends it).
_ENVELOPES = {"bhxh": ("GIAMDINHHS", HOSPITAL), "ksk": ("KHAMSUCKHOE", STATION)}
CHECK_UP_EVERY = 10  # one of so many people has been to a check-up
DOSE_EVERY = 4  # one of so many has a dose on the immunisation platform
RECORDS_A_FILE = 5_000
FILES_A_FOLDER = 1_000
MOST_PEOPLE = 1_000_000

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Sampled:
    """One person with everything the writers need. form: hssk831, ndjson, csv or json."""

    person: Person
    health: Health
    household: Household
    form: str


@dataclass(frozen=True, slots=True)
class SampleFile:
    """path: relative to the folder, with slashes. records: how many it holds."""

    path: str
    format: str
    records: int


@dataclass(slots=True)
class Manifest:
    """What was written. oddities: [{oddity, person, vi, en, files}]; counts: of people and of what they have."""

    people: int
    seed: int
    day: str
    files: dict[str, int] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    oddities: list[dict[str, Any]] = field(default_factory=list)


def generate(people: int, seed: int, terminology: Terminology | None = None) -> Iterator[Sampled]:
    """The people of the commune one after another, in flat memory. Raises FhirError(VALUE) for a number of people that
    numbers cannot be made for (1 to 1,000,000)."""
    if not 1 <= people <= MOST_PEOPLE:
        raise FhirError(Kind.VALUE, f"a commune has 1 to {MOST_PEOPLE} people, not {people}")
    plan = Plan(people)
    for household in population(people, seed, terminology or Terminology.load()):
        form = Draw(f"{seed}/f/{household.number}").weighted(_FORMS)
        yield from _with_oddities(household, household_health(household, seed), form, plan)


def _with_oddities(household: Household, health: dict[int, Health], form: str, plan: Plan) -> Iterator[Sampled]:
    changed: list[Person] = []
    for person in household.members:
        oddity = plan.choose(person, health[person.number], household, form)
        if oddity is not None:
            person, health[person.number] = oddity.change(person, health[person.number], household)
            person = replace(person, odd=(oddity.name,))
        changed.append(person)
    whole = Household(household.number, tuple(changed))
    for person in changed:
        yield Sampled(person, health[person.number], whole, form)


def write_sample(people: int, seed: int, out: Path, on_progress: Progress | None = None) -> Manifest:
    """Writes the records, manifest.json and README.md below `out`, which is made when it is not there.

    on_progress: called with the number of people done, every hundred and at the end. Raises FhirError(VALUE) for an
    impossible number of people, OSError when the folder cannot be written.
    """
    terminology = Terminology.load()
    manifest = Manifest(people, seed, TODAY.isoformat())
    with ExitStack() as stack:
        folder = _Folder(out, stack, manifest)
        done = 0
        for done, one in enumerate(generate(people, seed, terminology), 1):
            _write(one, folder, terminology)
            _count(one, manifest)
            if on_progress is not None and (done % 100 == 0 or done == people):
                on_progress(done)
        folder.close()
    (out / "manifest.json").write_text(
        json.dumps(asdict(manifest), ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    (out / "README.md").write_text(_readme(manifest), encoding="utf-8")
    return manifest


def _write(one: Sampled, folder: _Folder, terminology: Terminology) -> None:
    person, files = one.person, []
    if one.form == "hssk831":
        old = _old_place(person.place, terminology) if "address-before-2025" in person.odd else None
        files.append(folder.hssk831(person.number, hssk831(person, one.health, one.household, old)))
    else:
        files.append(folder.basic(one.form, basic(person, one.health, one.household)))
    files += [folder.dossier("bhxh", dossier(person, one.household, visit)) for visit in one.health.hospital]
    if person.number % CHECK_UP_EVERY == 0:
        files.append(folder.dossier("ksk", check_up(person, one.health, one.household, folder.manifest.seed)))
    if person.number % DOSE_EVERY == 0:
        files.append(folder.dose(campaign_dose(person, one.household, folder.manifest.seed)))
    if person.odd:
        told = next(oddity for oddity in ODDITIES if oddity.name == person.odd[0])
        folder.manifest.oddities.append(
            {
                "oddity": told.name,
                "person": person.number,
                "vi": told.vi,
                "en": told.en,
                "files": list(dict.fromkeys(files)),
            }
        )


def _old_place(place: Place, terminology: Terminology) -> tuple[Place, str]:
    """The address as it was before 2025-07-01, and the code of its district."""
    old = predecessors(terminology, "urn:vn-basic:CodeSystem:ward", place.ward)[0]
    wards, districts = terminology.code_system("ward-legacy"), terminology.code_system("district-legacy")
    assert wards is not None
    assert districts is not None
    ward = wards.concepts[old.code]
    district = districts.concepts[ward.values("district")[0]]
    name = f"{ward.display}, {district.display}"
    return Place(ward.code, name, PROVINCE, place.province_name, place.hamlet), district.code


def _count(one: Sampled, manifest: Manifest) -> None:
    health, counts = one.health, manifest.counts
    found = {
        "people": 1,
        "allergies": len(health.allergies),
        "diseases": len(health.diseases),
        "doses given": sum(1 for dose in health.doses if dose.given),
        "doses due": sum(1 for dose in health.doses if not dose.given),
        "visits to the station": len(health.station),
        "visits to the hospital": len(health.hospital),
    }
    for name, number in found.items():
        counts[name] = counts.get(name, 0) + number


class _Folder:
    """The files being written: one at a time of each kind, so that memory stays flat."""

    def __init__(self, out: Path, stack: ExitStack, manifest: Manifest) -> None:
        self._out = out
        self._stack = stack
        self.manifest = manifest
        self._open: dict[str, tuple[IO[bytes], str]] = {}
        self._dossiers: dict[str, list[bytes]] = {name: [] for name in _ENVELOPES}
        out.mkdir(parents=True, exist_ok=True)

    def hssk831(self, number: int, body: bytes) -> str:
        path = f"hssk831/{number // FILES_A_FOLDER:03d}/{number:07d}.xml"
        self._path(path).write_bytes(body)
        self._note("hssk831", True)
        return path

    def basic(self, form: str, record: dict[str, Any]) -> str:
        written = self.manifest.records.get(f"basic/{form}", 0)
        if form == "json":
            path = f"basic/{record['ma_ho_so']}.json"
            self._path(path).write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
            self._note("basic/json", True)
            return path
        fresh = written % RECORDS_A_FILE == 0
        path = f"basic/{written // RECORDS_A_FILE + 1:04d}.{form}"
        if fresh:
            self._begin(form, path, csv_header() if form == "csv" else "")
        line = csv_lines(record) if form == "csv" else json.dumps(record, ensure_ascii=False) + "\n"
        self._open[form][0].write(line.encode())
        self._note(f"basic/{form}", fresh)
        return path

    def dose(self, record: dict[str, Any]) -> str:
        written = self.manifest.records.get("tiemchung", 0)
        fresh = written % RECORDS_A_FILE == 0
        path = f"tiemchung/{written // RECORDS_A_FILE + 1:04d}.ndjson"
        if fresh:
            self._begin("tiemchung", path, "")
        self._open["tiemchung"][0].write(f"{json.dumps(record, ensure_ascii=False)}\n".encode())
        self._note("tiemchung", fresh)
        return path

    def dossier(self, name: str, body: bytes) -> str:
        """A file of dossiers or check-ups is written once it is full, for its head tells how many it holds."""
        waiting = self._dossiers[name]
        waiting.append(body)
        self._note(name, len(waiting) == 1)
        path = f"{name}/{self.manifest.files[name]:04d}.xml"
        if len(waiting) == DOSSIERS_A_FILE:
            self._write_dossiers(name)
        return path

    def close(self) -> None:
        for name, waiting in self._dossiers.items():
            if waiting:
                self._write_dossiers(name)

    def _write_dossiers(self, name: str) -> None:
        waiting, (root, facility) = self._dossiers[name], _ENVELOPES[name]
        body = b"".join([envelope_start(root, facility, len(waiting)), *waiting, envelope_end(root)])
        self._path(f"{name}/{self.manifest.files[name]:04d}.xml").write_bytes(body)
        self._dossiers[name] = []

    def _begin(self, form: str, path: str, head: str) -> None:
        if form in self._open:
            self._open[form][0].close()
        stream = self._stack.enter_context(self._path(path).open("wb"))
        stream.write(head.encode())
        self._open[form] = (stream, path)

    def _path(self, relative: str) -> Path:
        path = self._out / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _note(self, kind: str, new_file: bool) -> None:
        self.manifest.records[kind] = self.manifest.records.get(kind, 0) + 1
        if new_file:
            self.manifest.files[kind] = self.manifest.files.get(kind, 0) + 1


def _readme(manifest: Manifest) -> str:
    rows = "\n".join(
        f"| {kind} | {manifest.files[kind]} | {manifest.records[kind]} |" for kind in sorted(manifest.files)
    )
    odd = "\n".join(f"| {one.name} | {one.vi} | {one.en} | {_where(one.name, manifest)} |" for one in ODDITIES)
    return f"""# Hồ sơ mẫu / Sample records

Không có ai trong các tệp này là người thật: họ tên, số định danh, thẻ, điện thoại, bệnh tật đều do máy sinh ra từ
một hạt giống. Nobody in these files is real: every name, number, card, telephone and disease is made from a seed.

{manifest.people} people, seed {manifest.seed}, as of {manifest.day}. The same numbers write the same bytes.

| format | files | records |
|---|---|---|
{rows}

Numbers that show that a record is synthetic: the six serial digits of a personal number begin with 9 (then 8, 7, … one
digit for each 100,000 people), social insurance numbers begin with 389, telephones with 0999, facilities are 389xx.
Ward codes are real ones of Thanh Hóa. A person has one record of the commune station (HSSK-831, or the basic group
as NDJSON, CSV or JSON) and an insurance dossier for each visit to the hospital; one of ten has been to a check-up.

## Cố ý khác thường / Deliberate oddities

manifest.json names every one with its files.

| name | vi | en | people |
|---|---|---|---|
{odd}
"""


def _where(name: str, manifest: Manifest) -> str:
    return ", ".join(str(one["person"]) for one in manifest.oddities if one["oddity"] == name) or "–"
