"""CPU of making index entries: `python bench/extract.py [ROUNDS]` prints µs, keys and bytes of a resource by type."""

from __future__ import annotations

import sys
import time
from itertools import product
from string import ascii_letters

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.model.registry import Registry, UnknownSystems
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.search.extract import Extractor
from fhir_server.store.values import Indexed

UCUM = "http://unitsofmeasure.org"
REPEATS = 7


def concept(system: str, code: str, display: str) -> Resource:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


PATIENT: Resource = {
    "resourceType": "Patient",
    "id": "0190a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b",
    "meta": {"profile": ["http://fhir.hl7.org.vn/core/StructureDefinition/vn-core-patient"]},
    "identifier": [
        {"use": "official", "system": "http://fhir.hl7.org.vn/core/sid/cccd", "value": "079085000123"},
        {"system": "http://fhir.hl7.org.vn/core/sid/bhyt", "value": "GD4797912345678"},
    ],
    "active": True,
    "name": [{"use": "official", "text": "Nguyễn Văn An", "family": "Nguyễn", "given": ["Văn", "An"]}],
    "telecom": [{"system": "phone", "value": "0912345678", "use": "mobile"}],
    "gender": "male",
    "birthDate": "1985-03-02",
    "address": [
        {
            "use": "home",
            "text": "12 Lê Lợi, Phường Bến Nghé, Thành phố Hồ Chí Minh",
            "line": ["12 Lê Lợi"],
            "district": "Phường Bến Nghé",
            "city": "Thành phố Hồ Chí Minh",
            "country": "VN",
        }
    ],
    "managingOrganization": {"reference": "Organization/79001"},
}
OBSERVATION: Resource = {
    "resourceType": "Observation",
    "id": "0190a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1c",
    "status": "final",
    "category": [
        concept("http://terminology.hl7.org/CodeSystem/observation-category", "vital-signs", "Dấu hiệu sinh tồn")
    ],
    "code": concept("http://loinc.org", "29463-7", "Cân nặng"),
    "subject": {"reference": "Patient/0190a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b"},
    "encounter": {"reference": "Encounter/0190a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1d"},
    "effectiveDateTime": "2025-03-02T08:30:00+07:00",
    "performer": [{"reference": "Practitioner/p1"}],
    "valueQuantity": {"value": 70.5, "unit": "kg", "system": UCUM, "code": "kg"},
}
CONDITION: Resource = {
    "resourceType": "Condition",
    "id": "0190a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1e",
    "clinicalStatus": concept("http://terminology.hl7.org/CodeSystem/condition-clinical", "active", "Active"),
    "verificationStatus": concept("http://terminology.hl7.org/CodeSystem/condition-ver-status", "confirmed", "Rõ"),
    "category": [
        concept("http://terminology.hl7.org/CodeSystem/condition-category", "encounter-diagnosis", "Chẩn đoán")
    ],
    "code": concept("http://hl7.org/fhir/sid/icd-10", "J45", "Hen phế quản"),
    "subject": {"reference": "Patient/0190a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b"},
    "encounter": {"reference": "Encounter/0190a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1d"},
    "onsetDateTime": "2024-11-05",
    "recordedDate": "2024-11-06",
}
IMMUNIZATION: Resource = {
    "resourceType": "Immunization",
    "id": "0190a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1f",
    "status": "completed",
    "vaccineCode": concept("urn:vn-basic:vaccines", "BCG", "Vắc xin phòng lao"),
    "patient": {"reference": "Patient/0190a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b"},
    "occurrenceDateTime": "1985-03-03",
    "lotNumber": "L-17",
}


def entry(extractor: Extractor, registry: Registry, resource: Resource) -> Indexed:
    while True:
        try:
            return extractor.index(resource, registry)
        except UnknownSystems as unknown:
            registry.systems.update({uri: len(registry.systems) + place for place, uri in enumerate(unknown.uris, 1)})


def main() -> None:
    rounds = int(sys.argv[1]) if sys.argv[1:2] not in ([], ["-v"]) else 2_000
    extractor = Extractor(Definitions.load(DATA_ROOT), "+07:00")
    registry = Registry()
    letters = ["".join(pair) for pair in product(ascii_letters, repeat=2)]
    for resource in (PATIENT, OBSERVATION, CONDITION, IMMUNIZATION):
        parsed = decode(encode(resource))
        names = sorted(extractor.declared(parsed["resourceType"]))
        registry.letters.update(zip(names, letters, strict=False))
        found = entry(extractor, registry, parsed)
        best = float("inf")
        for _ in range(REPEATS):
            start = time.process_time()
            for _ in range(rounds):
                extractor.index(parsed, registry)
            best = min(best, (time.process_time() - start) / rounds)
        size = sum(len(key.encode()) for key in found.keys)
        print(
            f"{parsed['resourceType']:14} {best * 1e6:6.1f} µs  {len(found.keys):3} keys of {size:5} B,"
            f" sort values {len(encode(found.sort)):5} B"
        )
        if "-v" in sys.argv:
            print(*sorted(map(repr, found.keys)), found.sort, sep="\n    ")


if __name__ == "__main__":
    main()
