"""Arithmetic, dates, times and quantities in invariants, each as FHIRPath N1 has it: true, false or empty."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from profile_builders import BASE, DEFINITIONS, a_patient, a_profile, a_validator, error, faults

from fhir_server.definitions.fhirpath import FhirPathError
from fhir_server.model.resources import Digits, Resource
from fhir_server.validation import moments
from fhir_server.validation.fhirpath import compile_condition
from fhir_server.validation.items import Environment

UCUM = "http://unitsofmeasure.org"
PATIENT: Resource = a_patient(
    birthDate="2020-02-29",
    deceasedDateTime="2021-01-01T10:00:00+07:00",
    multipleBirthInteger=2,
    extension=[{"url": "http://a.b", "valueQuantity": {"value": Digits("2.50"), "system": UCUM, "code": "kg"}}],
)


def holds(expression: str, value: Resource = PATIENT, zone: str = "+07:00") -> bool | None:
    test = compile_condition(DEFINITIONS, expression, value["resourceType"], "", zone)
    return test([value], Environment(value, value))


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("7 + 2 * 3 = 13", True),
        ("multipleBirth * 2 = 5", False),
        ("multipleBirth + deceased.ofType(boolean) = 2", None),
        ("0.1 + 0.2 = 0.3", True),
        ("5 - 7 = -2 and -multipleBirth = -2", True),
        ("1 / 4 = 0.25", True),
        ("1 / 0 = 0", None),
        ("-7 div 2 = -3 and -7 mod 2 = -1 and 5.5 div 0.7 = 7", True),
        ("7 div 0 = 0", None),
        ("7 mod 0 = 0", None),
        ("999999999999999999 * 999999999999999999 = 1", None),
        ("true + 1 = 2", None),
        ("'a' + 'b' = 'ab'", True),
        ("'a' + {} = 'a'", None),
        ("'a' & {} = 'a'", True),
        ("@2012-01-01 = @2012-01-01 and @2012-01-01 != @2013", True),
        ("@2012-01-01 = @2012-02", False),
        ("@2012-01-01 = @2012-01", None),
        ("@2012-01-01 != @2012", None),
        ("birthDate = @2020-02-29", True),
        ("birthDate < @2020-03 and birthDate >= @2020-02-29", True),
        ("birthDate > @2020-03", False),
        ("birthDate > @2020", None),
        ("deceased < @2021-01-02 and deceased = @2021-01-01T03:00:00Z", True),
        ("deceased = @2021-01-01T10:00", None),
        ("deceased <= @2021-01-01", None),
        ("@2021-01-01T10:00:00 = deceased", True),  # in the zone of the server
        ("@T12:00:00 = @T12:00:00.0 and @T12:00 < @T12:30", True),
        ("@T12:00 > @T12:30", False),
        ("@T12:00 < @T12:00:30", None),
        ("@T12:00 < @2020", None),
        ("today() = 'x'", False),
        ("1 = @2020", False),
        ("4 days > 3 days and 1 'kg' <= 1.0 'kg' and 1 year = 1 'a'", True),
        ("4 'kg' < 3 'kg'", False),
        ("4 'kg' = 4 'g'", None),
        ("extension.value.ofType(Quantity) > 2 'kg' and extension.value.ofType(Quantity) = 2.5 'kg'", True),
        ("extension.value.ofType(Quantity) > 2 'g'", None),
        ("1 'kg' + 2 'kg' = 3 'kg' and 1 'kg' - 2 'kg' = -1 'kg'", True),
        ("1 'kg' + 2 'g' = 3 'kg'", None),
    ],
)
def test_operators_give_true_false_or_empty(expression: str, result: bool | None) -> None:
    assert holds(expression) is result


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("birthDate + 1 year = @2021-02-28", True),
        ("birthDate - 12 months = @2019-02-28", True),
        ("@2020-01-31 + 1 month = @2020-02-29 and @2019-12-31 + 1 day = @2020-01-01", True),
        ("@2020-01-01 + 2 weeks = @2020-01-15 and @2020-01-01 + 47 hours = @2020-01-02", True),
        ("@2014 + 24 months = @2016 and @2014 + 23 months = @2015", True),
        ("@2014-03 + 31 days = @2014-04", True),
        ("@2020-01-01T12:00Z + 90 seconds = @2020-01-01T12:01Z", True),
        ("@2020-01-01T12:00:00Z + 1.5 seconds = @2020-01-01T12:00:01.5Z", True),
        ("deceased + 14 hours = @2021-01-02T00:00:00+07:00", True),
        ("@T23:30 + 1 hour = @T00:30", True),
        ("@T23:30 + 1 day = @T23:30", None),
        ("deceased > birthDate + 1 year", False),
        ("@9999-12-31 + 1 day > @2020", None),
        ("@0001-01-01 - 1 month < @2020", None),
        ("birthDate + 99999999999999999 years > @2020", None),
        ("birthDate + 1 'kg' > @2020", None),
        ("birthDate + 1 > @2020", None),
        ("'x' + 1 day > @2020", None),
        ("gender + 1 day > @2020", None),
    ],
)
def test_dates_move_by_durations_and_keep_their_precision(expression: str, result: bool | None) -> None:
    assert holds(expression) is result


def test_today_is_the_day_of_the_zone_and_now_the_same_throughout(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        reads = 0

        @classmethod
        def now(cls, tz: Any = None) -> Clock:
            cls.reads += 1
            return cls(2026, 11, 22, 18, 30, cls.reads, tzinfo=moments.timezone.utc).astimezone(tz)

    monkeypatch.setattr(moments, "datetime", Clock)
    for zone, day, time in (("+07:00", "2026-11-23", "01:30"), ("Z", "2026-11-22", "18:30")):
        assert holds(f"today() = @{day}", zone=zone) is True
        assert holds(f"timeOfDay() > @T{time}:00 and timeOfDay() < @T23:00", zone=zone) is True
    assert holds("now() = now() and now() > @2026-11-22T18:30:00Z and now() < @2026-11-22T18:31Z") is True
    assert holds("birthDate <= today()") is True
    assert holds("birthDate > today()") is False
    assert holds("birthDate <= today()", a_patient(birthDate="2026-11")) is None, "the month is not over"
    assert holds("gender <= today()") is None
    assert holds("birthDate <= today() - 6 years") is True
    assert holds("birthDate <= today() - 18 years") is False


ITEMS: Resource = {
    "resourceType": "Questionnaire",
    "item": [{"linkId": "1", "item": [{"linkId": "1.1", "item": [{"linkId": "1.1.1"}]}]}, {"linkId": "2"}],
}


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("repeat(item).count() = 4", True),
        ("repeat(item).linkId.isDistinct() and repeat(item).where(item.empty()).linkId contains '1.1.1'", True),
        ("item.repeat(item).count() = 2", True),
        ("repeat(item).linkId contains '3'", False),
        ("repeat(code).display = 'x'", None),
        ("repeat(children()).count() = 8", True),
        ("repeat(item | code).count() = 4", True),
    ],
)
def test_repeat_goes_down_until_nothing_new_is_there(expression: str, result: bool | None) -> None:
    assert holds(expression, ITEMS) is result


@pytest.mark.parametrize(
    "expression",
    [
        "repeat($this & 'x').exists()", "repeat('x' + linkId).exists()", "repeat(item.repeat(item)).exists()",
        "repeat(item.where(repeat(item).exists())).exists()", "repeat(a, b)", "@2020-13-01 = @2020",
        "@2021-02-29 = @2020", "@2020-01-01T12 = @2020", "@T25:00 = @T12:00", "1 kg = 1 'kg'",
    ],
)  # fmt: skip
def test_what_would_not_end_or_is_no_date_is_refused_when_it_is_compiled(expression: str) -> None:
    with pytest.raises(FhirPathError):
        compile_condition(DEFINITIONS, expression, "Questionnaire")


def test_a_profile_holds_a_resource_to_the_day_of_today() -> None:
    rule = {"key": "p-1", "severity": "error", "human": "x", "expression": "birthDate <= today() - 18 years"}
    validator = a_validator(a_profile("p", "Patient", {"id": "Patient", "constraint": [rule]}))
    assert validator.problems(BASE + "p") == ()
    assert faults(validator, a_patient(birthDate="1970-01-01")) == []
    assert faults(validator, a_patient(birthDate=str(datetime.now().year))) == error("invariant", "Patient")


def a_bundle(**patient: Any) -> Resource:
    visit = {"resourceType": "Encounter", "subject": {"reference": "urn:uuid:1"}}
    entries = [{"resource": visit}, {"fullUrl": "urn:uuid:1", "resource": a_patient(**patient)}]
    return {"resourceType": "Bundle", "entry": entries}


def test_resolve_follows_a_reference_to_the_entry_of_its_full_url() -> None:
    expression = "entry.resource.ofType(Encounter).subject.resolve().all(active = true)"
    rule = {"key": "b-1", "severity": "error", "human": "x", "expression": expression}
    validator = a_validator(a_profile("p", "Bundle", {"id": "Bundle", "constraint": [rule]}))
    assert faults(validator, a_bundle(active=True)) == []
    assert faults(validator, a_bundle(active=False)) == error("invariant", "Bundle")


def test_the_target_of_a_reference_is_held_to_its_profile_where_the_bundle_has_it() -> None:
    slicing = {"discriminator": [{"type": "type", "path": "resource"}], "rules": "open"}
    rows = [
        {"id": "Bundle.entry", "slicing": slicing},
        {"id": "Bundle.entry:e"},
        {"id": "Bundle.entry:e.resource", "type": [{"code": "Encounter", "profile": [BASE + "e"]}]},
    ]
    target = {"code": "Reference", "targetProfile": [BASE + "active"]}
    visit = a_profile("e", "Encounter", {"id": "Encounter.subject", "type": [target]})
    # What refers to each other ends: the patient's own references are not followed.
    back = {"code": "Reference", "targetProfile": [BASE + "active"]}
    elements = [{"id": "Patient.active", "fixedBoolean": True, "min": 1}, {"id": "Patient.link.other", "type": [back]}]
    validator = a_validator(a_profile("p", "Bundle", *rows), visit, a_profile("active", "Patient", *elements))
    link = [{"other": {"reference": "urn:uuid:1"}, "type": "seealso"}]
    assert faults(validator, a_bundle(active=True, link=link)) == []
    assert faults(validator, a_bundle(active=False)) == error("structure", "Bundle.entry[0].resource.subject.reference")
