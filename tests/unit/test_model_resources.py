"""The bytes of a resource are the sender's own behind what the server writes."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.model.resources import content_of, decode, render

OWN = b'{"resourceType":"Patient","id":"an","meta":{"versionId":"3","lastUpdated":"2026-01-01T00:00:00Z"'


@pytest.mark.parametrize(
    ("sent", "after"),
    [
        ({"resourceType": "Patient"}, b"}}"),
        ({"id": "other", "active": True, "resourceType": "Patient"}, b'},"active":true}'),
        ({"resourceType": "Patient", "meta": {}, "active": True}, b'},"active":true}'),
        ({"resourceType": "Patient", "meta": {"versionId": "9", "lastUpdated": "1999"}}, b"}}"),
        (
            {
                "resourceType": "Patient",
                "gender": "male",
                "meta": {"source": "urn:a", "versionId": "9"},
                "active": True,
            },
            b',"source":"urn:a"},"gender":"male","active":true}',
        ),
    ],
)
def test_what_the_server_says_of_itself_stands_before_the_content(sent: dict[str, Any], after: bytes) -> None:
    assert render("Patient", "an", 3, "2026-01-01T00:00:00Z", content_of(sent)) == OWN + after


def test_the_content_keeps_every_digit_and_leaves_the_resource_as_it_was() -> None:
    body = b'{"resourceType":"Basic","id":"b","meta":{"versionId":"1"},"extension":[{"url":"u","valueDecimal":1.10}]}'
    resource = decode(body)
    assert content_of(resource) == b'},"extension":[{"url":"u","valueDecimal":1.10}]}'
    assert resource == decode(body)
