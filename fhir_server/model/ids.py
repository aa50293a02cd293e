"""Fresh logical ids and the clock."""

from __future__ import annotations

import os
import time
import uuid


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A UUID of version 7 (RFC 9562): ordered by time, so that new documents stand together in the indexes."""
    value = (now() << 80) | int.from_bytes(os.urandom(10), "big")
    value &= ~(0xF << 76) & ~(0x3 << 62)
    return str(uuid.UUID(int=value | (0x7 << 76) | (0x2 << 62)))
