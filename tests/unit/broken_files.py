"""Two hundred files that are broken on purpose, each in one way, with a good record before and behind the break."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from records_sources import as_json, basic, dossier, file_part, health_record, person, total

COUNT = 200


@dataclass(frozen=True, slots=True)
class Broken:
    """good: how many records of the file are to be stored; rules: of which one at least is told of the others."""

    name: str
    body: bytes
    good: int
    rules: frozenset[str]


# Suffix, content, how many records are good, what may be told of the others.
Made = tuple[str, bytes, int, set[str]]
Break = Callable[[random.Random], Made]


def broken_files(seed: int = 1) -> Iterator[Broken]:
    """Every way of breaking in turn, at places that differ."""
    for number in range(COUNT):
        way = WAYS[number % len(WAYS)]
        suffix, body, good, rules = way(random.Random(f"{seed}/{number}"))
        name = f"{number:03d}-{way.__name__.strip('_').replace('_', '-')}{suffix}"
        yield Broken(name, body, good, frozenset(rules))


def _numbers(draw: random.Random) -> list[str]:
    return [f"0380{draw.randrange(10, 99)}9{draw.randrange(10**5):05d}" for _ in range(3)]


def _people(draw: random.Random, middle: str | None = None, **fields: str) -> bytes:
    """A health record file of three people; fields of the middle one, or the middle one itself."""
    first, second, third = (person(MADINHDANH=number, MABHXH=None) for number in _numbers(draw))
    number = _numbers(draw)[0]
    if fields:
        second = person(**{"MADINHDANH": number, "MABHXH": None, **fields})
    return health_record(first, middle if middle is not None else second, third)


def _visits(draw: random.Random, **tables: str) -> bytes:
    """A file of three dossiers, the middle one with these tables in place of a good XML1."""
    keys = [f"LK{draw.randrange(10**6)}-{number}" for number in range(3)]
    good = [total(MA_LK=key, MA_BN=key, SO_CCCD=None) for key in keys]
    whole = dossier(*good, count=3)
    parts = "".join(file_part(name, content) for name, content in tables.items())
    return whole.replace(file_part("XML1", good[1]).encode(), parts.encode() if tables else b"")


def cut_short(draw: random.Random) -> Made:
    body = _people(draw)
    last = body.rindex(b"<HOSOSUCKHOE>")
    return ".xml", body[: draw.randrange(last + 20, body.rindex(b"</HOSOSUCKHOE>"))], 2, {"not-closed"}


def dossiers_cut_short(draw: random.Random) -> Made:
    body = _visits(draw, XML1=total(MA_LK=f"LK{draw.random()}", SO_CCCD=None))
    last = body.rindex(b"<HOSO>")
    return ".xml", body[: draw.randrange(last + 10, body.rindex(b"</HOSO>"))], 2, {"not-closed"}


def windows_1258_bytes(draw: random.Random) -> Made:
    raw = draw.choice([b"H\xf2a", b"S\xf5n", b"\xd0\xf0c", b"Nguy\xea\xden"])
    return ".xml", _people(draw, HOTEN="@@@").replace(b"@@@", raw), 2, {"encoding"}


def declared_in_windows_1258(draw: random.Random) -> Made:
    name = draw.choice(["windows-1258", "TCVN-5712", "x-viet-vps"])
    return ".xml", f'<?xml version="1.0" encoding="{name}"?>'.encode() + _people(draw), 0, {"encoding"}


def in_utf_16(draw: random.Random) -> Made:
    return (
        ".xml",
        _people(draw).decode().encode(draw.choice(["utf-16", "utf-16-le"])),
        0,
        {"encoding", "unknown-format"},
    )


def tcvn3_taken_for_utf_8(draw: random.Random) -> Made:
    name = draw.choice(["NguyÔn V¨n An", "TrÇn ThÞ B×nh", "§ç §øc ¢n"])
    return ".xml", _people(draw, HOTEN=name), 2, {"encoding-suspect"}


def utf_8_taken_for_windows_1252(draw: random.Random) -> Made:
    name = draw.choice(["Nguyễn Văn An", "Trần Thị Bình"]).encode().decode("cp1252", "replace")
    return ".xml", _people(draw, HOTEN=name), 2, {"encoding-suspect"}


def vni_taken_for_utf_8(draw: random.Random) -> Made:
    return ".xml", _people(draw, HOTEN=draw.choice(["Nguyeãn Vaên An", "Leâ Coâng Taâm"])), 2, {"encoding-suspect"}


def nested_wrongly(draw: random.Random) -> Made:
    middle = draw.choice(
        [
            "<HOSOSUCKHOE><THONGTINCHUNG><HOTEN>A</THONGTINCHUNG></HOTEN></HOSOSUCKHOE>",
            "<HOSOSUCKHOE><THONGTINCHUNG></HOSOSUCKHOE>",
        ]
    )
    return ".xml", _people(draw, middle), 2, {"not-well-formed"}


def a_record_without_its_end(draw: random.Random) -> Made:
    return ".xml", _people(draw, "<HOSOSUCKHOE><THONGTINCHUNG>"), 2, {"not-closed"}


def a_bare_ampersand(draw: random.Random) -> Made:
    return ".xml", _people(draw, HOTEN="A & B").replace(b"&amp;", b"&"), 2, {"not-well-formed"}


def nested_without_bound(draw: random.Random) -> Made:
    depth = draw.randrange(40, 4_000)
    middle = f"<HOSOSUCKHOE>{'<A>' * depth}{'</A>' * depth}</HOSOSUCKHOE>"
    return ".xml", _people(draw, middle), 2, {"too-large", "not-well-formed"}


def a_control_character(draw: random.Random) -> Made:
    return ".xml", _people(draw, HOTEN=f"An{chr(draw.choice([1, 2, 8, 11, 12, 14, 31]))}"), 2, {"control-character"}


def an_expanding_entity(draw: random.Random) -> Made:
    lines = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha" * 50}">' for n in range(9))  # 5 GB at the end
    body = _people(draw, HOTEN="&e8;").replace(b"&amp;", b"&")
    return ".xml", f"<!DOCTYPE DATA [{lines}]>".encode() + body, 0, {"document-type"}


def an_entity_inside_base64(draw: random.Random) -> Made:
    inner = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + total(HO_TEN="&a;").replace("&amp;", "&")
    return ".xml", _visits(draw, XML1=inner), 2, {"document-type"}


def junk_in_base64(draw: random.Random) -> Made:
    body = _visits(draw, XML1=total(MA_LK="LK-X", SO_CCCD=None))
    inner = base64.b64encode(total(MA_LK="LK-X", SO_CCCD=None).encode())
    at = draw.randrange(1, 200)
    return ".xml", body.replace(inner, inner[:at] + b"@#" + inner[at:]), 2, {"base64"}


def base64_of_no_xml(draw: random.Random) -> Made:
    content = "%PDF-1.7 " + "x" * draw.randrange(10, 500)
    return ".xml", _visits(draw, XML1=content), 2, {"not-well-formed", "required", "no-person"}


def an_empty_table(draw: random.Random) -> Made:
    return (
        ".xml",
        _visits(draw, XML1=draw.choice(["<TONG_HOP/>", "<TONG_HOP></TONG_HOP>"])),
        2,
        {"required", "no-person"},
    )


def a_dossier_without_tables(draw: random.Random) -> Made:
    return ".xml", _visits(draw), 2, {"required", "no-person"}


def two_first_tables(draw: random.Random) -> Made:
    body = _visits(draw, XML1=total(MA_LK="LK-X", SO_CCCD=None))
    part = file_part("XML1", total(MA_LK="LK-X", SO_CCCD=None)).encode()
    return ".xml", body.replace(part, part + part), 2, {"duplicate-part"}


def a_table_without_its_name(draw: random.Random) -> Made:
    body = _visits(draw, XML9="<A/>", XML1=total(MA_LK="LK-X", SO_CCCD=None))
    return ".xml", body.replace(b"<LOAIHOSO>XML9</LOAIHOSO>", b""), 2, {"part-without-name"}


def a_wrong_count(draw: random.Random) -> Made:
    body = _visits(draw, XML1=total(MA_LK=f"LK{draw.random()}", SO_CCCD=None))
    wrong = draw.choice([0, 1, 2, 4, 99999])
    return ".xml", body.replace(b"<SOLUONGHOSO>3<", b"<SOLUONGHOSO>%d<" % wrong), 3, {"wrong-count"}


def a_key_twice(draw: random.Random) -> Made:
    first, second, _ = _numbers(draw)
    people = [(first, "An"), (second, "Bình"), (first, "Chi")]
    records = (person(MADINHDANH=one, MABHXH=None, HOTEN=name) for one, name in people)
    return ".xml", health_record(*records), 2, {"duplicate-key"}


def an_impossible_day(draw: random.Random) -> Made:
    return (
        ".xml",
        _people(draw, NGAYSINH=draw.choice(["31/02/1985", "99/99/9999", "hôm qua", "1985-03-02"])),
        2,
        {"value"},
    )


def a_name_that_is_not_there(draw: random.Random) -> Made:
    return ".xml", _people(draw, HOTEN=""), 2, {"required"}


def json_cut_short(draw: random.Random) -> Made:
    body = as_json(*(_row(draw, n) for n in range(3)))
    end = draw.randrange(body.rindex(b'{"ma_ho_so"') + 5, len(body) - 3)
    return ".json", body[:end], 2, {"not-well-formed", "no-record"}


def a_broken_line(draw: random.Random) -> Made:
    lines = [as_json(_row(draw, n))[1:-1] for n in range(3)]
    lines[1] = draw.choice([lines[1][:-9], b"[1]", b"nonsense", b'{"a": NaN}', b"\xff\xfe"])
    return ".ndjson", b"\n".join(lines), 2, {"not-well-formed", "not-an-object", "encoding"}


def a_strange_csv_line(draw: random.Random) -> Made:
    line = draw.choice([b"la;38280;9;A;1985;1", b"hanh_chinh;38280;9;Ph\xf2ng;1985;1"])
    rows = [b"hanh_chinh;38280;%d;Tr\xe1\xba\xa7n An;1985;1" % n for n in range(2)]
    head = b"loai_dong;ma_cskcb;ma_ho_so;ho_ten;ngay_sinh;gioi_tinh"
    return ".csv", b"\n".join([head, rows[0], line, rows[1]]), 2, {"row-kind", "encoding"}


def no_records_at_all(draw: random.Random) -> Made:
    suffix, body = draw.choice(
        [(".xml", b""), (".xml", b"<Bundle/>"), (".json", b"[]"), (".ndjson", b"\n\n"), (".csv", b"a,b\n1,2\n")]
    )
    return suffix, body, 0, {"no-record", "unknown-format", "no-column"}


def _row(draw: random.Random, number: int) -> dict[str, object]:
    one = {"ho_ten": "Trần An", "ngay_sinh": "1985", "gioi_tinh": "1", "so_dinh_danh": _numbers(draw)[0]}
    return basic(ma_ho_so=f"H{draw.randrange(10**6)}-{number}", hanh_chinh=one)


WAYS: tuple[Break, ...] = (
    cut_short, dossiers_cut_short, windows_1258_bytes, declared_in_windows_1258, in_utf_16, tcvn3_taken_for_utf_8,
    utf_8_taken_for_windows_1252, vni_taken_for_utf_8, nested_wrongly, a_record_without_its_end, a_bare_ampersand,
    nested_without_bound, a_control_character, an_expanding_entity, an_entity_inside_base64, junk_in_base64,
    base64_of_no_xml, an_empty_table, a_dossier_without_tables, two_first_tables, a_table_without_its_name,
    a_wrong_count, a_key_twice, an_impossible_day, a_name_that_is_not_there, json_cut_short, a_broken_line,
    a_strange_csv_line, no_records_at_all,
)  # fmt: skip
