"""The memory that the cache of the embedded MongoDB takes where nobody says."""

from __future__ import annotations

from pathlib import Path

from fhir_server.store.cache_size import LEAST, cache_size


def test_the_cache_is_a_quarter_of_what_a_container_may_take(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    whole = cache_size((limit,))
    limit.write_text("max\n")
    assert cache_size((limit,)) == whole
    limit.write_text(f"{5 << 30}\n")
    assert cache_size((limit,)) == min(whole, 1280)


def test_a_small_container_still_has_a_cache_that_serves(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(f"{1 << 30}\n")
    assert cache_size((limit,)) == LEAST
