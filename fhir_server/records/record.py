"""From a record as read to resources: whose it is, of which day, what it holds, what of it is left out."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import orjson

from fhir_server.records.formats import DateOf, Format
from fhir_server.records.ids import named_id
from fhir_server.records.mapping import day_of
from fhir_server.records.personal_number import is_of_a_parent
from fhir_server.records.scopes import Made, Mapped, Read, Scope, walk, walk_all
from fhir_server.records.source import Place, Problem, SourceRecord, Tree

# TT 30/2020: up to this age a newborn may be recorded under its mother's name.
NEWBORN_DAYS = 28


@dataclass(slots=True)
class Record:
    """One record and what became of it.

    key: the sender's own key. facility: the sender's code. id: follows from format, facility and key. moment: the day
    it speaks of (R4 dateTime text, "" unknown). written: when the sender wrote this version of it, likewise. newborn:
    by age or mark, so that its numbers may be another's; marked_newborn: the record says that it is under a parent's
    name. digest: of the content. kept_out: source path -> how many values stood there that the mapping leaves out on
    purpose or does not know. request: the number of the message that it came in. sound: its resources were validated
    and without fault. holders: numbers on a newborn's record that are another person's, with the RelatedPerson who
    bears each.
    """

    source: SourceRecord
    format: Format
    key: str
    facility: str
    id: str
    moment: str
    written: str
    mapped: Mapped
    newborn: bool
    marked_newborn: bool
    digest: str
    kept_out: Counter[str]
    unknown: Counter[str]
    sound: bool = False
    request: str = ""
    holders: list[tuple[Mapping[str, Any], Made]] = field(default_factory=list)

    @property
    def patient(self) -> Made:
        return next(one for one in self.mapped.made if one.resource["resourceType"] == "Patient")

    @property
    def others(self) -> list[Made]:
        """Further people whom the record speaks of, each with a Patient of its own: the newborns of their mother."""
        patient = self.patient
        return [one for one in self.mapped.made if one.resource["resourceType"] == "Patient" and one is not patient]

    @property
    def refused(self) -> bool:
        return any(problem.severity == "error" for problem in self.mapped.problems)

    @property
    def place(self) -> Place:
        """Where it stands, with its key as it may be shown."""
        key = self.format.masks.key(self.key, self.source.content or {})
        return replace(self.source.place, key=key)


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a record from others, and whether it says the same as before. top: where its fields are read from.
    request: the sender's own number of the message that it came in, "" for none."""

    key: str
    facility: str
    digest: str
    id: str
    top: Scope
    request: str


def identify(format: Format, content: Tree) -> Identity:
    """What is known of a record before it is mapped."""
    top = _top(_completed(format, content))
    key, facility, digest = _key(format, top), _first(format.key.facility, top), _digest(content)
    request = _first(format.key.request, top)
    id = named_id(format.name, facility, key or digest, *_child_key(format, key, top))
    return Identity(key, facility, digest, id, top, request)


def key_of(format: Format, content: Tree) -> str:
    """The sender's own key of a record, "" for none."""
    return _key(format, _top(_completed(format, content)))


def map_record(format: Format, source: SourceRecord, identity: Identity | None = None) -> Record:
    """The resources of a record that was read. A record without content is returned with its reading problems."""
    content: Tree = source.content or {}
    known = identity or identify(format, content)
    top = known.top
    facts = format.tools.facts()
    facts.facility = known.facility
    moment, facts.on = _moment(format, format.key.date, top)
    written, _ = _moment(format, format.key.written, top)
    mapped = Mapped(problems=list(source.problems))
    facts.problems = mapped.problems
    if source.content is not None:
        mapped.problems += _with_two_values(format, top.root)
        _check_shape(format, content, mapped)
        mapped.labels = format.labels.of(top)
        for group in format.groups:
            group.run(None, top.root, facts, mapped)
        if not any(one.resource["resourceType"] == "Patient" for one in mapped.made):
            text = ("the record holds no person", "hồ sơ không có thông tin người bệnh")
            mapped.problems.append(Problem("error", "no-person", text))
    mapped.problems[:] = dict.fromkeys(mapped.problems)  # several rows may read one wrong field
    marked = format.newborn is not None and format.newborn(top)
    kept_out, unknown = _left(format, content)
    return Record(
        source,
        format,
        known.key,
        known.facility,
        known.id,
        moment,
        written,
        mapped,
        marked or _is_newborn(mapped, facts.on),
        marked,
        known.digest,
        kept_out,
        unknown,
        request=known.request,
    )


