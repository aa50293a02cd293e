"""What the writers of sample XML share: how an element is written, and a day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime

# (name, value) -> an element, for an empty value nothing or an empty element, as the record's sender has it.
Tag = Callable[[str, object], str]


def dmy(day: date | None) -> str:
    """dd/MM/yyyy; "" for none."""
    return f"{day.day:02d}/{day.month:02d}/{day.year}" if day else ""


def ymd(day: date) -> str:
    return day.strftime("%Y%m%d")


def minute(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M")
