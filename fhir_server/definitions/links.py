"""Which elements hold links: those of type uri, url, oid and uuid. A transaction rewrites them (R4 RESTful API)."""

from __future__ import annotations

from functools import lru_cache

from fhir_server.definitions.load import Definitions

_LINKS = frozenset({"uri", "url", "oid", "uuid"})


@lru_cache(maxsize=4)
def uri_element_names(definitions: Definitions) -> frozenset[str]:
    """JSON names of all elements of those types, in any resource or datatype (`url`, `valueUri`, …)."""
    return frozenset(
        name
        for type in definitions.concrete_types | definitions.complex_types
        for element in definitions.structure(type).elements.values()
        for name, kind in element.json_names()
        if kind.code in _LINKS
    )