def _completed(format: Format, content: Tree) -> Tree:
    """The record with a table that it lacks taken from the one that may stand in for it."""
    lacking = {name: walk(content, keys) for name, keys in format.stand_in.items() if name not in content}
    return {**content, **{name: table for name, table in lacking.items() if table is not None}} if lacking else content


def _top(content: Tree) -> Scope:
    return Scope(content, content, None, 1, content)


def _first(reads: Any, top: Scope) -> str:
    for read in reads:
        found = _text(read, top)
        if found is not None:
            return found
    return ""


def _text(read: Read, top: Scope) -> str | None:
    """The text of a field, also where it stands several times and always says the same."""
    found = read(top)
    if found.__class__ is list:
        found = found[0] if all(one == found[0] for one in found) else None
    return found if isinstance(found, str) else None


def _with_two_values(format: Format, content: Tree) -> Iterator[Problem]:
    """Refuses a record that is told from others in two ways."""
    for path in format.key.paths:
        values = dict.fromkeys(found for found in walk_all(content, path) if isinstance(found, str))
        if len(values) > 1:
            text = ("it stands several times and says different things", "có nhiều lần với giá trị khác nhau")
            yield Problem("error", "value", text, "/".join(path), "; ".join(values), ("one value", "một giá trị"))


def _key(format: Format, top: Scope) -> str:
    for reads in format.key.alternatives:
        values = [found for read in reads if (found := _text(read, top)) is not None]
        if len(values) == len(reads):
            return "|".join(values)
    return ""


def _child_key(format: Format, key: str, top: Scope) -> list[str]:
    """What else tells a record whose key is a parent's number from the parent's own."""
    child = format.key.child
    number = _text(child.number, top) if child is not None else None
    if child is None or number is None or number not in key.split("|"):
        return []
    _, born = _moment(format, child.born, top)
    if born is None or not is_of_a_parent(number, born.year):
        return []
    return [_text(read, top) or "" for read in child.told_by]


def _moment(format: Format, date_of: DateOf, top: Scope) -> tuple[str, date | None]:
    reads, transform = date_of
    facts = format.tools.facts()
    for read in reads:
        found = _text(read, top)
        if found is not None:
            on = day_of(found, transform, facts)
            if on is not None:
                return transform(found, {}, facts), on
    return "", None


def _digest(content: Tree) -> str:
    """RFC 6920 name of the content: what a record says, whatever file and blanks it came in."""
    body = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()


def _check_shape(format: Format, content: Tree, mapped: Mapped) -> None:
    """Faults that the format's JSON Schema finds. R4 needs no such thing; senders do."""
    if format.schema is None or format.schema.is_valid(content):
        return
    for fault in format.schema.iter_errors(content):
        path = "/".join(str(part) for part in fault.instance_path)
        found = fault.instance if isinstance(fault.instance, str) else ""
        text = (f"against the schema of the format: {fault.message}"[:300], "không đúng lược đồ của định dạng")
        mapped.problems.append(Problem("error", "schema", text, path, found))


def _is_newborn(mapped: Mapped, on: date | None) -> bool:
    patient = next((one.resource for one in mapped.made if one.resource["resourceType"] == "Patient"), {})
    born = patient.get("birthDate", "")
    if on is None or len(born) != 10:
        return False
    return 0 <= (on - date.fromisoformat(born)).days <= NEWBORN_DAYS


def _left(format: Format, content: Tree) -> tuple[Counter[str], Counter[str]]:
    kept_out: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    _count_left(content, (), format, kept_out, unknown)
    return kept_out, unknown


def _count_left(
    value: Any, path: tuple[str, ...], format: Format, kept_out: Counter[str], unknown: Counter[str]
) -> None:
    """Goes into tables, and to the texts of a table that it is not known to have, which are few."""
    if path in format.left_out:
        kept_out["/".join(path)] += _rows(value)
    elif value.__class__ is dict:
        known = format.known_fields.get(path, ())
        for name, item in value.items():
            if item.__class__ is not str or name not in known:
                _count_left(item, (*path, name), format, kept_out, unknown)
    elif value.__class__ is list:
        for item in value:
            _count_left(item, path, format, kept_out, unknown)
    elif path not in format.known:
        unknown["/".join(path)] += 1


def _rows(value: Any) -> int:
    """How many rows a table has: the length of its first list, else one."""
    while isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    if isinstance(value, dict):
        return max((len(item) for item in value.values() if isinstance(item, list)), default=1)
    return len(value) if isinstance(value, list) else 1
