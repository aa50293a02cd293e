"""Files of records: which there are, which format each is, and its records one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from fhir_server.records.csv_files import read_csv
from fhir_server.records.formats import Format, Formats
from fhir_server.records.json_files import read_json, read_lines
from fhir_server.records.recognition import format_of_csv, format_of_json
from fhir_server.records.source import Place, Problem, SourceRecord
from fhir_server.records.xml_files import read_xml, root_of

SUFFIXES = (".xml", ".json", ".ndjson", ".jsonl", ".csv")
# A generator of samples writes this beside its records.
_NO_RECORDS = frozenset({"manifest.json"})
_HEAD = 65_536


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files named, and those of the folders named, sorted; hidden ones and other suffixes in folders are left out.

    Raises FileNotFoundError for a path that is not there.
    """
    for path in paths:
        if path.is_dir():
            yield from _inside(path)
        elif path.exists():
            yield path
        else:
            raise FileNotFoundError(str(path))


def _inside(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir():
            yield from _inside(path)
        elif path.suffix.lower() in SUFFIXES and path.name not in _NO_RECORDS:
            yield path


def read_files(paths: Iterable[Path], formats: Formats) -> Iterator[SourceRecord]:
    """Every record of every file. A file that cannot be opened is one record without content."""
    for path in find_files(paths):
        try:
            with path.open("rb") as stream:
                yield from read_stream(stream, str(path), formats)
        except OSError as fault:
            text = (f"cannot be read: {fault.strerror}", f"không đọc được: {fault.strerror}")
            yield SourceRecord("", Place(str(path)), None, (Problem("error", "unreadable", text),))


def read_stream(stream: IO[bytes], name: str, formats: Formats) -> Iterator[SourceRecord]:
    """Every record of a seekable stream; the name's suffix tells lines and CSV apart, all else the first bytes."""
    head = stream.read(_HEAD)
    stream.seek(0)
    suffix = Path(name).suffix.lower()
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start == b"<" or suffix == ".xml":
        yield from _xml(stream, name, head, formats)
        return
    if suffix == ".csv":
        of_csv = format_of_csv(head, formats.by_name.values())
        assert of_csv.csv is not None
        yield from read_csv(stream, name, of_csv.name, of_csv.csv)
    elif suffix in (".ndjson", ".jsonl"):
        yield from read_lines(stream, name, format_of_json(head, formats.by_name.values()).name)
    elif start in (b"{", b"[") or suffix == ".json":
        yield from read_json(stream, name, format_of_json(head, formats.by_name.values()).name)
    else:
        yield _unknown(name, "", formats)


def _xml(stream: IO[bytes], name: str, head: bytes, formats: Formats) -> Iterator[SourceRecord]:
    found = _format_of(head, formats)
    if found is None or found.xml is None:
        yield _unknown(name, root_of(head) or "", formats)
        return
    yield from read_xml(stream, name, found.xml, found.name)


def _format_of(head: bytes, formats: Formats) -> Format | None:
    """The format whose root element the file has. What is not UTF-8 goes to the first one, which says so."""
    xml = [one for one in formats.by_name.values() if one.xml is not None]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return xml[0]
    root = root_of(head)
    return next((one for one in xml if one.xml is not None and one.xml.root == root), None)


def _unknown(name: str, found: str, formats: Formats) -> SourceRecord:
    roots = ", ".join(one.xml.root for one in formats.by_name.values() if one.xml is not None)
    text = ("not a known record format", "không phải định dạng hồ sơ đã biết")
    allowed = (f"XML with the root {roots}; JSON; NDJSON; CSV", f"XML có phần tử gốc {roots}; JSON; NDJSON; CSV")
    problem = Problem("error", "unknown-format", text, found=found, allowed=allowed)
    return SourceRecord("", Place(name), None, (problem,))
