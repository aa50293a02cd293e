"""Codes of FHIR as the texts that the transforms of mapping rows made them of: by the lists and maps of the record's
day."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fhir_server.records.inverse_facts import LAST, UNSURE, Known, NotMade, Options, Text, text_of


def code(value: Any, options: Options, known: Known) -> Text:
    return _first_of(
        [
            source
            for source in known.codes.sources_of(options["map"])
            if (targets := known.codes.translate(options["map"], source, known.on)) and targets[0]["code"] == value
        ]
    )


def _first_of(sources: list[str]) -> Text:
    """Of several codes that were mapped to one, the first; any row that says it for sure knows better."""
    if not sources:
        raise NotMade
    return sources[0], 0 if len(sources) == 1 else UNSURE


def coding(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict):
        raise NotMade
    return _first_of(
        [
            source
            for source in known.codes.sources_of(options["map"])
            if (targets := known.codes.translate(options["map"], source, known.on)) and _same(targets[0], value)
        ]
    )


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.get("code") == other.get("code") and one.get("system") == other.get("system")


def _codings(value: Any) -> list[Mapping[str, Any]]:
    held = value.get("coding") if isinstance(value, dict) else None
    return [one for one in held if isinstance(one, dict)] if isinstance(held, list) else []


def concept(value: Any, options: Options, known: Known) -> Text:
    """The source's own coding; where there is none, the one code that the maps lead from."""
    uris = known.codes.uris(options["list"])
    own = [one["code"] for one in _codings(value) if one.get("system") in uris and "code" in one]
    if own and not options.get("only_mapped"):
        return own[-1], 0
    for name in options.get("maps", ()):
        sources = [source for source in known.codes.sources_of(name) if _leads_to(name, source, value, known)]
        if sources:
            return sources[0], 20 if len(sources) == 1 else UNSURE
    raise NotMade


def _leads_to(map: str, source: str, value: Any, known: Known) -> bool:
    targets = known.codes.translate(map, source, known.on)
    return any(_same(target, one) for target in targets for one in _codings(value))


def concept_by_text(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict):
        raise NotMade
    shown = (one.get("display") for one in reversed(_codings(value)))
    return text_of(value.get("text") or next(filter(None, shown), None)), LAST


def list_display(value: Any, options: Options, known: Known) -> Text:
    found = known.codes.by_name(options["list"], text_of(value), known.on)
    if found is None:
        raise NotMade
    return found["code"], 50


def list_coding(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict) or value.get("system") not in known.codes.uris(options["list"]):
        raise NotMade
    return text_of(value.get("code")), 0


def local_coding(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict) or value.get("system") != options["system"]:
        raise NotMade
    return text_of(value.get("code")), 0


_CODE_LIKE = re.compile(r"[!-~]{1,8}", re.ASCII)


def icd10(value: Any, options: Options, known: Known) -> Text:
    """The code as it was written, where the text is a code; else as its coding is."""
    found = [one["code"] for one in _codings(value) if one.get("system") in known.systems["icd10"] and "code" in one]
    written = value.get("text") if isinstance(value, dict) else None
    if found:
        same = isinstance(written, str) and _bare(written) == _bare(found[0])
        return (str(written) if same else found[0]), 0
    if not _codings(value) and _CODE_LIKE.fullmatch(text_of(written)):
        return text_of(written), LAST  # a code that had not the shape of one; words are a diagnosis without a code
    raise NotMade


def _bare(code: str) -> str:
    return re.sub(r"[.†*\s]", "", code)


def blood_group(value: Any, options: Options, known: Known) -> Text:
    if not _codings(value):
        if not (options["part"] == "abo" or options.get("alone")) or not isinstance(value, dict):
            raise NotMade
        return text_of(value.get("text")), LAST
    if isinstance(value.get("text"), str):
        return value["text"], 0
    return concept(value, options, known)
