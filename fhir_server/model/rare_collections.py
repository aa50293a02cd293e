"""Python's search for garbage, made rare: it walks hundreds of thousands of objects that stay for good."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Containers made and not freed until the youngest are searched; the older ones each so many times less often.
YOUNG = 50_000
_OLDER = (20, 100)


def collect_rarely() -> None:
    """For a process that begins: its start makes a million objects that stay. Searching among them again and again
    takes a third of the start, and a last time at the end as long again."""
    gc.set_threshold(YOUNG, *_OLDER)
    atexit.register(gc.freeze)


@contextmanager
def rare_collections(young: int = YOUNG) -> Iterator[None]:
    """Within it Python looks for garbage less often, and not among what is there already: definitions and compiled
    tables, whose walking took a quarter of an import's time. Within itself it changes nothing. young: more than what a
    unit of the work holds at a time, so that what is still needed is not searched."""
    if gc.get_freeze_count():
        yield
        return
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(young, *_OLDER)
    try:
        yield
    finally:
        gc.freeze()  # or the search of all that the work left would follow at once, up to a second at its end
        gc.unfreeze()
        gc.set_threshold(*before)
