from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model.dates import TICKS_PER_MS, TICKS_PER_SECOND, instant, range_of, span_of

DAYS = st.dates().map(lambda day: f"{day:%Y-%m-%d}".zfill(10))


def ticks(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10


@pytest.mark.parametrize(
    ("text", "first", "after"),
    [
        ("1985", "1985-01-01T00:00:00+07:00", "1986-01-01T00:00:00+07:00"),
        ("1985-02", "1985-02-01T00:00:00+07:00", "1985-03-01T00:00:00+07:00"),
        ("1984-12", "1984-12-01T00:00:00+07:00", "1985-01-01T00:00:00+07:00"),
        ("2024-02-29", "2024-02-29T00:00:00+07:00", "2024-03-01T00:00:00+07:00"),
        ("2024-02-29T23:59", "2024-02-29T23:59:00+07:00", "2024-03-01T00:00:00+07:00"),
        ("2024-02-29T10:20:30", "2024-02-29T10:20:30+07:00", "2024-02-29T10:20:31+07:00"),
        ("2024-02-29T10:20:30Z", "2024-02-29T10:20:30+00:00", "2024-02-29T10:20:31+00:00"),
        ("2024-02-29T10:20:30-09:30", "2024-02-29T10:20:30-09:30", "2024-02-29T10:20:31-09:30"),
    ],
)
def test_a_date_covers_all_the_time_that_its_precision_leaves_open(text: str, first: str, after: str) -> None:
    assert span_of(text, "+07:00") == (ticks(first), ticks(after) - 1)


def test_a_fraction_of_a_second_is_one_tick_wide_and_digits_after_the_seventh_are_dropped() -> None:
    (low, high) = span_of("1970-01-01T00:00:01.5Z", "+07:00") or (0, 0)
    assert low == high == TICKS_PER_SECOND * 3 // 2
    assert span_of("1970-01-01T00:00:01.500000049Z", "Z") == (low, high)
    assert span_of("1970-01-01T00:00:01.5000001Z", "Z") == (low + 1, high + 1)


@pytest.mark.parametrize(
    "text",
    ["", "85", "1985-13", "1985-00", "2023-02-29", "1985-1-1", "19850101", "1985-01-01T", "1985-01-01T10", "0000",
     "1985-01-01T24:00:00", "1985-01-01T10:60:00", "1985-01-01T10:00:00+15:00", "१९८५", "1985-01-01 10:00"],
)  # fmt: skip
def test_what_is_no_date_has_no_span(text: str) -> None:
    assert span_of(text, "+07:00") is None


@given(DAYS, st.sampled_from(["Z", "+07:00", "-11:00"]))
def test_a_day_lies_within_its_month_and_its_month_within_its_year(day: str, zone: str) -> None:
    spans = [span_of(text, zone) for text in (day[:4], day[:7], day)]
    assert all(spans)
    lows, highs = [span[0] for span in spans if span], [span[1] for span in spans if span]
    assert lows == sorted(lows)
    assert highs == sorted(highs, reverse=True)


def test_the_same_in_milliseconds_ends_with_the_first_one_after() -> None:
    assert range_of("1970-01-01", "Z") == (0, 86_400_000)
    assert range_of("1970-01-01T00:00:00.123Z", "Z") == (123, 124)
    assert range_of("never", "Z") is None


@given(st.integers(0, 253_402_300_799_999))
def test_an_instant_is_read_back_as_the_same_millisecond(ms: int) -> None:
    assert span_of(instant(ms), "+07:00") == (ms * TICKS_PER_MS, ms * TICKS_PER_MS)
