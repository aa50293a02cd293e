"""What people ask about their data is entered with its legal due dates, and nothing noted is taken away."""

from __future__ import annotations

from datetime import date

import pytest

from fhir_server.security.petitions import Petitions, is_late, working_days_after
from fhir_server.store.mongo import MongoStore

FRIDAY = date(2026, 1, 2)


@pytest.mark.parametrize(
    ("kind", "due", "extended"),
    [
        ("access", "2026-01-12", "2026-01-17"),
        ("correct", "2026-01-12", "2026-01-17"),
        ("restrict", "2026-01-17", "2026-01-22"),
        ("withdraw", "2026-01-17", "2026-01-22"),
        ("erase", "2026-01-22", "2026-02-01"),
    ],
)
async def test_each_kind_has_its_days(store: MongoStore, kind: str, due: str, extended: str) -> None:
    register = Petitions(store)
    entry = await register.add("p", kind, "an", "staff", FRIDAY)
    assert (entry["acknowledge"], entry["due"]) == ("2026-01-06", due)
    assert not is_late(entry, date(2026, 1, 6))
    assert is_late(entry, date(2026, 1, 7)), "it was not acknowledged"
    await register.step("p", "acknowledged", "staff", "", date(2026, 1, 5))
    longer = await register.step("p", "extended", "staff", "hard to find", date(2026, 1, 8))
    assert longer is not None
    assert longer["due"] == extended
    assert not is_late(longer, date.fromisoformat(extended))
    assert is_late(longer, date(2026, 3, 1))
    closed = await register.step("p", "closed", "other", "given", date(2026, 1, 9))
    assert closed is not None
    assert [step["step"] for step in closed["steps"]] == ["acknowledged", "extended", "closed"]
    assert not is_late(closed, date(2026, 3, 1))
    assert await register.step("p", "closed", "other", "again", date(2026, 1, 10)) is None
    assert (await register.all())["p"] == closed


def test_weekends_are_no_working_days() -> None:
    assert working_days_after(FRIDAY, 1) == date(2026, 1, 5)
    assert working_days_after(date(2026, 1, 5), 2) == date(2026, 1, 7)


def test_public_holidays_are_no_working_days_also_those_that_move_with_the_moon() -> None:
    assert working_days_after(date(2026, 4, 29), 1) == date(2026, 5, 4)
    assert working_days_after(date(2026, 2, 13), 2) == date(2026, 2, 24)
    assert working_days_after(date(2030, 8, 30), 1) == date(2030, 9, 3)
    assert working_days_after(date(2026, 11, 22), 2) == date(2026, 11, 25)


def test_a_saturday_that_is_worked_in_place_of_a_day_off_counts() -> None:
    assert working_days_after(date(2026, 8, 21), 1) == date(2026, 8, 22)
    assert working_days_after(date(2026, 8, 28), 1) == date(2026, 9, 3)
