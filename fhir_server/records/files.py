"""Files of records: which there are, which format each is, and its records one after another."""

from __future__ import annotations

import io
import re
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from fhir_server.records.csv_files import read_csv
from fhir_server.records.formats import Format, Formats
from fhir_server.records.json_files import read_json, read_lines
from fhir_server.records.recognition import format_of_csv, format_of_json
from fhir_server.records.shares import of_the_share, takes
from fhir_server.records.source import ALL_OF_IT, Place, Problem, Share, SourceRecord
from fhir_server.records.xml_files import read_xml, root_of

SUFFIXES = (".xml", ".json", ".ndjson", ".jsonl", ".csv")
ZIP = ".zip"
STDIN = Path("-")
# A generator of samples writes this beside its records.
_NO_RECORDS = frozenset({"manifest.json"})
_HEAD = 65_536
# An entry of an archive may be this large, and so many times larger than it is packed: text packs 10 to 30 times.
ENTRY_LIMIT = 4 << 30
EXPANSION_LIMIT = 200
ENTRIES_LIMIT = 100_000


@dataclass(slots=True)
class Reading:
    """How far the files are read, in bytes on disk, for telling how long it will take."""

    total: int = 0
    done: int = 0

    @property
    def fraction(self) -> float:
        return min(1.0, self.done / self.total) if self.total else 1.0


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files named, and those of the folders named, sorted; hidden ones and other suffixes in folders are left out.
    `-` is what comes on standard input.

    Raises FileNotFoundError for a path that is not there.
    """
    for path in paths:
        if path == STDIN:
            yield path
        elif path.is_dir():
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
        elif path.suffix.lower() in (*SUFFIXES, ZIP) and path.name not in _NO_RECORDS:
            yield path


def size_of(files: Iterable[Path]) -> int:
    """Bytes of the files on disk; those of standard input are not known."""
    return sum(path.stat().st_size for path in files if path != STDIN)


@lru_cache(maxsize=1)
def _copy_of(stream: IO[bytes]) -> IO[bytes]:
    """What a stream that can be read once alone holds, to be read again and again; it goes with the process."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115
    shutil.copyfileobj(stream, copy)
    copy.flush()
    return copy


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """A file, or standard input, from its beginning. Raises OSError."""
    if path != STDIN:
        with path.open("rb") as stream:
            yield stream
        return
    with open(_copy_of(sys.stdin.buffer).fileno(), "rb", closefd=False) as stream:
        stream.seek(0)
        yield stream


def name_of(path: Path) -> str:
    """What a file is called where its records are told of."""
    return "stdin" if path == STDIN else str(path)


Look = Callable[[IO[bytes], int, str], list[Problem]]


def read_files(
    files: Iterable[Path],
    formats: Formats,
    share: Share = ALL_OF_IT,
    reading: Reading | None = None,
    look: Look | None = None,
) -> Iterator[SourceRecord]:
    """Every record of every file, and of the files in archives. A file that cannot be opened is one record without
    content. share: which of the records, where several processes read the same files. reading: told how far it is.
    look: asked (stream, size, name) what there is to tell of each file itself, by one of the processes."""
    for path in files:
        size = path.stat().st_size if path != STDIN else 0
        for name, stream in _streams(path):
            if stream is None or not isinstance(stream, _Opened):
                if share.number == 0:
                    yield _unread(name, stream)
                continue
            if look is not None and share.number == 0:
                yield from _of_the_file(name, look(stream.file, stream.size, name))
            records = of_the_share(read_stream(stream.file, name, formats, share), formats, share)
            yield from _told(records, stream, size, reading)
        if reading is not None:
            reading.done += size


