"""Every caller sees, on every path, exactly what the policy says: no more, no less, and hidden is as unknown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from fhir_server.interactions.exchange import Context
from fhir_server.interactions.rights import Caller as Asker
from fhir_server.security.people import GROWN_MS, People
from tests.builders import an_entry
from tests.security.callers import ADMIN, SENSITIVE, Caller
from tests.security.conftest import Ask
from tests.security.people import HA_NOI, PEOPLE, THANH_HOA, names_of, patient, settle, years_ago

ICD = "http://hl7.org/fhir/sid/icd-10"
TYPES = ("Patient", "Condition", "Observation", "Encounter")


@dataclass(frozen=True)
class Row:
    """A caller, and what it sees: of these people all, with or without what is restricted."""

    name: str
    scope: str
    people: tuple[str, ...]
    claims: dict[str, Any] = field(default_factory=dict)
    hiv: bool = False
    organisation: str | None = None

    def sees(self) -> set[str]:
        return names_of(self.people, self.hiv, self.organisation)


DOCTOR = {"fhirUser": "Practitioner/b", "organization": "h1"}
IN_WARD = {"administrative_unit": f"ward:{THANH_HOA}"}
ROWS = (
    Row("citizen", "patient/*.rs", ("an",), {"patient": "an"}),
    Row("citizen by fhirUser", "user/*.rs", ("an",), {"fhirUser": "Patient/an", "patient": "an"}),
    Row("citizen with sensitive scopes", f"patient/*.rs {SENSITIVE}", ("an",), {"patient": "an"}, hiv=True),
    Row("mother", "user/*.rs", ("an", "chi", "dung"), {"fhirUser": "Patient/an"}),
    Row("mother in the child's record", "patient/*.rs", ("chi",), {"fhirUser": "Patient/an", "patient": "chi"}),
    Row("related person", "user/*.rs", ("chi",), {"fhirUser": "RelatedPerson/of-chi"}),
    Row("mother as a Person", "user/*.rs", ("an", "chi", "dung"), {"fhirUser": "Person/mother"}),
    Row("child of three", "patient/*.rs", (), {"patient": "chi"}),
    Row("child of ten", "patient/*.rs", ("dung",), {"patient": "dung"}),
    Row("stranger in another's record", "patient/*.rs", (), {"fhirUser": "Patient/binh", "patient": "an"}),
    Row("hospital one", "system/*.rs", ("an",), {"organization": "h1"}),
    Row("hospital two", "system/*.rs", ("binh",), {"organization": "h2"}, organisation="h2"),
    Row("doctor of one patient", "patient/*.rs", ("an",), {**DOCTOR, "patient": "an"}),
    Row("doctor of another's patient", "patient/*.rs", (), {**DOCTOR, "patient": "binh"}),
    Row("ward", "user/*.rs", ("an", "chi", "dung"), {"fhirUser": "Practitioner/o", **IN_WARD}),
    Row("ward by URI", "user/*.rs", ("binh",), {"administrative_unit": f"urn:vn-basic:CodeSystem:ward|{HA_NOI}"}),
    Row("district of the past", "user/*.rs", ("an", "chi", "dung"), {"administrative_unit": "district-legacy:380"}),
    Row("province", "user/*.rs sens/HIV", ("an", "chi", "dung"), {"administrative_unit": "province:38"}, hiv=True),
    Row("province of the past", "user/*.rs", ("binh",), {"administrative_unit": "province-legacy:01"}),
    Row("ministry", "user/*.rs", PEOPLE, {"administrative_unit": "country:VN"}),
    Row("unit that does not exist", "user/*.rs", (), {"administrative_unit": "ward:99999"}),
    Row("bound to nothing", "system/*.rs", ()),
    Row("free system", "system/*.rs", PEOPLE, {"iss": ADMIN}),
    Row("free system with sensitive scopes", f"system/*.rs {SENSITIVE}", PEOPLE, {"iss": ADMIN}, hiv=True),
    Row(
        "station in a ward",
        "user/*.rs",
        ("an", "chi", "dung", "binh"),
        {"organization": "h2", **IN_WARD},
        organisation="h2",
    ),
)
NAMES = [row.name for row in ROWS]


@pytest.fixture(scope="module", autouse=True)
async def world(admin: Caller) -> None:
    await settle(admin)
    for id in ("an", "binh"):
        assert (await admin.put(_drug(id))).status_code == 201


def _drug(id: str) -> dict[str, Any]:
    medication = {"resourceType": "Medication", "id": "m", "code": {"coding": [{"system": "urn:drug", "code": "x"}]}}
    return {
        "resourceType": "MedicationRequest",
        "id": f"{id}-drug",
        "status": "active",
        "intent": "order",
        "contained": [medication],
        "medicationReference": {"reference": "#m"},
        "subject": {"reference": f"Patient/{id}"},
    }


# Of each kind of view one is asked on every path; the others on the plain ones.
KINDS = (
    "citizen with sensitive scopes",
    "mother",
    "stranger in another's record",
    "hospital two",
    "doctor of one patient",
    "ward",
    "province",
    "free system",
    "station in a ward",
)
EACH_KIND = [row for row in ROWS if row.name in KINDS]
each_kind = pytest.mark.parametrize("row", EACH_KIND, ids=[row.name for row in EACH_KIND], indirect=True)


@pytest.fixture(params=ROWS, ids=NAMES)
def row(request: pytest.FixtureRequest) -> Row:
    found: Row = request.param
    return found


@pytest.fixture
def caller(ask: Ask, row: Row) -> Caller:
    return ask(row.scope, **row.claims)


def live() -> set[str]:
    return names_of(PEOPLE, hiv=True)


async def test_reads_tell_what_is_seen_and_nothing_of_the_rest(caller: Caller, row: Row) -> None:
    for name in sorted(live() - names_of(("dung", "vo"), hiv=True)):
        type, id = name.split("/")
        unknown = f"{type}/nobody-{id}"
        for tail in ("", "/_history/1", "/_history") if type == "Condition" else ("",):
            answer = await caller.get(name + tail)
            if name in row.sees():
                assert answer.status_code == 200, (name, tail, answer.text)
                continue
            other = await caller.get(unknown + tail)
            assert answer.status_code == other.status_code in (403, 404), (name, tail, answer.text)
            assert answer.text.replace(name, "") == other.text.replace(unknown, "")
            assert "etag" not in answer.headers


@each_kind
async def test_what_was_deleted_is_gone_for_those_who_saw_it_and_unknown_to_others(caller: Caller, row: Row) -> None:
    for id in PEOPLE:
        is_seen = f"Observation/{id}-lab" in row.sees()
        answer = await caller.get(f"Observation/{id}-gone")
        assert answer.status_code == (410 if is_seen else 404) or (not row.sees() and answer.status_code == 403)


async def _searched(caller: Caller, path: str) -> set[str]:
    answer = await caller.get(path)
    return set() if answer.status_code == 403 else await caller.ids(path)


def _of(names: set[str], *types: str) -> set[str]:
    return {name for name in names if name.split("/")[0] in types}


async def test_searches_find_what_is_seen_and_count_no_more(caller: Caller, row: Row) -> None:
    for type in TYPES:
        expected = _of(row.sees(), type)
        assert await _searched(caller, type) == expected
        assert await _searched(caller, f"{type}?_count=1&_sort=_id") == expected
        assert await _searched(caller, f"{type}?_sort=-_lastUpdated&_count=2") == expected
        counted = await caller.get(f"{type}?_summary=count")
        if counted.status_code == 200:
            assert counted.json()["total"] == len(expected)
            totalled = (await caller.get(f"{type}?_total=accurate&_count=1")).json()
            assert totalled["total"] == len(expected)
    everywhere = f"?_type={','.join(TYPES)}&_count=7"
    assert _of(await _searched(caller, everywhere), *TYPES) == row.sees()


@each_kind
async def test_searches_by_what_is_hidden_find_nothing(caller: Caller, row: Row) -> None:
    """Each way in which a search asks about another resource: that resource counts only where it is seen itself."""
    seen = row.sees()
    for id in ("an", "binh"):
        patient = f"Patient/{id}"
        is_seen = patient in seen
        labs = {f"Observation/{id}-lab"} & seen
        encounters = {f"Encounter/{id}-encounter"} & seen
        assert await _searched(caller, f"Observation?patient={id}") == labs
        assert await _searched(caller, f"Observation?subject:Patient.name={id}") == (labs if is_seen else set())
        assert await _searched(caller, f"Encounter?patient.name={id}") == (encounters if is_seen else set())
        assert await _searched(caller, f"Patient?name={id}") == ({patient} & seen)
        assert await _searched(caller, f"Patient?_id={id}") == ({patient} & seen)
        assert await _searched(caller, f"Patient?_content={id}") == ({patient} & seen)
        restricted = {patient} if is_seen and row.hiv else set()
        has = f"Patient?_id={id}&_has:Condition:patient:code=http://hl7.org/fhir/sid/icd-10|B20"
        assert await _searched(caller, has) == restricted
        reverse = f"Encounter?_has:Observation:encounter:patient={id}"
        assert await _searched(caller, reverse) == (encounters if labs else set())
        assert await _searched(caller, f"Observation?encounter.service-provider=h2&patient={id}") == (
            labs if encounters else set()
        )
        for chained in (f"patient._id={id}", f"patient.organization=h{1 + (id == 'binh')}"):
            assert await _searched(caller, f"Observation?patient={id}&{chained}") == (labs if is_seen else set())
        nested = f"Patient?_id={id}&_has:Encounter:patient:_has:Observation:encounter:code=2339-0"
        assert await _searched(caller, nested) == ({patient} if is_seen and labs and encounters else set())
        of_reverse = f"Observation?patient={id}&patient:Patient._has:Condition:patient:code={ICD}|B20"
        assert await _searched(caller, of_reverse) == (labs if restricted else set())
        for filter in (f"patient eq {id}", f'patient.name co "{id}"'):
            wanted = labs if is_seen or "." not in filter else set()
            assert await _searched(caller, f"Observation?_filter={filter}") == wanted
        assert await _searched(caller, f"Patient?_filter=name co {id}") == ({patient} & seen)
        assert await _searched(caller, f"Patient?_text={id}") == set()
        assert await _searched(caller, f"Patient/{id}/Observation") == labs
        assert _of(await _searched(caller, f"Patient/{id}/*"), *TYPES) == {
            name for name in seen if name in names_of((id,), hiv=True)
        }
        if patient in seen:
            assert _of(await _searched(caller, f"Patient/{id}/$everything"), *TYPES) == {
                name for name in seen if name in names_of((id,), hiv=True)
            }
        assert await _searched(caller, f"Encounter/{id}-encounter/Observation") == labs
    hidden = await _searched(caller, "Condition?code=http://hl7.org/fhir/sid/icd-10|B20")
    assert hidden == {name for name in _of(seen, "Condition") if name.endswith("hiv")}
    listed = await _searched(caller, "Observation?_list=all-of-an")
    assert listed == (_of(seen, "Observation") if "Patient/an" in seen else set())
    drugs = {f"MedicationRequest/{id}-drug" for id in ("an", "binh") if id in row.people}
    for contained in ("true", "both"):
        assert await _searched(caller, f"Medication?_contained={contained}&code=urn:drug|x") == drugs
    counted = await caller.get("Medication?_contained=true&code=urn:drug|x&_containedType=contained&_total=accurate")
    assert counted.status_code == 403 or counted.json()["total"] == len(drugs)
    assert await _searched(caller, "Patient?gender:not=female") == _of(seen, "Patient")
    assert await _searched(caller, "Condition?code:not=http://loinc.org|1") == _of(seen, "Condition")
    assert await _searched(caller, "Patient?birthdate:missing=false") == _of(seen, "Patient")


@each_kind
async def test_included_resources_are_those_that_are_seen(caller: Caller, row: Row) -> None:
    seen = row.sees()
    encounters = _of(seen, "Encounter")
    found = await _searched(caller, "Encounter?_include=Encounter:patient&_include=Encounter:service-provider")
    patients = {f"Patient/{name.split('/')[1].removesuffix('-encounter')}" for name in encounters} & seen
    assert found - {"Organization/h2"} == encounters | patients
    reverse = "&".join(f"_revinclude={type}:patient" for type in ("Condition", "Observation", "Encounter"))
    found = await _searched(caller, f"Patient?{reverse}")
    wanted = {name for id in PEOPLE if f"Patient/{id}" in seen for name in seen & names_of((id,), hiv=True)}
    assert found == wanted
    found = await _searched(caller, "Observation?_include:iterate=*&_revinclude:iterate=*")
    assert _of(found, *TYPES) <= seen


@each_kind
async def test_history_of_types_and_of_all_tells_what_is_seen(caller: Caller, row: Row) -> None:
    for path in ("Condition/_history?_count=200", "_history?_count=500", "Observation/_history?_count=3"):
        answer = await caller.get(path)
        if answer.status_code == 403:
            assert not row.sees()
            continue
        names = {entry["fullUrl"].partition("/fhir/")[2] for entry in answer.json().get("entry", ())}
        gone = {f"Observation/{id}-gone" for id in PEOPLE if f"Observation/{id}-lab" in row.sees()}
        assert _of(names, *TYPES) <= row.sees() | gone
        if not path.startswith("Observation"):
            assert _of(row.sees() | gone, path.split("/")[0]) <= names


@each_kind
async def test_batches_and_transactions_read_no_more_than_single_requests(caller: Caller, row: Row) -> None:
    names = sorted(live())
    entries = [an_entry("GET", name) for name in names]
    entries += [an_entry("GET", f"{type}?_summary=count") for type in TYPES]
    answer = await caller.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert answer.status_code == 200
    told = answer.json()["entry"]
    for name, entry in zip(names, told, strict=False):
        assert entry["response"]["status"].startswith("200") == (name in row.sees())
    for type, entry in zip(TYPES, told[len(names) :], strict=True):
        if entry["response"]["status"].startswith("200"):
            assert entry["resource"]["total"] == len(_of(row.sees(), type))
    entries = [an_entry("GET", f"{type}?_count=50") for type in TYPES]
    answer = await caller.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    if answer.status_code == 200:
        found = {
            f"{one['resource']['resourceType']}/{one['resource']['id']}"
            for entry in answer.json()["entry"]
            for one in entry["resource"].get("entry", ())
        }
        assert found == row.sees()
    else:
        assert answer.status_code == 403


@each_kind
async def test_operations_at_an_instance_see_no_more(caller: Caller, row: Row) -> None:
    for name in ("Patient/an", "Condition/an-hiv", "Condition/binh-plain", "Encounter/chi-encounter"):
        answer = await caller.get(f"{name}/$validate")
        assert (answer.status_code == 200) == (name in row.sees()), answer.text


@each_kind
async def test_operations_of_the_installation_need_their_own_scope(caller: Caller, admin: Caller) -> None:
    assert (await caller.get("$reindex")).status_code == 403
    assert (await admin.get("$reindex")).status_code == 200


async def test_an_answer_that_comes_later_belongs_to_its_caller(ask: Ask, admin: Caller) -> None:
    mother = ask("user/*.rs", fhirUser="Patient/an")
    accepted = await mother.get("Patient", prefer="respond-async")
    assert accepted.status_code == 202
    place = accepted.headers["content-location"].partition("/fhir/")[2]
    narrower = ask("user/Patient.rs", fhirUser="Patient/an")
    for other in (admin, narrower, ask("user/*.rs", fhirUser="Patient/binh")):
        assert (await other.get(place)).status_code == 404
    while (answer := await mother.get(place)).status_code == 202:
        pass
    entries = answer.json()["entry"][0]["resource"]["entry"]
    assert {entry["resource"]["id"] for entry in entries} == {"an", "chi", "dung"}


async def test_a_page_link_is_good_for_its_caller_alone(ask: Ask, admin: Caller) -> None:
    first = (await admin.get("Patient?_count=1&_total=accurate")).json()
    path = next(link["url"] for link in first["link"] if link["relation"] == "next").partition("/fhir/")[2]
    assert (await admin.get(path)).status_code == 200
    answer = await ask("patient/*.rs", patient="an").get(path)
    assert answer.status_code == 400
    assert "5" not in answer.json()["issue"][0]["diagnostics"]


async def test_types_that_are_neither_of_patients_nor_of_the_directory_are_for_those_who_see_everything(
    ask: Ask, admin: Caller
) -> None:
    assert await admin.ids("Task") == {"Task/a-task"}
    for scope, claims in (("patient/*.rs", {"patient": "an"}), ("user/*.rs", {"administrative_unit": "ward:14797"})):
        answer = await ask(scope, **claims).get("Task")
        assert answer.status_code == 403
    assert await ask("system/*.rs", organization="h1").ids("Task") == set()
    assert await ask("patient/*.rs", patient="an").ids("Practitioner") == {"Practitioner/bac-si"}


async def test_scopes_with_search_parameters_narrow_further(ask: Ask, admin: Caller) -> None:
    laboratory = ask("patient/Observation.rs?category=urn:category|laboratory", patient="an")
    assert await laboratory.ids("Observation") == {"Observation/an-lab"}
    assert (await laboratory.get("Observation/an-lab/_history/1")).status_code == 200
    vital = ask("patient/Observation.rs?category=urn:category|vital-signs", patient="an")
    assert await vital.ids("Observation") == set()
    both = ask(
        f"patient/Condition.rs?code={ICD}|I10 patient/Condition.rs?code={ICD}|B20 sens/HIV",
        patient="an",
    )
    assert await both.ids("Condition") == {"Condition/an-plain", "Condition/an-hiv"}
    for wrong in ("category:not=a", "no-such=1", "patient.name=an", "date=ge2020", "_has:Provenance:target:_id=1"):
        answer = await ask(f"patient/Observation.rs?{wrong}", patient="an").get("Observation")
        assert answer.status_code == 403, wrong


async def test_scopes_of_the_first_version_mean_what_they_did(ask: Ask) -> None:
    reader = ask("patient/Condition.read", patient="an")
    assert await reader.ids("Condition") == {"Condition/an-plain"}
    assert (await reader.get("Observation")).status_code == 403
    writer = ask("patient/Condition.write", patient="an")
    assert (await writer.get("Condition")).status_code == 403


async def test_reading_and_searching_are_rights_of_their_own(ask: Ask) -> None:
    reader, searcher = ask("patient/*.r", patient="an"), ask("patient/*.s", patient="an")
    assert (await reader.get("Condition/an-plain")).status_code == 200
    assert (await reader.get("Condition")).status_code == 403
    assert (await reader.get("Condition/_history")).status_code == 403
    assert (await reader.get("_history")).status_code == 403
    assert (await searcher.get("Condition/an-plain")).status_code == 403
    assert await searcher.ids("Condition") == {"Condition/an-plain"}


async def test_a_birth_date_that_was_corrected_counts_within_minutes(running: Context, admin: Caller) -> None:
    at, grown = [running.clock()], dict[str, int]()

    async def alone() -> tuple[str, ...]:
        return await People(running.with_(clock=lambda: at[0]), grown).represented(Asker(patient="dung"))

    assert await alone() == ("dung",)
    assert (await admin.put({**patient("dung"), "birthDate": years_ago(3)})).is_success
    at[0] += GROWN_MS
    assert await alone() == ()
    assert (await admin.put(patient("dung"))).is_success
    assert await alone() == ("dung",)
