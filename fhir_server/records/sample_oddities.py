"""The deliberate oddities of the sample: what real files have and naive converters break on, each at known places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fhir_server.records.population import HOSPITAL, Household, Person, personal_number
from fhir_server.records.sample_health import Disease, Dose, Health, Visit

Change = Callable[[Person, Health, Household], tuple[Person, Health]]
Fits = Callable[[Person, Health, Household], bool]


@dataclass(frozen=True, slots=True)
class Oddity:
    """form: hssk831, bhxh, basic, or "" for any. fits: whom it may befall; change: what it does to them. The writers do
    the rest when they find its name in Person.odd."""

    name: str
    vi: str
    en: str
    form: str
    fits: Fits
    change: Change


def _person(**values: object) -> Change:
    return lambda person, health, household: (replace(person, **values), health)  # type: ignore[arg-type]


def _same(person: Person, health: Health, household: Household) -> tuple[Person, Health]:
    return person, health


def _adult(person: Person, health: Health, household: Household) -> bool:
    return person.age() >= 18


def _old(person: Person, health: Health, household: Household) -> bool:
    return person.age() >= 60


def _anyone(person: Person, health: Health, household: Household) -> bool:
    return True


def _patient(person: Person, health: Health, household: Household) -> bool:
    """Has been in hospital."""
    return bool(health.hospital)


def _adult_patient(person: Person, health: Health, household: Household) -> bool:
    return bool(health.hospital) and person.age() >= 18


def _first_visit(**values: object) -> Change:
    def change(person: Person, health: Health, household: Household) -> tuple[Person, Health]:
        first = replace(health.hospital[0], **values)  # type: ignore[arg-type]
        return person, replace(health, hospital=(first, *health.hospital[1:]))

    return change


def _cmnd(person: Person, health: Health, household: Household) -> tuple[Person, Health]:
    return replace(person, cccd=None, cmnd=f"179{person.number:06d}"), health


def _passport(person: Person, health: Health, household: Household) -> tuple[Person, Health]:
    return replace(person, cccd=None, passport=f"Z{9_000_000 + person.number:07d}"), health


def _other_sex(person: Person, health: Health, household: Household) -> tuple[Person, Health]:
    other = replace(person, sex="1" if person.sex == "2" else "2")
    return replace(person, cccd=personal_number(other, "038")), health


def _other_year(person: Person, health: Health, household: Household) -> tuple[Person, Health]:
    other = replace(person, born=person.born.replace(year=person.born.year - 2, day=1))
    return replace(person, cccd=personal_number(other, "038")), health


def _partners_phone(person: Person, health: Health, household: Household) -> tuple[Person, Health]:
    partner = household.by_number(person.spouse)
    return replace(person, phone=partner.phone if partner else person.phone), health


def _card_is_cccd(person: Person, health: Health, household: Household) -> tuple[Person, Health]:
    return replace(person, card=person.cccd), health


def _card_is_bhxh(person: Person, health: Health, household: Household) -> tuple[Person, Health]:
    return replace(person, card=person.bhxh), health


def _newborn(person: Person, health: Health, household: Household) -> tuple[Person, Health]:
    """The stay in which the child was born, before it has papers."""
    born = datetime(person.born.year, person.born.month, person.born.day, 3, 17)
    model = next(iter(health.station + health.hospital))
    stay = Visit(
        key=f"{HOSPITAL}.{born.year % 100:02d}.{person.number:07d}9",
        facility=HOSPITAL,
        start=born,
        end=born + timedelta(days=3, hours=6),
        kind="03",
        category="1.7",
        reason="Sinh tại bệnh viện",
        code="Z38.0",
        name="Trẻ đẻ một, sinh ra trong bệnh viện",
        others=(),
        vitals=model.vitals,
        result="1",
    )
    return replace(person, cccd=None), replace(health, hospital=(stay,))


def _unknown_vaccine(person: Person, health: Health, household: Household) -> tuple[Person, Health]:
    given = health.doses[0].given
    dose = Dose("", "Vắc xin thử nghiệm XJ-7", 1, given, None, "", "")
    return person, replace(health, doses=(*health.doses, dose))


def _hiv(person: Person, health: Health, household: Household) -> tuple[Person, Health]:
    name = "Bệnh HIV dẫn đến bệnh nhiễm trùng"
    change = _first_visit(category="1.9", code="B20.9", name=name, kind="05", reason="Tái khám theo hẹn")
    return change(person, health, household)


def _death(person: Person, health: Health, household: Household) -> tuple[Person, Health]:
    """The first hospital visit is the last visit of all."""
    last = replace(health.hospital[0], result="5", discharge="1", kind="03")
    return person, replace(
        health,
        hospital=(last,),
        station=tuple(one for one in health.station if one.end < last.start),
        doses=tuple(one for one in health.doses if one.given and one.given < last.start.date()),
    )


def _long_prescription(person: Person, health: Health, household: Household) -> tuple[Person, Health]:
    """An outpatient visit that ends, by the rule of the insurer, when the medicine does."""
    first = health.hospital[0]
    last = (first.start + timedelta(days=29)).replace(hour=23, minute=59)
    return _first_visit(kind="05", end=last, reason="Tái khám theo hẹn", code="I10", name="Tăng huyết áp")(
        person, health, household
    )


def _spouse_has_phone(person: Person, health: Health, household: Household) -> bool:
    return person.role == "vo" and household.by_number(person.spouse) is not None


def _infant(person: Person, health: Health, household: Household) -> bool:
    return person.age() < 2 and person.mother is not None and bool(health.station + health.hospital)


def _insured(person: Person, health: Health, household: Household) -> bool:
    return person.card is not None and person.age() >= 18


def _former_disease(person: Person, health: Health, household: Household) -> tuple[Person, Health]:
    past = Disease("", "Bệnh lạ chưa có mã", "Bệnh lạ chưa có mã", "15", person.born + timedelta(days=6000), False)
    return person, replace(health, diseases=(*health.diseases, past))


ODDITIES = (
    Oddity("newborn-without-papers", "Trẻ sơ sinh ghi tên mẹ, thẻ tạm, đối tượng 1.7",
           "a newborn under the mother's name, with a temporary card", "bhxh", _infant, _newborn),
    Oddity("year-of-birth-only", "Chỉ biết năm sinh", "only the year of birth is known", "", _old, _same),
    Oddity("month-of-birth-only", "Chỉ biết tháng và năm sinh", "only month and year of birth are known", "",
           _old, _same),
    Oddity("cmnd", "CMND 9 số thay cho CCCD", "the former card of 9 digits in place of the number of 12",
           "", _old, _cmnd),
    Oddity("passport", "Hộ chiếu thay cho CCCD", "a passport in place of the number", "", _adult, _passport),
    Oddity("no-number", "Không có số giấy tờ nào", "no number of any kind", "", _anyone,
           _person(cccd=None, card=None)),
    Oddity("shared-phone", "Hai người chung một số điện thoại", "two people with one telephone",
           "", _spouse_has_phone, _partners_phone),
    Oddity("number-against-sex", "Số định danh không khớp giới tính", "the number's digit of sex is another",
           "", _adult, _other_sex),
    Oddity("number-against-year", "Số định danh không khớp năm sinh", "the number's year of birth is another",
           "", _adult, _other_year),
    Oddity("sex-not-determined", "Giới tính 3", "sex 3, not determined", "", lambda p, h, f: p.age() < 1,
           _person(sex="3", cccd=None)),
    Oddity("card-of-12-digits", "Thẻ BHYT là số định danh", "the card number is the personal number",
           "", _insured, _card_is_cccd),
    Oddity("card-of-10-digits", "Thẻ BHYT là mã số BHXH", "the card number is the social insurance number",
           "", _insured, _card_is_bhxh),
    Oddity("decomposed-name", "Tên ở dạng Unicode tổ hợp (NFD)", "a name in decomposed Unicode", "", _adult, _same),
    Oddity("upper-case-name", "Tên viết hoa toàn bộ", "a name in capitals", "", _adult, _same),
    Oddity("code-without-zero", "Mã dân tộc 1 thay cho 01", "ethnic group 1 for 01", "",
           lambda p, h, f: p.ethnic == "01", _person(ethnic="1")),
    Oddity("unknown-vaccine", "Vắc xin không có trong danh mục", "a vaccine that is in no list", "",
           lambda p, h, f: bool(h.doses) and h.doses[0].given is not None, _unknown_vaccine),
    Oddity("disease-without-code", "Bệnh chỉ có tên, đã khỏi", "a disease with a name alone, over", "",
           _adult, _former_disease),
    Oddity("empty-tags", "Có đủ mọi thẻ, nhiều thẻ rỗng", "every tag there, many of them empty", "hssk831",
           _anyone, _same),
    Oddity("address-before-2025", "Hồ sơ cũ, mã tỉnh huyện xã trước 01/07/2025",
           "an old record with the district and ward codes of before 2025-07-01", "hssk831", _adult, _same),
    Oddity("category-1.10", "Đối tượng 1.10, khác 1.1", "category 1.10, which is not 1.1", "bhxh",
           _adult_patient, _first_visit(category="1.10")),
    Oddity("account-in-place-of-number", "SO_CCCD là mã tài khoản định danh",
           "an account code where the number should be", "bhxh", _adult_patient, _person(cccd=None)),
    Oddity("visit-type-without-zero", "MA_LOAI_KCB ghi 1 thay cho 01", "visit type 1 for 01", "bhxh",
           _patient, _first_visit(kind="01")),
    Oddity("two-cards", "Hai thẻ BHYT trong một ô", "two cards in one field", "bhxh", _adult_patient, _same),
    Oddity("blanks-in-base64", "Base64 xuống dòng, BOM, CRLF", "base64 in lines, a BOM and CRLF inside", "bhxh",
           _patient, _same),
    Oddity("code-without-dot", "Mã bệnh không có dấu chấm", "ICD-10 codes without the dot", "bhxh", _patient, _same),
    Oddity("unknown-diagnosis", "Mã bệnh đúng dạng nhưng không có trong ICD-10",
           "a diagnosis code of ICD-10's shape that is in no list", "bhxh",
           _adult_patient, _first_visit(others=(("U98.7", "Chưa rõ"),))),
    Oddity("blood-group-in-words", "Nhóm máu ghi tự do", "the blood group in free text", "bhxh", _adult_patient, _same),
    Oddity("died-in-hospital", "Tử vong tại viện", "died in hospital", "bhxh",
           lambda p, h, f: p.age() >= 75 and bool(h.hospital), _death),
    Oddity("hiv", "Đối tượng 1.9, mã bệnh B20", "category 1.9 and code B20: restricted", "bhxh", _adult_patient, _hiv),
    Oddity("prescription-to-23:59", "Ngày ra là hết thuốc, 23:59", "the end is the last day of the medicine, 23:59",
           "bhxh", _adult_patient, _long_prescription),
    Oddity("decimal-comma", "Cân nặng dùng dấu phẩy", "a weight with a decimal comma", "basic",
           lambda p, h, f: bool(h.station), _same),
)  # fmt: skip


@dataclass(slots=True)
class Plan:
    """Spreads the oddities evenly and sparsely: each befalls the first person whom it fits once its turn has come."""

    people: int
    due: dict[str, int] = field(default_factory=dict)
    chosen: list[tuple[Oddity, int]] = field(default_factory=list)

    def choose(self, person: Person, health: Health, household: Household, form: str) -> Oddity | None:
        """The oddity of this person, if any; it is noted as chosen."""
        forms = {"", "basic" if form != "hssk831" else form, "bhxh" if health.hospital else ""}
        for place, oddity in enumerate(ODDITIES):
            due = self.due.get(oddity.name, place * 5)
            in_form = oddity.form in forms or (oddity.name == "newborn-without-papers")
            if person.number >= due and in_form and oddity.fits(person, health, household):
                self.due[oddity.name] = person.number + max(400, self.people // 20)
                self.chosen.append((oddity, person.number))
                return oddity
        return None

    def counts(self) -> Mapping[str, int]:
        """How often each came."""
        return {one.name: sum(1 for other, _ in self.chosen if other is one) for one in ODDITIES}
