"""Uri parameters: exact, or by whole path segments with `:below` and `:above` (R4 Search, uri)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from fhir_server.search.clauses import beginning, between, key
from fhir_server.search.compile import disjunction
from fhir_server.search.entry import Entry, Write, plain
from fhir_server.search.escapes import unescape
from fhir_server.search.lookup import Lookup, Setting, unknown_modifier, unusable
from fhir_server.search.path import Child, Path
from fhir_server.search.tree import Leaf
from fhir_server.store.values import NOTHING, Filter

_URIS = frozenset({"uri", "url", "canonical", "oid", "uuid", "id", "string"})
# The segments of a URL that `:above` looks at.
_MOST_SEGMENTS = 64

_OWN_URL = (Child("url", False),)

MODIFIERS = frozenset({"below", "above"})


def writers(letters: str, paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Write]]:
    """For each path of a parameter the function that writes the keys of one of its values."""
    for path in paths:
        if path.type in _URIS:
            yield path, lambda value, entry: _write(letters, value, entry)
            if path.steps == _OWN_URL:
                yield Path("Resource"), lambda resource, entry: _write_versioned(letters, resource, entry)


def _write(letters: str, value: Any, entry: Entry) -> None:
    uri = plain(value)
    entry.keys.add(letters + uri)
    entry.extend_sort(letters, uri)
    # FHIR: 3.1.1.4.9: a search may leave out the `|version` of a canonical URL.
    address, bar, _ = value.partition("|")
    if bar:
        entry.keys.add(letters + plain(address))


def _write_versioned(letters: str, resource: Any, entry: Entry) -> None:
    """The resource's own canonical URL together with its business version."""
    url, version = resource.get("url"), resource.get("version")
    if url and version:
        entry.keys.add(letters + plain(f"{url}|{version}"))


def filter(leaf: Leaf, letters: str, lookup: Lookup) -> Filter:
    """Raises FhirError for a modifier that uris do not have and for an empty value."""
    return disjunction(_one(leaf, unescape(value), letters) for value in leaf.values)


def _one(leaf: Leaf, uri: str, letters: str) -> Filter:
    if not uri:
        raise unusable(leaf.param.code, uri, "is empty")
    match leaf.modifier:
        case None:
            return key(letters + plain(uri))
        case "starts":  # `sw` of _filter
            return beginning(letters + plain(uri))
        case "below":
            return _below(uri, letters) if is_url(uri) else NOTHING
        case "above":
            return disjunction(key(letters + plain(one)) for one in above(uri)) if is_url(uri) else NOTHING
    raise unknown_modifier(leaf)


def is_url(uri: str) -> bool:
    """FHIR: 3.1.1.4.9: `:above` and `:below` apply to URLs and not to URNs."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return parts.scheme != "urn" and bool(parts.netloc)


def _below(uri: str, letters: str) -> Filter:
    """The URL itself and what follows it after a slash."""
    start = letters + plain(uri.rstrip("/"))
    return disjunction([key(start), between(f"{start}/", f"{start}0")])


def above(uri: str) -> list[str]:
    """`http://a.b/c/d` as itself, `http://a.b/c/`, `http://a.b/c`, `http://a.b/`, `http://a.b`."""
    start = uri.index("//") + 2
    found = [uri]
    place = len(uri)
    while (place := uri.rfind("/", start, place)) > 0 and len(found) < _MOST_SEGMENTS:
        found += [uri[: place + 1], uri[:place]]
    return list(dict.fromkeys(found))
