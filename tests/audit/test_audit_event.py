"""An access becomes an R4 AuditEvent that is found as any other resource."""

from __future__ import annotations

import base64
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fhir_server.audit.access import OPEN, Access, Agent, Touched
from fhir_server.audit.event import KINDS, MOST_ENTITIES, Events, made
from fhir_server.audit.hiding import Hiding
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.planning import index
from fhir_server.model.resources import decode
from fhir_server.store.ledger_pages import bucket_of, id_of, page_filter, plain_keys
from fhir_server.store.values import Filter, unwalked

HIDING = Hiding(b"k" * 32)
AGENTS = (
    Agent(subject="half of a letter: \ud800", client="his"),
    OPEN,
    Agent("open", address="10.1.2.3"),
    Agent(client="his-01", address="2001:db8::1", purposes=("TREAT",)),
    Agent(user="Practitioner/12", subject="an", client="his-01", organisation="bv-1", roles=("doctor", "ward  head")),
    Agent(user="Patient/44", subject="b", client="app", emergency="ngất, không giấy tờ", address="127.0.0.1"),
)
ids = st.sampled_from(("44", "0192-aa", "bv-1", "12"))
touched = st.builds(Touched, st.sampled_from(("Patient", "Condition", "Organization")), ids, st.none() | st.just(3))
accesses = st.builds(
    Access,
    st.sampled_from(("read", "search-type", "create", "transaction", *KINDS)),
    st.sampled_from(AGENTS),
    st.sampled_from((200, 201, 404, 403, 503)),
    st.integers(0, 2_000_000_000_000),
    st.sampled_from(("", "req-1")),
    st.lists(touched, max_size=4).map(tuple),
    st.lists(ids, max_size=4).map(tuple),
    st.just(("Patient", "_search")),
    st.none() | st.just((("name", "Nguyễn"), ("identifier", "urn:x|079200000123"))),
    st.none() | st.just("everything"),
    st.just(()) | st.just((("file", "a.xml"),)),
)


def events_of(context: Context) -> Events:
    return Events(context.search, context.store.registry, HIDING)


async def test_every_event_is_valid_r4_and_has_the_keys_of_its_resource(context: Context) -> None:
    events = events_of(context)
    await made(events, Access("read", OPEN, 200, 1, "r", (Touched("Patient", "1", 1),)), context.store.intern)
    for agent, kind in product(AGENTS, KINDS):  # so that every system has its number
        known = Access(kind, agent, 200, 1, "r", (Touched("Patient", "1", 1),), ("2",), operation="x")
        await made(events, known, context.store.intern)
        await made(events, replace(known, interaction="read"), context.store.intern)

    @settings(max_examples=60, deadline=None)
    @given(accesses)
    def holds(access: Access) -> None:
        for event in events.make(access):
            resource = decode(event.raw)
            assert context.validator.validate(resource, "AuditEvent", None) == []
            indexed = context.search.index(resource, context.store.registry)
            assert set(event.keys) == set(plain_keys(indexed.keys))
            assert id_of(event.raw) == event.id == resource["id"]
            assert bucket_of(event.id) == f"#{access.at >> 16:x}"

    holds()
    assert await index(context, {"resourceType": "AuditEvent"})


async def test_what_touches_more_than_one_event_holds_is_told_by_several(context: Context) -> None:
    patients = tuple(f"p{number}" for number in range(MOST_ENTITIES * 2 + 1))
    access = Access("search-type", OPEN, 200, 1, "r", (), patients, ("Patient",), ())
    found = await made(events_of(context), access, context.store.intern)
    named = [entity["what"]["reference"] for one in found for entity in decode(one.raw)["entity"] if "what" in entity]
    assert len(found) == 3
    assert named == [f"Patient/{id}" for id in patients]


async def test_the_query_is_kept_with_its_numbers_hidden(context: Context) -> None:
    query = (
        ("identifier", "http://fhir.hl7.org.vn/core/sid/cccd|079200000123,012345678"),
        ("subject:Patient.identifier", "079200000123"),
        ("_filter", "identifier eq 079200000123"),
        ("phone", "0912 345 678"),
        ("vn-bhyt", "DN4797912345678"),
        ("name", "Nguyễn Văn An"),
        ("birthdate", "ge1985-06"),
        ("identifier:missing", "false"),
        ("access_token", "eyJhbGciOi"),
    )
    access = Access("search-type", OPEN, 200, 1, "r", path=("Patient",), query=query)
    (event,) = await made(events_of(context), access, context.store.intern)
    url = base64.b64decode(decode(event.raw)["entity"][0]["query"]).decode()
    hidden = HIDING.hash("079200000123")
    assert url.startswith(f"Patient?identifier=http://fhir.hl7.org.vn/core/sid/cccd|{hidden},~")
    assert f"subject:Patient.identifier={hidden}" in url
    assert f"_filter=identifier%20eq%20{hidden}" in url
    assert f"phone={HIDING.hash('0912345678')}" in url
    assert f"vn-bhyt={HIDING.hash('dn4797912345678')}" in url
    assert "birthdate=ge1985-06" in url
    assert "identifier:missing=false" in url
    assert "Nguy" in url
    for secret in ("079200000123", "012345678", "345", "4797912345678", "eyJhbGciOi"):
        assert secret not in url


def test_a_hash_depends_on_the_key() -> None:
    assert Hiding(b"a" * 32).hash("079200000123") != Hiding(b"b" * 32).hash("079200000123")


def test_pages_are_told_apart_by_a_condition_however_it_is_written() -> None:
    recent: Filter = {"u": {"$gte": 1_700_000_000_000}}
    assert page_filter(unwalked(recent)) == page_filter(recent) != {}
    assert page_filter({"$and": [{"k": "ABa"}, unwalked(recent)]}) == {
        "$and": [page_filter({"k": "ABa"}), page_filter(recent)]
    }
    assert page_filter({"$nor": [recent]}) == {}