def _of_the_file(name: str, problems: list[Problem]) -> Iterator[SourceRecord]:
    if problems:
        yield SourceRecord("", Place(name), None, tuple(problems))


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file or an entry that can be read. size: bytes as it is read."""

    file: IO[bytes]
    size: int


def _told(
    records: Iterator[SourceRecord], stream: _Opened, size: int, reading: Reading | None
) -> Iterator[SourceRecord]:
    if reading is None:
        yield from records
        return
    begun = reading.done
    for record in records:
        if stream.size:
            reading.done = begun + int(size * min(1.0, stream.file.tell() / stream.size))
        yield record
    reading.done = begun


def _streams(path: Path) -> Iterator[tuple[str, _Opened | Problem | None]]:
    """(name, what is there) of a file, or of each file in an archive. A Problem is what stands in the way."""
    try:
        if path.suffix.lower() == ZIP:
            yield from _entries(path)
        else:
            with opened(path) as stream:
                size = stream.seek(0, io.SEEK_END)
                stream.seek(0)
                yield name_of(path), _Opened(stream, size)
    except OSError as fault:
        yield str(path), _unreadable(fault.strerror or str(fault))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as fault:
        text = (f"not a readable archive: {fault}", f"không phải tệp nén đọc được: {fault}")
        yield str(path), Problem("error", "unreadable", text)


def _entries(path: Path) -> Iterator[tuple[str, _Opened | Problem | None]]:
    with zipfile.ZipFile(path) as archive:
        entries = sorted((one for one in archive.infolist() if _is_of_records(one)), key=lambda one: one.filename)
        if len(entries) > ENTRIES_LIMIT:
            text = (f"more than {ENTRIES_LIMIT} files", f"nhiều hơn {ENTRIES_LIMIT} tệp")
            yield str(path), Problem("error", "too-large", text)
            return
        if not entries:
            text = ("the archive holds no file of records", "tệp nén không có tệp hồ sơ nào")
            yield str(path), Problem("error", "no-record", text)
        for entry in entries:
            name = f"{path}!{entry.filename}"
            if entry.file_size > ENTRY_LIMIT or entry.file_size > EXPANSION_LIMIT * max(entry.compress_size, 1024):
                yield name, _bomb(entry)
            elif entry.flag_bits & 1:
                yield name, _unreadable("it is encrypted")
            else:
                with archive.open(entry) as stream:
                    yield name, _Opened(stream, entry.file_size)


def _is_of_records(entry: zipfile.ZipInfo) -> bool:
    path = Path(entry.filename)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not entry.is_dir() and not hidden and path.name not in _NO_RECORDS


def _bomb(entry: zipfile.ZipInfo) -> Problem:
    size = f"{entry.file_size >> 20} MB"
    text = (
        f"it would expand to {size}, more than {EXPANSION_LIMIT} times what is packed; send it unpacked",
        f"giải nén thành {size}, hơn {EXPANSION_LIMIT} lần; hãy gửi tệp không nén",
    )
    return Problem("error", "too-large", text)


def _unreadable(reason: str) -> Problem:
    return Problem("error", "unreadable", (f"cannot be read: {reason}", f"không đọc được: {reason}"))


def _unread(name: str, problem: object) -> SourceRecord:
    told = (problem,) if isinstance(problem, Problem) else ()
    return SourceRecord("", Place(name), None, told)


def read_stream(stream: IO[bytes], name: str, formats: Formats, share: Share = ALL_OF_IT) -> Iterator[SourceRecord]:
    """Every record of a seekable stream; the name's suffix tells lines and CSV apart, all else the first bytes. What
    goes wrong while it is read (a broken archive, a failing disk) is a last record without content. share: records of
    which it is plain that other processes take them are left out."""
    try:
        yield from _records(stream, name, formats, share)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as fault:
        yield SourceRecord("", Place(name), None, (_unreadable(str(fault)),))


def _records(stream: IO[bytes], name: str, formats: Formats, share: Share) -> Iterator[SourceRecord]:
    head = stream.read(_HEAD)
    stream.seek(0)
    suffix = Path(name).suffix.lower()
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start == b"<" or suffix == ".xml":
        yield from _xml(stream, name, head, formats, share)
        return
    known = formats.by_name.values()
    sheet = format_of_csv(head, known) if suffix == ".csv" or _is_sheet(head, suffix, formats) else None
    if sheet is not None and sheet.csv is not None:
        yield from read_csv(stream, name, sheet.name, sheet.csv)
    elif suffix in (".ndjson", ".jsonl"):
        yield from read_lines(stream, name, format_of_json(head, known).name)
    elif start in (b"{", b"[") or suffix == ".json":
        yield from read_json(stream, name, format_of_json(head, known).name)
    else:
        yield _unknown(name, "", formats)


def _xml(stream: IO[bytes], name: str, head: bytes, formats: Formats, share: Share) -> Iterator[SourceRecord]:
    found = _format_of(head, formats)
    if found is not None and found.xml is not None:
        yield from read_xml(stream, name, found.xml, found.name, takes(found, share))
    else:
        yield _unknown(name, root_of(head) or "", formats)


def _is_sheet(head: bytes, suffix: str, formats: Formats) -> bool:
    """True for what has no suffix, as standard input has none, and a first line of the columns of some format."""
    line = head.partition(b"\n")[0].decode("utf-8-sig", "replace")
    columns = {cell.strip(' "\r') for cell in re.split("[,;\t]", line)}
    sheets = [one.csv for one in formats.by_name.values() if one.csv is not None]
    return not suffix and any(columns >= sheet.known_by for sheet in sheets)


def format_of(stream: IO[bytes], formats: Formats) -> Format | None:
    """The XML format of a file, told by its beginning; the stream is at its beginning again."""
    head = stream.read(_HEAD)
    stream.seek(0)
    return _format_of(head, formats) if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<" else None


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
