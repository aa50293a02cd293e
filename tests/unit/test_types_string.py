import unicodedata

import pytest
from search_index import Index

from fhir_server.errors import FhirError

LONG = "Lorem ipsum dolor sit amet " * 30


@pytest.fixture(scope="module", autouse=True)
def _stored(index: Index) -> None:
    def patient(id: str, *names: dict[str, object], **more: object) -> dict[str, object]:
        return {"resourceType": "Patient", "id": id, "name": list(names), **more}

    index.put(
        patient("an", {"text": "Nguyễn Văn An"}, address=[{"text": "12 Lê Lợi,P.Bến Nghé", "city": "Hồ Chí Minh"}]),
        patient("duc", {"family": "Nguyễn", "given": ["Đức"]}, address=[{"city": "New York", "line": ["1 Main St"]}]),
        patient("given-only", {"given": ["Văn", "Bình"]}),
        patient("family-only", {"family": "Carreno Quinones"}),
        patient("decomposed", {"family": unicodedata.normalize("NFD", "Trần")}),
        patient("comma", {"family": "Richard,Muller"}),
        patient("symbol", {"family": "?"}),
        patient("long", {"text": "Tôn Nữ Thị Hoàng Yến Huế"}),
        patient("nameless", address=[{"city": LONG + "end"}]),
        {"resourceType": "Organization", "id": "o1", "name": "Trạm Y tế xã Tân Hội"},
        {"resourceType": "Organization", "id": "o2", "name": "Bệnh viện Tân Hội", "alias": ["BV 1"]},
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=nguyễn văn an", {"an"}),
        ("name=an nguyen", {"an"}),
        ("name=NGUYEN", {"an", "duc"}),
        ("name=nguyen duc", {"duc"}),
        ("name=Nguyễn Đức", {"duc"}),
        ("name=ngu", {"an", "duc"}),
        ("name=nguyen van a", {"an"}),
        ("name=van a", {"an"}),
        ("name=nguyen an", {"an"}),
        ("name=van an nguyen", {"an"}),
        ("name=an an", set()),
        ("name=van tran", set()),
        ("name=ton nu thi hoang yen hue", {"long"}),
        ("name=hue yen ton", {"long"}),
        ("name=thi hoang y", {"long"}),
        ("name=yen ton nu thi hoang hue", {"long"}),
        ("name=yen ton nu thi hoang an", set()),
        ("name:exact=Tôn Nữ Thị Hoàng Yến Huế", {"long"}),
        ("given=binh van", {"given-only"}),
        ("given=van", {"given-only"}),
        ("name=guyen", set()),
        ("name=quinones", {"family-only"}),
        ("name=tran", {"decomposed"}),
        ("name=Trần", {"decomposed"}),
        ("name=muller", set()),
        ("name=Richard\\,Muller", {"comma"}),
        ("name=\\,", set()),
        ("name=?", {"symbol"}),
        ("name=an,binh", {"an", "given-only"}),
        ("family=NGUYEN", {"duc"}),
        ("family=an", set()),
        ("given=duc", {"duc"}),
        ("phonetic=nguyen", {"an", "duc"}),
        ("family:exact=Nguyễn", {"duc"}),
        ("family:exact=nguyễn", set()),
        ("family:exact=Nguyen", set()),
        ("family:exact=Ngu", set()),
        ("name:exact=Nguyễn Văn An", {"an"}),
        ("name:exact=Đức", {"duc"}),
        ("name:contains=guyễn v", {"an"}),
        ("name:contains=UYEN", {"an", "duc"}),
        ("name:contains=.*", set()),
        ("name:contains=$", set()),
        ("address=ben nghe", {"an"}),
        ("address=loi le", {"an"}),
        ("address=12 le lo", {"an"}),
        ("address=nghe", {"an"}),
        ("address=p ben nghe", {"an"}),
        ("address=le ben", {"an"}),
        ("address=le hoi", set()),
        ("address=ho chi minh", {"an"}),
        ("address-city=ho chi", {"an"}),
        ("address-city=chi", set()),
        ("address-city=new york", {"duc"}),
        ("address-city=york", set()),
        ("address-city:contains=york", {"duc"}),
        (f"address-city={LONG[:400]}", {"nameless"}),
        (f"address-city={LONG[:400]}x", set()),
        (f"address-city:exact={LONG}end", {"nameless"}),
        (f"address-city:exact={LONG}eND", set()),
        (f"address-city:contains={LONG[100:700]}", {"nameless"}),
        ("name:missing=true", {"nameless"}),
    ],
)
def test_names_are_found_by_any_word_and_parts_of_addresses_by_their_beginning(
    index: Index, query: str, found: set[str]
) -> None:
    assert index.find(f"Patient?{query}") == found


def test_other_texts_are_found_by_their_beginning(index: Index) -> None:
    assert index.find("Organization?name=tram y te") == {"o1"}
    assert index.find("Organization?name=tan hoi") == set()
    assert index.find("Organization?name:contains=TÂN HỘI") == {"o1", "o2"}
    assert index.find("Organization?name=bv") == {"o2"}


@pytest.mark.parametrize("query", ["name=", "name= ", "name:exact=", "name:below=an", "name:missing=1"])
def test_what_a_string_cannot_have_is_refused_by_name(index: Index, query: str) -> None:
    with pytest.raises(FhirError, match="name"):
        index.find(f"Patient?{query}")
