"""Records exported from the store into which they were imported: what a hospital sent is what it gets back."""

from __future__ import annotations

from pathlib import Path

import pytest
from records_desk import Desk
from records_round_trip import Sameness, day_of, filled
from records_sources import dossier, element, read, total

from fhir_server.config import DATA_ROOT
from fhir_server.records.export import export_of
from fhir_server.records.export_people import records_of
from fhir_server.records.files import find_files, read_files
from fhir_server.records.importing import formats_of, import_records
from fhir_server.records.record import map_record
from fhir_server.records.sample import write_sample
from fhir_server.records.source import Tree

XML6 = "XML6/DSACH_HO_SO_BENH_AN_CHAM_SOC_VA_DIEU_TRI_HIV_AIDS/HO_SO_BENH_AN_CHAM_SOC_VA_DIEU_TRI_HIV_AIDS"
XML15 = "XML15/DSACH_CHITIET_DIEUTRI_BENHLAO/CHITIET_DIEUTRI_BENHLAO"


EXAMPLES = DATA_ROOT / "mappings"
# Of one person, who moved between them and whose card was renewed and is for more.
CARD = {"MA_THE_BHYT": "DN4383820000123", "MA_DKBD": "38280", "GT_THE_TU": "20250101", "GT_THE_DEN": "20251231"}
RENEWED = {**CARD, "GT_THE_TU": "20260101", "GT_THE_DEN": "20261231", "NAM_NAM_LIEN_TUC": "20260101"}
VISITS = (
    total(NGAY_VAO="202503020815", NGAY_RA="202503020915", DIA_CHI="Thôn 1", DIEN_THOAI="0912000001", **CARD),
    total(MA_LK="LK2", DIA_CHI="Thôn 2", DIEN_THOAI=None, **RENEWED),
)
PLACES = {
    "basic.csv": EXAMPLES / "basic/examples/records.csv",
    "tiemchung.csv": EXAMPLES / "tiemchung/examples/doses.csv",
}


@pytest.fixture(scope="module")
def commune(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of generated records for each format, of one with restricted tables, and of two visits."""
    folder = tmp_path_factory.mktemp("commune")
    write_sample(24, 11, folder)
    tables = dict(map(table_of_one_row, (XML6, XML15)))
    for case, body in (("restricted", dossier(total(), **tables)), ("visits", dossier(*VISITS))):
        (folder / case).mkdir()
        (folder / case / "a.xml").write_bytes(body)
    return folder


def table_of_one_row(path: str) -> tuple[str, str]:
    """The name and the document of a table in which every field says something."""
    name, outer, inner = path.split("/")
    (visit,) = read(dossier(total()))
    assert visit.content is not None
    return name, element("TABLE", {outer: {inner: filled(name, visit.content["XML1"])}})


CASES = ("hssk831", "basic", "basic.csv", "bhxh", "visits", "restricted", "ksk", "tiemchung", "tiemchung.csv")


@pytest.mark.parametrize("case", CASES)
async def test_what_was_imported_is_exported_equal_in_every_mapped_field(desk: Desk, commune: Path, case: str) -> None:
    settings = desk.context.settings.model_copy(update={"restricted_tables": "hiv,tb"})
    context, formats, place = (
        desk.context.with_(settings=settings),
        formats_of(settings),
        PLACES.get(case, commune / case),
    )
    people: dict[tuple[str, int], str | None] = {}
    report = await import_records(
        context, [place], on_record=lambda one: people.update({(one.place.file, one.place.record): one.patient})
    )
    written: dict[str | None, list[Tree]] = {}
    for id in dict.fromkeys(filter(None, people.values())):
        async for made in records_of(context, export_of(formats.by_name[case_format(case)]), [id]):
            assert made.left == ()
            written.setdefault(id, []).append(made.content)
    sent = [
        map_record(formats.by_name[one.format], one) for one in read_files(find_files([place]), formats) if one.content
    ]
    assert len(sent) == report.stored == sum(map(len, written.values()))
    for record in sent:
        same = Sameness(record.format, day_of(record), record.facility)
        patient = people[record.source.place.file, record.source.place.record]
        assert same.of(record.source.content) in [same.of(one) for one in written[patient]], record.key


def case_format(case: str) -> str:
    return "bhxh" if case in ("restricted", "visits") else case.removesuffix(".csv")
