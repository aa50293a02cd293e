from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_index import NOW, Index

from fhir_server.errors import FhirError

PREFIXES = ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
YEARS = st.integers(1900, 2100)
ZONES = st.sampled_from(["", "Z", "+07:00", "-05:00"])


@st.composite
def dates(draw: st.DrawFn) -> str:
    """A date of any precision; few different ones, so that values and searches meet."""
    near = st.dates(datetime(2019, 12, 30).date(), datetime(2020, 3, 2).date())
    # Beyond the years that the order key can tell apart, too.
    day = draw(near | near | st.sampled_from([datetime(year, 1, 1).date() for year in (1700, 1801, 2242, 2300, 2999)]))
    form = draw(st.sampled_from(["%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f"]))
    moment = datetime(day.year, day.month, day.day) + timedelta(
        hours=draw(st.sampled_from([0, 7, 12, 23])), microseconds=draw(st.sampled_from([0, 500_000]))
    )
    return moment.strftime(form).zfill(4) + (draw(ZONES) if "T" in form else "")


def period() -> st.SearchStrategy[dict[str, Any]]:
    def ordered(ends: tuple[str, str]) -> dict[str, Any]:
        start, end = sorted(ends, key=lambda text: interval(text)[0])
        return {"start": start, "end": end}

    whole = st.tuples(dates(), dates()).map(ordered)
    return whole | dates().map(lambda start: {"start": start}) | dates().map(lambda end: {"end": end})


# --- the oracle: R4 Search, Prefixes and date, by datetimes, each range closed at both ends

TICK = timedelta(microseconds=1)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
Interval = tuple[datetime, datetime]


def interval(text: str) -> Interval:
    if "T" not in text:
        parts = [int(part) for part in text.split("-")]
        year, month, day = [*parts, 1, 1][:3]
        low = datetime.fromisoformat(f"{year:04d}-{month:02d}-{day:02d}T00:00:00+07:00")
        if len(parts) == 3:
            after = low + timedelta(days=1)
        elif len(parts) == 2:
            after = low.replace(year=low.year + low.month // 12, month=low.month % 12 + 1)
        else:
            after = low.replace(year=low.year + 1)
        return low, after - TICK
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else datetime.fromisoformat(text + "+07:00")
    return (moment, moment) if "." in text else (moment, moment + timedelta(seconds=1) - TICK)


def of_value(value: str | dict[str, Any]) -> Interval:
    if isinstance(value, str):
        return interval(value)
    low = interval(value["start"])[0] if "start" in value else FIRST
    high = interval(value["end"])[1] if "end" in value else LAST
    return low, high


def matches(prefix: str, search: Interval, value: Interval) -> bool:
    contains = search[0] <= value[0] and value[1] <= search[1]
    above, below = value[1] > search[1], value[0] < search[0]
    if prefix == "ap":
        now = datetime.fromtimestamp(NOW / 1000, UTC)
        gap = max(search[0] - now, now - search[1], timedelta(0)) / 10
        return value[0] <= search[1] + gap and value[1] >= search[0] - gap
    return {
        "": contains, "eq": contains, "ne": not contains,
        "gt": above, "lt": below, "ge": above or contains, "le": below or contains,
        "sa": value[0] > search[1], "eb": value[1] < search[0],
    }[prefix]  # fmt: skip


@given(st.sampled_from(PREFIXES), dates(), dates() | period())
def test_the_primary_date_is_compared_as_r4_compares_ranges(
    index: Index, prefix: str, search: str, value: str | dict[str, Any]
) -> None:
    name = "effectivePeriod" if isinstance(value, dict) else "effectiveDateTime"
    index.only({"resourceType": "Observation", "id": "o", name: value})
    found = index.find(f"Observation?date={prefix}{search}".replace("+", "%2B"))
    assert found == ({"o"} if matches(prefix, interval(search), of_value(value)) else set())


@given(st.sampled_from(PREFIXES), dates(), dates() | period())
def test_every_other_date_is_compared_as_r4_compares_ranges(
    index: Index, prefix: str, search: str, value: str | dict[str, Any]
) -> None:
    name = "abatementPeriod" if isinstance(value, dict) else "abatementDateTime"
    index.only({"resourceType": "Condition", "id": "c", name: value})
    found = index.find(f"Condition?abatement-date={prefix}{search}".replace("+", "%2B"))
    assert found == ({"c"} if matches(prefix, interval(search), of_value(value)) else set())


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("2013-01-14", {"day", "minute"}),
        ("ne2013-01-14", {"next", "march", "january"}),
        ("lt2013-01-14T10:00", {"day"}),
        ("gt2013-01-14T10:00", {"day", "next", "march", "january"}),
        ("ge2013-03-14", {"march", "january"}),
        ("le2013-03-14", {"day", "minute", "next", "january"}),
        ("sa2013-03-14", {"march"}),
    ],
)
def test_the_examples_of_r4_hold(index: Index, search: str, found: set[str]) -> None:
    def encounter(id: str, **period: str) -> dict[str, Any]:
        return {"resourceType": "Encounter", "id": id, "period": period}

    index.only(
        encounter("day", start="2013-01-14", end="2013-01-14"),
        encounter("minute", start="2013-01-14T10:00:00+07:00", end="2013-01-14T10:00:00+07:00"),
        encounter("next", start="2013-01-15T00:00:00+07:00", end="2013-01-15T00:00:00+07:00"),
        encounter("january", start="2013-01-21"),
        encounter("march", start="2013-03-15"),
    )
    assert index.find(f"Encounter?date={search}") == found


