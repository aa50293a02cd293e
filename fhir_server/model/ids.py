"""Fresh logical ids and the clock."""

from __future__ import annotations

import os
import time

_VARIANTS = "89ab"


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A UUID of version 7 of now, which nobody can guess; new documents stand together in the indexes."""
    return uuid7(now(), int.from_bytes(os.urandom(10), "big"))


def uuid7(ms: int, chance: int) -> str:
    """A UUID of version 7 (RFC 9562): ordered by time, ms since the epoch. chance: 80 bits."""
    text = f"{ms & (1 << 48) - 1:012x}{chance:020x}"
    return f"{text[:8]}-{text[8:12]}-7{text[13:16]}-{_VARIANTS[chance & 3]}{text[17:20]}-{text[20:]}"
