"""Files of records: each record stands alone, and what cannot be read is refused with its place."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import orjson
import pytest
from records_sources import (
    FORMATS,
    as_json,
    basic,
    dossier,
    element,
    file_part,
    health_record,
    person,
    read,
    records,
    total,
)

from fhir_server.records.files import find_files, read_files, read_stream
from fhir_server.records.source import Share, SourceRecord


def told(record: SourceRecord) -> list[str]:
    return [problem.rule for problem in record.problems]


def names(found: list[SourceRecord]) -> list[str | None]:
    return [one.content and one.content["HOSOSUCKHOE"]["THONGTINCHUNG"]["HOTEN"] for one in found]


def test_a_record_that_is_not_well_formed_harms_no_neighbour() -> None:
    body = health_record(person(HOTEN="An"), person(HOTEN="B & C").replace("&amp;", "&"), person(HOTEN="Dũng"))
    found = read(body)
    assert names(found) == ["An", None, "Dũng"]
    assert told(found[1]) == ["not-well-formed"]
    assert found[1].place.record == 2


def test_the_place_of_a_fault_is_its_line_in_the_file() -> None:
    broken = "<HOSOSUCKHOE>\n<THONGTINCHUNG>\n<HOTEN>A & B</HOTEN></THONGTINCHUNG></HOSOSUCKHOE>"
    body = health_record("\n\n", person(), "\n", broken)
    assert read(body)[1].place.line == 6


def test_a_record_without_its_end_tag_is_refused_alone() -> None:
    body = health_record(person(HOTEN="An"), "<HOSOSUCKHOE><THONGTINCHUNG>", person(HOTEN="Dũng"))
    found = read(body)
    assert names(found) == ["An", None, "Dũng"]
    assert told(found[1]) == ["not-closed"]


def test_a_file_that_is_cut_short_gives_its_whole_records_and_says_so() -> None:
    body = health_record(person(HOTEN="An"), person(HOTEN="Dũng"))
    found = read(body[: body.rindex(b"<HOTEN>")])
    assert names(found) == ["An", None, None]
    assert [told(one) for one in found[1:]] == [["not-closed"], ["file-cut-short"]]


def test_bytes_that_are_not_utf_8_refuse_their_record_and_suspect_the_old_encodings() -> None:
    body = health_record(person(HOTEN="An"), person(HOTEN="XXX")).replace(b"XXX", b"Ph\xf2ng")
    found = read(body)
    assert names(found) == ["An", None]
    assert "windows-1258" in found[1].problems[0].text[0]


@pytest.mark.parametrize("encoding", ["windows-1258", "TCVN3", "ISO-8859-1", "utf-16"])
def test_a_declared_encoding_other_than_utf_8_is_refused(encoding: str) -> None:
    body = f'<?xml version="1.0" encoding="{encoding}"?>'.encode() + health_record(person())
    (found,) = read(body)
    assert (found.content, told(found), found.place.record) == (None, ["encoding"], 0)


def test_utf_16_is_refused() -> None:
    (found,) = read(health_record(person()).decode().encode("utf-16"))
    assert told(found) == ["encoding"]


def test_a_byte_order_mark_and_crlf_change_nothing() -> None:
    body = health_record(person())
    assert records(b"\xef\xbb\xbf" + body.replace(b"><", b">\r\n<"))[0].digest == records(body)[0].digest


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'


def test_a_document_type_is_refused() -> None:
    (found,) = read(BOMB + health_record(person(HOTEN="&b;")).replace(b"&amp;", b"&"))
    assert told(found) == ["document-type"]


def test_an_entity_inside_a_record_is_not_expanded_wherever_it_was_declared() -> None:
    body = health_record(person(HOTEN="&b;")).replace(b"&amp;", b"&")
    (found,) = read(body.replace(b"<BODY>", b"<BODY>" + b" " * 300_000 + BOMB))
    assert told(found) == ["not-well-formed"]


def test_an_outside_entity_inside_base64_is_refused() -> None:
    inner = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + total(HO_TEN="&a;").replace("&amp;", "&")
    body = dossier().replace(b"<DANHSACHHOSO>", f"<DANHSACHHOSO><HOSO>{file_part('XML1', inner)}</HOSO>".encode())
    found = read(body)[0]
    assert (found.content, told(found)) == (None, ["document-type"])
    assert found.problems[0].text[0].startswith("XML1: ")


def test_a_control_character_is_named() -> None:
    (found,) = read(health_record(person(HOTEN="An\x0b")))
    assert (told(found), found.problems[0].found) == (["control-character"], "0x0b")


@pytest.mark.parametrize(
    "inner",
    [
        "rác" + total(),
        total() + "rác",
        total() + "<KHAC/>",
        total(DIA_CHI="Thôn 3").replace("Thôn 3", "Thôn <b>3</b> cũ"),
    ],
)
def test_text_beside_elements_and_a_second_document_are_refused_and_not_dropped(inner: str) -> None:
    broken, whole = read(dossier(inner, total(MA_LK="LK2")))
    assert (told(broken), told(whole)) == (["not-well-formed"], [])


def test_a_record_too_deep_or_with_too_many_elements_is_refused() -> None:
    deep, wide = "<A>" * 100 + "</A>" * 100, "<A>1</A>" * 200_001
    body = health_record(f"<HOSOSUCKHOE>{deep}</HOSOSUCKHOE>", f"<HOSOSUCKHOE>{wide}</HOSOSUCKHOE>", person())
    found = read(body)
    assert [told(one) for one in found] == [["too-large"], ["too-large"], []]


def test_a_record_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir_server.records.xml_cuts.RECORD_LIMIT", 1 << 20)
    padding = "x" * (3 << 20)
    body = health_record(person(HOTEN="An"), person(HOTEN=padding), person(HOTEN="Dũng"))
    found = read(body)
    assert names(found) == ["An", None, "Dũng"]
    assert told(found[1]) == ["too-large"]


def test_base64_with_junk_refuses_its_dossier_and_names_the_table() -> None:
    body = dossier(total(), total(MA_LK="LK2")).replace(base64.b64encode(b"<TONG_HOP>")[:12], b"@@@@", 1)
    found = read(body)
    assert [told(one) for one in found] == [["base64"], []]
    assert "XML1" in found[0].problems[0].text[1]


def test_a_wrong_count_of_dossiers_is_told() -> None:
    found = read(dossier(total(), count=5))
    assert [told(one) for one in found] == [[], ["wrong-count"]]


def test_a_file_without_records_says_so() -> None:
    assert [told(one) for one in read(health_record())] == [["no-record"]]
    assert [told(one) for one in read(b"[]", "a.json")] == [["no-record"]]
    assert [told(one) for one in read(b"", "a.ndjson")] == [["no-record"]]


@pytest.mark.parametrize(("body", "name"), [(b"<Bundle/>", "a.xml"), (b"%PDF-1.4", "a.bin"), (b"", "a.xml")])
def test_a_file_of_another_kind_is_refused_with_what_is_known(body: bytes, name: str) -> None:
    (found,) = read(body, name)
    assert told(found) == ["unknown-format"]
    assert "GIAMDINHHS" in found.problems[0].allowed[0]


def test_records_far_apart_in_a_long_file_are_all_found() -> None:
    body = health_record(*(person(HOTEN=f"Người {n}", DIACHI_HIENTAI="x" * 5_000) for n in range(200)))
    assert names(read(body)) == [f"Người {n}" for n in range(200)]


class OneByteAtATime(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        return super().read(7 if size and size > 7 else size)


@pytest.mark.parametrize("name", ["a.xml", "a.json"])
def test_the_size_of_what_is_read_at_once_changes_nothing(name: str) -> None:
    body = health_record(person(HOTEN="An"), person(HOTEN="Dũng")) if name == "a.xml" else as_json(basic(), basic())
    slow = OneByteAtATime(body)
    at_once = read(body, name)
    piecemeal = list(read_stream(slow, name, FORMATS)) if name == "a.json" else _xml_piecemeal(body)
    assert [one.content for one in piecemeal] == [one.content for one in at_once]


def _xml_piecemeal(body: bytes) -> list[SourceRecord]:
    from fhir_server.records.xml_files import read_xml

    container = FORMATS.by_name["hssk831"].xml
    assert container is not None
    return list(read_xml(OneByteAtATime(body), "a.xml", container, "hssk831"))


def test_a_broken_json_record_harms_no_neighbour() -> None:
    good = as_json(basic())[1:-1]
    found = read(b"[" + good + b', {"ma_ho_so": "2",}, ' + good + b"]", "a.json")
    assert [told(one) for one in found] == [[], ["not-well-formed"], []]


def test_a_broken_line_harms_no_other_line() -> None:
    good = as_json(basic())[1:-1]
    found = read(good + b'\n{"ma_ho_so": "2\n\n' + good + b"\n[1]\n", "a.ndjson")
    assert [(one.place.line, told(one)) for one in found] == [
        (1, []),
        (2, ["not-well-formed"]),
        (4, []),
        (5, ["not-an-object"]),
    ]


def test_the_three_forms_of_the_basic_group_say_the_same() -> None:
    folder = FORMATS.by_name["basic"].folder / "examples"
    forms = [list(read_files([folder / name], FORMATS)) for name in ("record.json", "records.ndjson", "records.csv")]
    assert forms[0][0].content == forms[1][0].content == forms[2][0].content


def test_the_examples_satisfy_the_published_schema() -> None:
    format = FORMATS.by_name["basic"]
    (found,) = read_files([format.folder / "examples" / "record.json"], FORMATS)
    assert format.schema is not None
    assert format.schema.is_valid(found.content)


HEAD = b"loai_dong;ma_cskcb;ma_ho_so;ho_ten;ngay_sinh;gioi_tinh;loai;ten\n"


def test_csv_may_be_parted_by_semicolons_and_begin_with_a_byte_order_mark() -> None:
    body = b"\xef\xbb\xbf" + HEAD + "hanh_chinh;38280;1;Nguyễn Văn An;1985;1;;\ndi_ung;38280;1;;;;1;Aspirin\n".encode()
    (found,) = read(body, "a.csv")
    assert found.content == {
        "ma_cskcb": "38280",
        "ma_ho_so": "1",
        "hanh_chinh": {"ho_ten": "Nguyễn Văn An", "ngay_sinh": "1985", "gioi_tinh": "1"},
        "tien_su": {"di_ung": [{"loai": "1", "ten": "Aspirin"}]},
    }


def test_csv_lines_of_a_strange_kind_or_encoding_refuse_their_record_alone() -> None:
    lines = [b"la;38280;1;A;1985;1;;", b"hanh_chinh;38280;2;Ph\xf2ng;1985;1;;", b"hanh_chinh;38280;3;An;1985;1;;"]
    found = read(HEAD + b"\n".join(lines), "a.csv")
    assert [(one.place.line, told(one)) for one in found] == [(2, ["row-kind"]), (3, ["encoding"]), (4, [])]


def test_the_columns_or_members_of_a_file_tell_its_format() -> None:
    for name in ("doses.csv", "doses.ndjson"):
        found = list(read_files([FORMATS.by_name["tiemchung"].folder / "examples" / name], FORMATS))
        assert [(one.format, told(one)) for one in found] == [("tiemchung", [])] * 2
    assert read(b'{"ho_ten": "An"}', "a.json")[0].format == "basic"
    (alone,) = read(b'[{"ma_mui_tiem": "1", "ho_ten": "An"}]', "a.json")
    assert alone.format == "tiemchung"


def test_a_value_under_no_column_refuses_its_line_alone_and_two_columns_of_one_name_the_file() -> None:
    head = "ma_mui_tiem,ten_vac_xin,ngay_tiem,ten_co_so"
    lines = f"{head}\n1,BCG,01/02/2026,Trạm Y tế, xã A\n2,BCG,01/02/2026,Trạm Y tế,\n"
    broken, whole = read(lines.encode(), "a.csv")
    assert (told(broken), broken.problems[0].found, told(whole)) == (["not-well-formed"], "xã A", [])
    (refused,) = read(f"{head},ngay_tiem\n1,BCG,01/02/2026,A,02/02/2026\n".encode(), "a.csv")
    assert (told(refused), refused.problems[0].field) == (["not-well-formed"], "ngay_tiem")


def test_without_key_columns_every_line_is_a_record() -> None:
    found = read(b"ma_mui_tiem\tten_vac_xin\tngay_tiem\n1\tBCG\t01/02/2026\n1\tBCG\t01/02/2026\n", "a.csv")
    assert [(one.place.record, one.place.line) for one in found] == [(1, 2), (2, 3)]


def test_csv_without_its_key_columns_is_refused() -> None:
    (found,) = read(b"ho_ten,ngay_sinh\nAn,1985\n", "a.csv")
    assert told(found) == ["no-column"]


def test_a_folder_gives_its_record_files_in_order_and_no_others(tmp_path: Path) -> None:
    for name in ("b.xml", "a.json", "sub/c.csv", ".hidden.xml", "manifest.json", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in find_files([tmp_path])] == [
        "a.json",
        "b.xml",
        "sub/c.csv",
    ]


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(find_files([tmp_path / "none.xml"]))


def test_of_processes_that_share_files_one_takes_all_of_a_key(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_bytes(as_json(*(basic(ma_ho_so=str(number)) for number in range(60))))
    shares = [
        [one.place.record for one in read_files(find_files([tmp_path]), FORMATS, Share(number, 2))]
        for number in range(2)
    ]
    assert sorted(shares[0] + shares[1]) == sorted([*range(1, 61)] * 2)
    assert set(shares[0]).isdisjoint(shares[1])
    assert min(map(len, shares)) > 40


def _hidden(key: str, way: str) -> bytes:
    """A dossier whose key no glance finds, or not at its usual place."""
    plain = total(MA_LK=key)
    without = total(MA_LK=None)
    return {
        "in lines": dossier(plain, blanks=True),
        "behind a comment": dossier(plain.replace("<MA_LK>", "<!-- --><MA_LK>")),
        "by a reference": dossier(plain.replace("<MA_LK>L", "<MA_LK>&#76;")),
        "behind that of another": dossier(
            without.replace("</TONG_HOP>", f"<THEM><MA_LK>LK99</MA_LK></THEM>{element('MA_LK', key)}</TONG_HOP>")
        ),
        "in the second part": dossier(plain).replace(b"<HOSO>", b"<HOSO>" + file_part("XML7", "<A><B/></A>").encode()),
    }[way]


@pytest.mark.parametrize(
    "way", ["in lines", "behind a comment", "by a reference", "behind that of another", "in the second part"]
)
def test_one_process_takes_all_of_a_key_in_order_wherever_it_stands(tmp_path: Path, way: str) -> None:
    for number in range(20):
        (tmp_path / f"{number}-a.xml").write_bytes(dossier(total(MA_LK=f"LK{number}")))
        (tmp_path / f"{number}-b.xml").write_bytes(_hidden(f"LK{number}", way))
    files = list(find_files([tmp_path]))
    shares = [[Path(one.place.file) for one in read_files(files, FORMATS, Share(number, 2))] for number in range(2)]
    assert sorted(shares[0] + shares[1]) == files
    assert min(map(len, shares)) > 0
    for share in shares:
        assert [path.name.replace("b", "a") for path in share[1::2]] == [path.name for path in share[::2]]


def test_a_record_with_two_keys_is_told_by_one_process(tmp_path: Path) -> None:
    twice = [total(MA_LK=f"LK{number}").replace("</TONG_HOP>", "<MA_LK>X</MA_LK></TONG_HOP>") for number in range(20)]
    (tmp_path / "a.xml").write_bytes(dossier(*twice))
    found = [one for number in range(2) for one in read_files([tmp_path / "a.xml"], FORMATS, Share(number, 2))]
    assert sorted(one.place.record for one in found) == list(range(1, 21))


@pytest.mark.parametrize(("name", "gap"), [("a.ndjson", "\n"), ("a.json", ",\n"), ("a.json", "\n")])
def test_a_record_with_one_member_twice_is_refused_with_its_place_and_no_value_of_it_is_chosen(
    name: str, gap: str
) -> None:
    twice = '{"ma_ho_so": "H1", "hanh_chinh": {"ho_ten": "Xuân", "ho_ten": "An"}}'
    rows = gap.join([orjson.dumps(basic()).decode(), twice, orjson.dumps(basic(ma_ho_so="H2")).decode()])
    found = read((f"[{rows}]" if gap[0] == "," else rows).encode(), name)
    assert [one.content is not None for one in found] == [True, False, True]
    (problem,) = found[1].problems
    assert (problem.severity, problem.field, found[1].place.line) == ("error", "hanh_chinh/ho_ten", 2)
