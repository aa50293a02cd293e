"""What an index leads to: lists of keys, ids or times that have all that a filter finds.

`:not`, `:not-in` and `:missing=true` find what lacks something, and `_text` and `_content` read the resources: nothing
leads there. To what `ne` and `:contains` (`co`, `ew` of _filter) find, and a composite that does not begin with one
code, only the list of all that have the parameter leads. Beside another parameter these cost little: what that one
finds is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

from fhir_server.search.clauses import Whole
from fhir_server.search.compile import flat
from fhir_server.store.values import Filter

Lists = tuple[Filter, ...]  # conditions on one field of an index each, of which the union has all that is found


def leads(whole: Filter) -> list[Lists]:
    """Each way in which an index leads to all that a filter finds, those over all of a parameter last."""
    return sorted((lists for part in flat(whole) for lists in _of_part(part)), key=_is_whole)


def is_led(whole: Filter) -> bool:
    """False when resources of a type, or those that have a parameter, are looked at one by one for those that fit."""
    parts, found = flat(whole), leads(whole)
    return not parts or (bool(found) and (len(parts) == 1 or not _is_whole(found[0])))


def _of_part(part: Filter) -> Iterator[Lists]:
    match dict(part):
        case {"k": str()} | {"k": {"$in": _}} | {"k": {"$elemMatch": _}} | {"o": _} | {"u": _} | {"_id": _}:
            yield (part,)
        case {"$or": ways}:
            found = [leads(way) for way in ways]
            if all(found):
                yield tuple(one for way in found for one in way[0])


def _is_whole(lists: Lists) -> bool:
    return any(isinstance(one, Whole) for one in lists)
