"""How much memory the cache of the embedded MongoDB takes where nobody says."""

from __future__ import annotations

import os
from pathlib import Path

LEAST = 1024  # MiB
_PART = 4
# What the control group of a container allows; `max` where it allows all.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def cache_size(limits: tuple[Path, ...] = _LIMITS) -> int:
    """MiB: a quarter of the machine's memory or of what its container may take, and LEAST at least. MongoDB's own
    default is half of it, which leaves less to the server beside it and to the cache of the file system."""
    told = [path.read_text().strip() for path in limits if path.is_file()]
    allowed = [int(one) for one in told if one.isdecimal()]
    memory = min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *allowed])
    return max(LEAST, memory // _PART >> 20)
