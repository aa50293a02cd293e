"""The date that the resources of a type are ordered by: the one a reader of a record means by its date."""

from __future__ import annotations

# Resource type -> date parameters in order of preference. The first is over one element that does not repeat and
# can be searched through the order key; the others stand in for it when it is missing.
_DATES: dict[str, tuple[str, ...]] = {
    "AdverseEvent": ("date",),
    "AllergyIntolerance": ("date", "onset"),
    "Appointment": ("date",),
    "AuditEvent": ("date",),
    "CarePlan": ("date",),
    "CareTeam": ("date",),
    "Claim": ("created",),
    "ClaimResponse": ("created",),
    "ClinicalImpression": ("date",),
    "Communication": ("sent", "received"),
    "CommunicationRequest": ("authored",),
    "Composition": ("date",),
    "Condition": ("onset-date", "recorded-date"),
    "Consent": ("date",),
    "Contract": ("issued",),
    "DetectedIssue": ("identified",),
    "DeviceRequest": ("authored-on",),
    "DiagnosticReport": ("date", "issued"),
    "DocumentManifest": ("created",),
    "DocumentReference": ("date",),
    "Encounter": ("date",),
    "EpisodeOfCare": ("date",),
    "ExplanationOfBenefit": ("created",),
    "FamilyMemberHistory": ("date",),
    "Flag": ("date",),
    "Goal": ("start-date",),
    "ImagingStudy": ("started",),
    "Immunization": ("date",),
    "ImmunizationEvaluation": ("date",),
    "ImmunizationRecommendation": ("date",),
    "Invoice": ("date",),
    "List": ("date",),
    "MeasureReport": ("date",),
    "Media": ("created",),
    "MedicationAdministration": ("effective-time",),
    "MedicationDispense": ("whenhandedover", "whenprepared"),
    "MedicationRequest": ("authoredon",),
    "MedicationStatement": ("effective",),
    "NutritionOrder": ("datetime",),
    "Observation": ("date",),
    "Patient": ("birthdate",),
    "Person": ("birthdate",),
    "Procedure": ("date",),
    "Provenance": ("recorded",),
    "QuestionnaireResponse": ("authored",),
    "RelatedPerson": ("birthdate",),
    "RequestGroup": ("authored",),
    "RiskAssessment": ("date",),
    "Schedule": ("date",),
    "ServiceRequest": ("authored",),
    "Slot": ("start",),
    "Specimen": ("collected",),
    "SupplyRequest": ("date",),
    "Task": ("authored-on",),
    "VisionPrescription": ("datewritten",),
}


def primary_dates(type: str) -> tuple[str, ...]:
    """The codes of the date parameters that order a type, the preferred one first; empty for creation time."""
    return _DATES.get(type, ())


def primary_date(type: str) -> str | None:
    """The parameter whose beginning is the order key of a type, None when the creation time is."""
    return next(iter(primary_dates(type)), None)
