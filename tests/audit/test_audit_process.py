"""What a server has answered is on record when it stops; of one that is killed, tests/api/test_kill_during_writes."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from pymongo import MongoClient

from tests.running_server import PATIENCE, RunningServer, environment, run_here

NUMBER, NAME, TOKEN = "079200000123", "Nguyễn Thị Bí Mật", "eyJhbGciOiJub25lIn0"


def asked(base: str, method: str, path: str, body: Any = None, told: list[str] | None = None, **headers: str) -> int:
    """The status. told: takes up what an error says."""
    content = json.dumps(body).encode() if body is not None else None
    named = {
        "content-type": "application/fhir+json",
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    request = urllib.request.Request(f"{base}/{path}", content, named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as fault:
        if told is not None:
            told.append(fault.read().decode())
        return int(fault.code)


def events_in(database: Any) -> list[dict[str, Any]]:
    pages = database["audit_pages"].find()
    packed = (msgspec.msgpack.decode(zlib.decompress(page["raws"]), type=list[tuple[int, bytes]]) for page in pages)
    return [msgspec.json.decode(raw) for events in packed for _, raw in events]


def test_a_stopped_server_has_written_all_and_nothing_tells_of_anybody(
    mongodb_uri: str,
    database_name: str,
    mongodb: MongoClient[Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = {"FHIR_MONGODB_URI": mongodb_uri, "FHIR_MONGODB_DATABASE": database_name, "FHIR_LOG_LEVEL": "debug"}
    env = environment(tmp_path, **own, FHIR_PUBLISH_TERMINOLOGY="no")
    server = RunningServer(env).wait_until_ready()
    patient = {"resourceType": "Patient", "name": [{"text": NAME}], "identifier": [{"value": NUMBER}]}
    assert asked(server.base, "POST", "Patient", patient) == 201
    name, secret = quote(NAME), {"authorization": f"Bearer {TOKEN}"}
    errors: list[str] = []
    for method, path, body in (
        ("GET", f"Patient?identifier={NUMBER}&name={name}", None),
        ("GET", f"Patient/{NUMBER}", None),
        ("GET", f"Patient/{name}", None),
        ("GET", f"{name}/{NUMBER}", None),
        ("GET", f"Patient?birthdate={name}&_sort={NUMBER}", None),
        ("GET", f"Patient?birthdate={NUMBER}&name:{name}=1", None),
        ("GET", f"Patient?_count={name}", None),
        ("GET", f"Patient?_include={name}", None),
        ("GET", f"Observation?value-quantity={name}", None),
        ("GET", f"ValueSet/$expand?url={name}", None),
        ("GET", f"Patient/1/_history/{NUMBER}", None),
        ("GET", f"Patient/1/$everything?x={name}", None),
        ("POST", "Patient", {**patient, "gender": NAME, "birthDate": NUMBER}),
        ("POST", "Patient", {**patient, "active": NAME, NAME: NUMBER, "extension": [{"url": NAME}]}),
        ("POST", "Patient", {**patient, "resourceType": NAME}),
        ("PUT", f"Patient/{NUMBER}", {**patient, "id": NAME}),
        ("PATCH", f"Patient/{NUMBER}", [{"op": "replace", "path": f"/{NAME}", "value": NUMBER}]),
        ("DELETE", f"Patient?identifier={NUMBER}", None),
        ("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": [{"resource": patient, "fullUrl": NAME}]}),
        ("POST", "Patient/$validate", {"resourceType": "Parameters", "parameter": [{"name": NAME}]}),
    ):
        asked(server.base, method, path, body, errors, **secret)
    assert len(errors) >= 15
    assert server.stop(signal.SIGTERM) == 0
    for told in (NUMBER, NAME, name, TOKEN, "Nguyễn"):
        assert told not in server.errors
        assert told not in "\n".join(server.said)
        assert told not in "\n".join(errors)
    assert '"path":"/fhir/Patient/[id]"' in server.errors
    database = mongodb[database_name]
    kinds = [event["subtype"][0]["code"] for event in events_in(database)]
    assert len(kinds) >= 14
    assert NUMBER not in str(events_in(database))
    assert run_here("audit", "verify", env=env, capture=capsys).returncode == 0
