"""read, vread, history, metadata, and every path that is none. R4 RESTful API, read, vread and history."""

from __future__ import annotations

import pytest

from fhir_server.config import Settings
from tests.api.conftest import Client, serving
from tests.builders import a_patient


async def test_read_of_an_unknown_id_is_404(client: Client) -> None:
    answer = await client.get("Patient/nobody")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (404, "not-found")


async def test_a_caller_who_has_the_version_gets_304(client: Client) -> None:
    made = await client.send("PUT", "Patient/an", a_patient(id="an"))
    assert (await client.get("Patient/an", if_none_match=made.headers["etag"])).status_code == 304
    assert (await client.get("Patient/an", if_none_match='W/"9"')).status_code == 200
    assert (await client.get("Patient/an", if_modified_since=made.headers["last-modified"])).status_code == 304
    early = await client.get("Patient/an", if_modified_since="Thu, 01 Jan 2015 00:00:00 GMT")
    assert early.status_code == 200


async def test_head_answers_as_get_without_the_body(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    got, head = await client.get("Patient/an"), await client.send("HEAD", "Patient/an")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(got.content))


async def test_vread_of_a_deletion_is_410_and_of_a_version_never_made_404(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    await client.send("DELETE", "Patient/an")
    assert (await client.get("Patient/an/_history/1")).status_code == 200
    assert (await client.get("Patient/an/_history/2")).status_code == 410
    for version in ("3", "0", "x", "99999999999999999999"):
        assert (await client.get(f"Patient/an/_history/{version}")).status_code == 404


async def test_history_shows_every_version_newest_first_with_request_and_response(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    await client.send("PUT", "Patient/an", a_patient("B", id="an"))
    await client.send("DELETE", "Patient/an")
    bundle = (await client.get("Patient/an/_history")).json()
    assert (bundle["type"], bundle["total"]) == ("history", 3)
    assert [entry["request"]["method"] for entry in bundle["entry"]] == ["DELETE", "PUT", "PUT"]
    assert [entry["response"]["etag"] for entry in bundle["entry"]] == ['W/"3"', 'W/"2"', 'W/"1"']
    assert [entry["response"]["status"] for entry in bundle["entry"]] == ["204", "200", "201"]
    assert "resource" not in bundle["entry"][0]
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    again = (await client.get("Patient/an/_history?_count=1&_colour=red")).json()
    assert again["entry"][0]["response"]["status"] == "201"
    assert again["link"][0]["url"].endswith("_history?_count=1")


async def test_history_pages_neither_skip_nor_repeat(client: Client) -> None:
    for turn in range(7):
        await client.send("PUT", "Patient/an", a_patient(f"An {turn}", id="an"))
    seen: list[str] = []
    path = "Patient/an/_history?_count=3"
    while path:
        bundle = (await client.get(path)).json()
        seen += [entry["resource"]["meta"]["versionId"] for entry in bundle.get("entry", [])]
        following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        path = following[0].removeprefix("http://test/fhir/") if following else ""
    assert seen == ["7", "6", "5", "4", "3", "2", "1"]


async def test_history_of_an_unknown_id_is_404_and_of_a_bad_since_400(client: Client) -> None:
    assert (await client.get("Patient/nobody/_history")).status_code == 404
    answer = await client.get("Patient/nobody/_history?_since=yesterday")
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (400, ["_since"])


async def test_history_links_are_sealed_and_belong_to_their_path(client: Client) -> None:
    for turn in range(3):
        await client.send("PUT", "Patient/an", a_patient(f"An {turn}", id="an"))
    bundle = (await client.get("Patient/an/_history?_count=2&_since=2020-01-01&unknown=x")).json()
    (following,) = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
    assert "_since" not in following
    page = (await client.get(following.removeprefix("http://test/fhir/"))).json()
    assert ([entry["response"]["etag"] for entry in page["entry"]], page["total"]) == (['W/"1"'], 3)
    sealed = following.partition("_page=")[2]
    for wrong in (f"Patient/_history?_page={sealed}", "Patient/an/_history?_page=abc", "_history?_page=1.2.3"):
        assert (await client.get(wrong)).status_code == 400


async def test_history_of_a_type_and_of_all_holds_every_change_between_two_times(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    await client.send("PUT", "Patient/an", a_patient("B", id="an"))
    await client.send("PUT", "Organization/o", {"resourceType": "Organization", "id": "o", "name": "Trạm y tế"})
    of_type = (await client.get("Patient/_history")).json()
    assert [entry["request"]["url"] for entry in of_type["entry"]] == ["Patient/an"] * 2
    of_all = (await client.get("_history")).json()
    assert (len(of_all["entry"]), of_all["total"]) == (3, 3)
    second = of_type["entry"][0]["response"]["lastModified"]
    since = (await client.get(f"_history?_since={second}")).json()
    assert [entry["fullUrl"].split("/")[-1] for entry in since["entry"]] == ["o", "an"]
    at = (await client.get(f"Patient/_history?_at={of_type['entry'][1]['response']['lastModified']}")).json()
    assert [entry["response"]["etag"] for entry in at["entry"]] == ['W/"1"']


async def test_history_under_strict_handling_refuses_what_it_does_not_know(client: Client) -> None:
    answer = await client.get("_history?_sort=x", prefer="handling=strict")
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (400, ["_sort"])


async def test_a_read_can_be_cut_by_summary_and_elements_and_is_marked(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an", active=True))
    for path in ("Patient/an", "Patient/an/_history/1"):
        cut = (await client.get(f"{path}?_elements=gender")).json()
        assert (cut["gender"], "name" in cut, cut["meta"]["tag"][0]["code"]) == ("male", False, "SUBSETTED")
        assert (await client.get(f"{path}?_summary=false")).json()["name"]
        assert "gender" not in (await client.get(f"{path}?_summary=text")).json()
        for wrong in ("_summary=some", "_summary=count"):
            assert (await client.get(f"{path}?{wrong}")).status_code == 400


async def test_metadata_tells_where_it_is_and_what_it_does(client: Client) -> None:
    told = (await client.get("metadata")).json()
    assert (told["resourceType"], told["fhirVersion"]) == ("CapabilityStatement", "4.0.1")
    assert told["implementation"]["url"] == "http://test/fhir"
    assert "+07:00" in told["implementation"]["description"]


async def test_metadata_has_a_normative_mode_and_a_terminology_mode(client: Client) -> None:
    full, normative = [(await client.get(f"metadata?mode={mode}")).json() for mode in ("full", "normative")]
    assert "updateCreate" in full["rest"][0]["resource"][0]
    assert "updateCreate" not in normative["rest"][0]["resource"][0]
    assert normative["rest"][0]["resource"][0]["interaction"] == full["rest"][0]["resource"][0]["interaction"]
    terminology = (await client.get("metadata?mode=terminology")).json()
    assert (terminology["resourceType"], terminology["kind"]) == ("TerminologyCapabilities", "instance")
    assert "http://hl7.org/fhir/administrative-gender" in {system["uri"] for system in terminology["codeSystem"]}
    for body in (full, terminology):  # what the server says of itself is valid R4
        assert (await client.send("POST", body["resourceType"], body)).status_code == 201
    assert (await client.get("metadata?mode=x")).status_code == 400


async def test_head_answers_wherever_get_does(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    for path in (
        "Patient/an",
        "Patient/an/_history/1",
        "Patient/an/_history",
        "Patient?_id=an",
        "_history",
        "metadata",
    ):
        got, head = await client.get(path), await client.send("HEAD", path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head.headers["content-type"] == got.headers["content-type"]


async def test_a_web_page_of_a_named_origin_may_call_and_no_other(client: Client, settings: Settings) -> None:
    origin = "https://so-suc-khoe.example"
    ask = {"origin": origin, "access-control-request-method": "PUT", "access-control-request-headers": "if-match"}
    closed = await client.send("GET", "metadata", origin=origin)
    assert "access-control-allow-origin" not in closed.headers
    async with serving(settings.model_copy(update={"cors_origins": f"{origin}, https://b.example"})) as opened:
        allowed = await opened.http.options("/fhir/Patient/an", headers=ask)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, origin)
        assert "PUT" in allowed.headers["access-control-allow-methods"]
        told = await opened.get("metadata", origin=origin)
        assert "ETag" in told.headers["access-control-expose-headers"]
        refused = await opened.http.options("/fhir/Patient/an", headers={**ask, "origin": "https://c.example"})
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "Nonsense", 404),
        ("GET", "Nonsense/1", 404),
        ("GET", "Parameters/1", 404),
        ("GET", "patient/1", 404),
        ("GET", "Patient/1/2/3/4", 404),
        ("GET", "Patient/$nonsense", 404),
        ("GET", "Patient/_nonsense", 404),
        ("PUT", "Patient/1/_history/1", 405),
        ("DELETE", "metadata", 405),
        ("POST", "Patient/1", 405),
        ("BREW", "Patient/1", 405),
    ],
)
async def test_a_path_or_method_that_is_none_answers_an_outcome(
    client: Client, method: str, path: str, status: int
) -> None:
    answer = await client.send(method, path)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert answer.headers["content-type"].startswith("application/fhir+json")
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize("id", ["a%2Fb", "..%2F..%2Fetc", "x" * 65, "no_id", "%00", "a%20b", "nguyễn"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_an_id_in_the_path_that_is_none_is_refused_with_its_place(client: Client, method: str, id: str) -> None:
    for path in (f"Patient/{id}", f"Patient/{id}/_history/1"):
        answer = await client.send(method, path, a_patient() if method == "PUT" else None)
        assert answer.status_code == 400
        assert answer.json()["issue"][0]["expression"] == ["Patient.id"]
    assert (await client.send(method, "Patient/a/_history/no_version")).json()["issue"][0]["expression"] == [
        "Patient.meta.versionId"
    ]


async def test_paths_outside_fhir_answer_outcomes_too(client: Client) -> None:
    assert (await client.http.get("/nothing")).json()["resourceType"] == "OperationOutcome"
    assert (await client.http.post("/health")).json()["resourceType"] == "OperationOutcome"


async def test_formats_that_are_not_served_are_406_and_415(client: Client) -> None:
    assert (await client.get("metadata", accept="text/turtle")).status_code == 406
    assert (await client.get("metadata?_format=text/turtle")).status_code == 406
    assert (await client.get("metadata?_format=json", accept="image/png")).status_code == 200
    assert (await client.get("metadata", accept="text/html, */*;q=0.1")).status_code == 200
    for version, status in (("4.0", 200), ("3.0", 406), ("5.0", 406)):
        accept = f"application/fhir+json; fhirVersion={version}"
        assert (await client.get("metadata", accept=accept)).status_code == status
    other = "application/fhir+json; fhirVersion=3.0"
    assert (await client.send("POST", "Patient", "{}", content_type=other)).status_code == 415
    assert (await client.send("POST", "Patient", "x", content_type="text/csv")).status_code == 415
    assert (
        await client.send("POST", "Patient", "x", content_type="application/json; charset=latin1")
    ).status_code == 415


async def test_the_request_id_is_echoed_when_it_is_one(client: Client) -> None:
    assert (await client.get("metadata", x_request_id="abc-1")).headers["x-request-id"] == "abc-1"
    assert (await client.get("metadata", x_request_id="a b")).headers["x-request-id"] != "a b"


async def test_pretty_indents(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    assert '\n  "resourceType"' in (await client.get("Patient/an?_pretty=true")).text


async def test_ready_and_health_and_the_start_page_answer(client: Client) -> None:
    assert (await client.http.get("/health")).json()["status"] == "up"
    assert (await client.http.get("/ready")).json()["status"] == "ready"
    assert "Open mode" in (await client.http.get("/")).text
