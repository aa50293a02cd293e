"""What a clerk reads about each rule of the import report: what it means, what to do (mappings/report/rules.json)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fhir_server.config import DATA_ROOT
from fhir_server.model.resources import decode


@dataclass(frozen=True, slots=True)
class Advice:
    """meaning: what the rule says in a few words. do: what to do about it. Each (English, Vietnamese)."""

    meaning: tuple[str, str]
    do: tuple[str, str]


def advice(rule: str) -> Advice:
    """The advice about a rule; a general one for a rule that a mapping made up itself."""
    told, otherwise = _book(DATA_ROOT)
    return told.get(rule, otherwise)


def rules() -> Mapping[str, Advice]:
    """Every rule that has advice, in the order of the data."""
    return _book(DATA_ROOT)[0]


@lru_cache(maxsize=2)
def _book(root: Path) -> tuple[Mapping[str, Advice], Advice]:
    data = decode((root / "mappings" / "report" / "rules.json").read_bytes())
    return {name: _advice(one) for name, one in data["rules"].items()}, _advice(data["otherwise"])


def _advice(told: Mapping[str, list[str]]) -> Advice:
    (en, do_en), (vi, do_vi) = told["en"], told["vi"]
    return Advice((en, vi), (do_en, do_vi))
