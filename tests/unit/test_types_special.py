import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_index import Index

from fhir_server.errors import FhirError

HANOI, HUE, SAIGON = (21.0278, 105.8342), (16.4637, 107.5909), (10.7769, 106.7009)
LATITUDES, LONGITUDES = st.floats(-90, 90), st.floats(-180, 180)


def location(id: str, place: tuple[float, float]) -> dict[str, object]:
    return {"resourceType": "Location", "id": id, "position": {"latitude": place[0], "longitude": place[1]}}


def kilometres(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The great circle by the cosine rule over unit vectors, which is not how the index measures it."""

    def vector(place: tuple[float, float]) -> tuple[float, float, float]:
        latitude, longitude = map(math.radians, place)
        return (
            math.cos(latitude) * math.cos(longitude),
            math.cos(latitude) * math.sin(longitude),
            math.sin(latitude),
        )

    first, second = vector(one), vector(other)
    cross = math.dist((0, 0, 0), (
        first[1] * second[2] - first[2] * second[1],
        first[2] * second[0] - first[0] * second[2],
        first[0] * second[1] - first[1] * second[0],
    ))  # fmt: skip
    return 6371.0088 * math.atan2(cross, sum(a * b for a, b in zip(first, second, strict=True)))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("21|105.8", {"hanoi"}),
        ("21|105.8|10", {"hanoi"}),
        ("21|105.8|1", set()),
        ("21|105.8|600|km", {"hanoi", "hue"}),
        ("21|105.8|400|[mi_i]", {"hanoi", "hue"}),
        ("21|105.8|5000|m", {"hanoi"}),
        ("21|105.8|20000", {"hanoi", "hue", "saigon"}),
        ("10.7769|106.7009|0", {"saigon"}),
        ("21|105.8|10,10.8|106.7|10", {"hanoi", "saigon"}),
    ],
)
def test_places_are_found_within_a_distance(index: Index, query: str, found: set[str]) -> None:
    index.only(location("hanoi", HANOI), location("hue", HUE), location("saigon", SAIGON))
    assert index.find(f"Location?near={query}") == found


@given(st.tuples(LATITUDES, LONGITUDES), st.tuples(LATITUDES, LONGITUDES), st.floats(0.9, 1.1))
def test_a_place_is_found_exactly_up_to_its_distance_anywhere_on_earth(
    index: Index, stored: tuple[float, float], asked: tuple[float, float], share: float
) -> None:
    distance = kilometres(asked, stored)
    if abs(share - 1) < 1e-6 or distance < 0.001:
        return
    index.only(location("here", stored))
    found = index.find(f"Location?near={asked[0]:.12f}|{asked[1]:.12f}|{distance * share:.9f}|km")
    assert found == ({"here"} if share > 1 else set())


@pytest.mark.parametrize("value", ["", "21", "21|x", "91|0|1", "0|181|1", "0|0|1|kg", "0|0|-1", "0|0|1|km|x", "0|0|x"])
def test_what_is_no_place_is_refused_by_name(index: Index, value: str) -> None:
    with pytest.raises(FhirError, match="near"):
        index.find(f"Location?near={value}")