def test_a_birth_date_known_by_its_year_is_found_by_a_month_of_it(index: Index) -> None:
    index.only({"resourceType": "Patient", "id": "p", "birthDate": "1985"})
    assert index.find("Patient?birthdate=ge1985-06") == {"p"}
    assert index.find("Patient?birthdate=1985-06") == set()
    assert index.find("Patient?birthdate=1985") == {"p"}


def test_timings_reach_from_their_first_event_or_bound_to_their_last(index: Index) -> None:
    def request(id: str, **timing: Any) -> dict[str, Any]:
        return {"resourceType": "ServiceRequest", "id": id, "occurrenceTiming": timing}

    index.only(
        request("events", event=["2020-01-01", "2020-03-01"]),
        request("bounds", repeat={"boundsPeriod": {"start": "2020-02-01", "end": "2020-02-10"}}),
        request("neither", repeat={"frequency": 1}),
    )
    assert index.find("ServiceRequest?occurrence=2020") == {"events", "bounds"}
    assert index.find("ServiceRequest?occurrence=2020-02") == {"bounds"}
    assert index.find("ServiceRequest?occurrence=gt2020-02-15") == {"events"}
    assert index.find("ServiceRequest?occurrence:missing=true") == {"neither"}


def test_an_instant_has_no_width(index: Index) -> None:
    index.only({"resourceType": "DiagnosticReport", "id": "d", "issued": "2020-01-01T10:00:00Z"})
    assert index.find("DiagnosticReport?issued=2020-01-01T10:00:00Z") == {"d"}
    assert index.find("DiagnosticReport?issued=gt2020-01-01T10:00:00.000Z") == set()


def test_one_condition_is_never_met_by_the_ends_of_two_values(index: Index) -> None:
    """Neither onset is within 2020, although one is after its beginning and one before its end."""
    index.only({"resourceType": "AllergyIntolerance", "id": "a", "reaction": [{"onset": "2019"}, {"onset": "2021"}]})
    assert index.find("AllergyIntolerance?onset=2020") == set()
    assert index.find("AllergyIntolerance?onset=gt2019-06&onset=lt2019-06") == {"a"}


def test_missing_dates_are_told_apart_from_given_ones(index: Index) -> None:
    index.only({"resourceType": "Condition", "id": "onset", "onsetDateTime": "2020", "recordedDate": "2021"},
               {"resourceType": "Condition", "id": "recorded", "recordedDate": "2020"},
               {"resourceType": "Condition", "id": "neither"})  # fmt: skip
    assert index.find("Condition?onset-date:missing=true") == {"recorded", "neither"}
    assert index.find("Condition?onset-date:missing=false") == {"onset"}
    assert index.find("Condition?onset-date=2020") == {"onset"}
    assert index.find("Condition?recorded-date=2020") == {"recorded"}


@pytest.mark.parametrize(
    "value",
    ["***", "!", "1973-02-30", "1973-02-28T01:01:09.999999999999999999", "", "xx2020", "ge", "2020:exact"],
)
def test_what_is_no_date_is_refused_by_name(index: Index, value: str) -> None:
    with pytest.raises(FhirError, match="birthdate"):
        index.find(f"Patient?birthdate={value}")


def test_a_date_has_no_modifier_but_missing(index: Index) -> None:
    with pytest.raises(FhirError, match="birthdate"):
        index.find("Patient?birthdate:exact=1985")
