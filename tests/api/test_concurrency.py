"""32 clients against four server processes: no race loses, doubles or halves a write, and none ends in a 500."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from running_server import RunningServer, environment, running_server

from fhir_server.config import Settings
from fhir_server.store.mongo import MongoStore
from tests.api.conftest import serving
from tests.builders import CCCD, a_bundle, a_condition, a_patient, an_entry, with_cccd
from tests.contract.conftest import FailPoints
from tests.contract.conftest import failpoints as failpoints
from tests.contract.drafts import a_draft, put
from tests.many_clients import Answer, Caller, at_once, callers, until_all_answer

CLIENTS, WORKERS = 32, 4
ROUNDS = 200  # of the conditional create


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, mongodb_uri: str, mongodb: MongoClient[dict[str, Any]]
) -> Iterator[RunningServer]:
    name = f"test_{uuid4().hex}"
    env = environment(tmp_path_factory.mktemp("concurrency"), FHIR_MONGODB_URI=mongodb_uri, FHIR_MONGODB_DATABASE=name)
    with running_server(env, "--no-sample", "--workers", str(WORKERS)) as started:
        asyncio.run(until_all_answer(started.base, WORKERS))
        yield started
    mongodb.drop_database(name)


@pytest.fixture
async def clients(server: RunningServer) -> AsyncIterator[list[Caller]]:
    """32 of them, each connected, so that all begin together."""
    async with callers(server.base, CLIENTS) as made:
        await at_once(made, lambda number, one: one.ask("GET", "metadata?mode=terminology"))
        yield made


def statuses(answers: list[Answer]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


async def versions(client: Caller, path: str) -> list[dict[str, Any]]:
    """Every version in history, oldest first."""
    bundle = (await client.ask("GET", f"{path}/_history?_count=1000")).json
    return [entry["resource"] for entry in reversed(bundle["entry"])]


async def test_the_processes_of_the_server_share_the_clients(server: RunningServer) -> None:
    async with callers(server.base.removesuffix("/fhir"), CLIENTS) as others:
        answers = await at_once(others, lambda _, one: one.ask("GET", "health"))
    shares = Counter(answer.json["process"] for answer in answers)
    assert len(shares) == WORKERS
    assert min(shares.values()) >= CLIENTS // WORKERS // 2


async def test_a_conditional_create_by_all_makes_one_resource_every_time(clients: list[Caller]) -> None:
    for round in range(ROUNDS):
        number = f"{round:012d}"
        condition = f"identifier={CCCD}|{number}"

        async def create(place: int, one: Caller, number: str = number, condition: str = condition) -> Answer:
            return await one.ask("POST", "Patient", with_cccd(number, name=f"An {place}"), if_none_exist=condition)

        answers = await at_once(clients, create)
        assert statuses(answers) == {201: 1, 200: CLIENTS - 1}, [one.body for one in answers if one.status > 201]
        assert len({answer.id for answer in answers}) == 1
        assert len({answer.body for answer in answers}) == 1
    found = (await clients[0].ask("GET", "Patient?_count=1000&_elements=identifier")).json
    assert Counter(entry["resource"]["identifier"][0]["value"] for entry in found["entry"]) == {
        f"{round:012d}": 1 for round in range(ROUNDS)
    }


async def test_a_conditional_update_by_all_makes_one_resource_with_every_version(clients: list[Caller]) -> None:
    condition = f"Patient?identifier={CCCD}|900000000001"
    answers = await at_once(
        clients, lambda place, one: one.ask("PUT", condition, with_cccd("900000000001", name=f"An {place}"))
    )
    assert statuses(answers) == {201: 1, 200: CLIENTS - 1}
    (id,) = {answer.id for answer in answers}
    told = await versions(clients[0], f"Patient/{id}")
    assert [one["meta"]["versionId"] for one in told] == [str(number) for number in range(1, CLIENTS + 1)]


async def test_of_updates_with_one_if_match_one_wins(clients: list[Caller]) -> None:
    await clients[0].ask("PUT", "Patient/guarded", a_patient(id="guarded"))
    for version in range(1, 6):
        answers = await at_once(
            clients,
            lambda place, one, version=version: one.ask(  # type: ignore[misc]
                "PUT", "Patient/guarded", a_patient(f"{version} {place}", id="guarded"), if_match=f'W/"{version}"'
            ),
        )
        assert statuses(answers) == {200: 1, 412: CLIENTS - 1}
    assert len(await versions(clients[0], "Patient/guarded")) == 6


async def test_every_update_without_if_match_that_is_accepted_is_in_history_once(clients: list[Caller]) -> None:
    async def update(place: int, one: Caller) -> list[Answer]:
        return [await one.ask("PUT", "Patient/busy", a_patient(f"An {place} {turn}", id="busy")) for turn in range(4)]

    answers = [answer for told in await at_once(clients, update) for answer in told]
    assert set(statuses(answers)) <= {200, 201, 409}
    accepted = {answer.json["meta"]["versionId"]: answer.json for answer in answers if answer.status < 300}
    assert len(accepted) == sum(answer.status < 300 for answer in answers)
    told = await versions(clients[0], "Patient/busy")
    assert {one["meta"]["versionId"]: one for one in told} == accepted
    assert [one["meta"]["versionId"] for one in told] == [str(number) for number in range(1, len(told) + 1)]
    times = [one["meta"]["lastUpdated"] for one in told]
    assert times == sorted(set(times))


async def test_patches_by_all_are_all_applied(clients: list[Caller]) -> None:
    await clients[0].ask("PUT", "Patient/patched", a_patient(id="patched"))

    async def patch(place: int, one: Caller) -> Answer:
        add = [{"op": "add", "path": "/name/-", "value": {"text": f"An {place}"}}]
        return await one.ask("PATCH", "Patient/patched", add)

    answers = await at_once(clients, patch)
    applied = {place for place, answer in enumerate(answers) if answer.status == 200}
    assert set(statuses(answers)) <= {200, 409, 412}
    names = {name["text"] for name in (await clients[0].ask("GET", "Patient/patched")).json["name"][1:]}
    assert names == {f"An {place}" for place in applied}


async def test_creates_for_one_patient_by_all_are_all_there(clients: list[Caller]) -> None:
    await clients[0].ask("PUT", "Patient/popular", a_patient(id="popular"))

    async def create(place: int, one: Caller) -> list[Answer]:
        return [await one.ask("POST", "Condition", a_condition("Patient/popular")) for _ in range(4)]

    answers = [answer for told in await at_once(clients, create) for answer in told]
    assert statuses(answers) == {201: 4 * CLIENTS}
    found = (await clients[0].ask("GET", "Condition?patient=popular&_summary=count")).json
    assert found["total"] == 4 * CLIENTS


def shared(place: int, turn: int, people: list[str]) -> dict[str, Any]:
    """A transaction that changes several patients and adds a Condition to each; its mark is in all that it writes."""
    mark = f"{place}-{turn}"
    entries = [an_entry("PUT", f"Patient/{id}", a_patient(mark, id=id)) for id in people]
    for id in people:
        condition = a_condition(f"Patient/{id}", identifier=[{"system": "urn:mark", "value": mark}])
        entries.append(an_entry("POST", "Condition", condition))
    return a_bundle("transaction", *entries)


async def test_transactions_that_share_patients_commit_whole_or_are_refused_whole(clients: list[Caller]) -> None:
    people = [f"shared{number}" for number in range(4)]
    chance = random.Random(1)
    orders = [[chance.sample(people, len(people)) for _ in range(3)] for _ in clients]

    async def post(place: int, one: Caller) -> list[Answer]:
        return [await one.ask("POST", "", shared(place, turn, orders[place][turn])) for turn in range(3)]

    told = await at_once(clients, post)
    assert {answer.status for answers in told for answer in answers} <= {200, 409}
    committed = {
        f"{place}-{turn}" for place, answers in enumerate(told) for turn, one in enumerate(answers) if one.status == 200
    }
    assert committed
    bundle = (await clients[0].ask("GET", "Condition?identifier=urn:mark|&_count=1000")).json
    marks = Counter(entry["resource"]["identifier"][0]["value"] for entry in bundle["entry"])
    assert marks == dict.fromkeys(committed, len(people))
    for id in people:
        seen = Counter(one["name"][0]["text"] for one in await versions(clients[0], f"Patient/{id}"))
        assert seen == dict.fromkeys(committed, 1)


async def test_a_batch_of_one_resource_by_all_keeps_every_version(clients: list[Caller]) -> None:
    async def post(place: int, one: Caller) -> Answer:
        return await one.ask(
            "POST",
            "",
            a_bundle("batch", *[an_entry("PUT", "Patient/b", a_patient(f"{place} {n}", id="b")) for n in range(3)]),
        )

    told = [
        entry["response"]["status"][:3] for answer in await at_once(clients, post) for entry in answer.json["entry"]
    ]
    assert set(told) <= {"200", "201", "409"}
    assert len(await versions(clients[0], "Patient/b")) == len(told) - told.count("409")


@pytest.mark.parametrize("key", ["if-none-exist", "idempotency-key"])
async def test_clients_that_hang_up_and_send_again_double_nothing(clients: list[Caller], key: str) -> None:
    """Each sends, leaves before the answer, and sends again twice; some of the first are still being carried out."""
    numbers = [f"8{key[1] == 'f':d}{number:010d}" for number in range(CLIENTS)]

    async def insist(place: int, one: Caller) -> list[Answer]:
        number = numbers[place]
        headers = {key: f"identifier={CCCD}|{number}" if key == "if-none-exist" else f"key-{number}"}
        body = with_cccd(number)
        await one.send("POST", "Patient", body, **headers)
        one.hang_up()
        return [await one.ask("POST", "Patient", body, **headers) for _ in range(2)]

    for place, answers in enumerate(await at_once(clients, insist)):
        assert {answer.status for answer in answers} <= {200, 201}
        (id,) = {answer.id for answer in answers}
        found = (await clients[0].ask("GET", f"Patient?identifier={CCCD}|{numbers[place]}")).json
        assert [entry["resource"]["id"] for entry in found["entry"]] == [id]


FAULTS: dict[str, dict[str, Any]] = {
    "transient": {
        "failCommands": ["insert", "find", "commitTransaction"],
        "errorCode": 251,
        "errorLabels": ["TransientTransactionError"],
    },
    "unknown outcome": {
        "failCommands": ["commitTransaction"],
        "writeConcernError": {"code": 64, "errmsg": "lost", "errorLabels": ["UnknownTransactionCommitResult"]},
    },
    "connection lost": {"failCommands": ["commitTransaction"], "closeConnection": True},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_commits_that_fail_in_passing_have_one_outcome(
    clients: list[Caller], failpoints: FailPoints, fault: dict[str, Any]
) -> None:
    mark = uuid4().hex
    with failpoints("failCommand", times=40, appName="fhir-server", **fault):
        answers = await at_once(
            clients, lambda place, one: one.ask("POST", "Patient", with_cccd("1", name=f"{mark} {place}"))
        )
    assert statuses(answers) == {201: CLIENTS}
    assert len({answer.id for answer in answers}) == CLIENTS
    found = (await clients[0].ask("GET", f"Patient?name={mark}&_count=100")).json
    assert {entry["resource"]["id"] for entry in found["entry"]} == {answer.id for answer in answers}
    assert len(found["entry"]) == CLIENTS


async def test_conflicts_that_do_not_end_are_409_with_nothing_written(
    store: MongoStore, settings: Settings, failpoints: FailPoints
) -> None:
    await put(store, a_draft("Patient"))  # its collection takes time to make, and may take more than there will be
    bundle = a_bundle("transaction", *[an_entry("POST", "Patient", a_patient(f"An {n}")) for n in range(3)])
    conflict = {"errorCode": 112, "errorLabels": ["TransientTransactionError"], "appName": "fhir-server"}
    async with serving(settings.model_copy(update={"transaction_seconds": 1.0})) as client:
        with failpoints("failCommand", failCommands=["insert"], **conflict):
            answers = await asyncio.gather(*[client.send("POST", "", bundle) for _ in range(8)])
        assert {answer.status_code for answer in answers} == {409}
        assert {answer.json()["issue"][0]["code"] for answer in answers} == {"conflict"}
        assert (await client.get("Patient?_summary=count")).json()["total"] == 1
        assert (await client.send("POST", "", bundle)).status_code == 200
