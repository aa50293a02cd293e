"""FHIR packages for tests: a small guide with the defects of a real draft, as a folder or as a .tgz."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CORE = "http://hl7.org/fhir/StructureDefinition/"
BASE = "http://guide.example.vn/core"
ETHNIC = f"{BASE}/CodeSystem/ethnic"


def manifest(name: str = "example.vn.core", version: str = "1.0.0", **more: Any) -> dict[str, Any]:
    made = {"name": name, "version": version, "fhirVersions": ["4.0.1"], "dependencies": {"hl7.fhir.r4.core": "4.0.1"}}
    return made | more


def rows_of(elements: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Elements of a differential; the path and the slice name of each follow from its id."""
    rows = []
    for element in elements:
        path = ".".join(part.partition(":")[0] for part in element["id"].split("."))
        slice_name = element["id"].rpartition(".")[2].partition(":")[2]
        rows.append({"path": path, **({"sliceName": slice_name} if slice_name else {}), **element})
    return rows


def a_profile(name: str, type: str, *elements: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A StructureDefinition."""
    return {
        "resourceType": "StructureDefinition", "id": name, "url": f"{BASE}/StructureDefinition/{name}",
        "version": "1.0.0", "name": "Example", "status": "draft", "kind": "resource", "abstract": False, "type": type,
        "baseDefinition": CORE + type, "derivation": "constraint",
        "differential": {"element": rows_of(elements)}, **more,
    }  # fmt: skip


# As the Ministry's draft has it: XML, narrative without text, a parent that is not there, a discriminator of which no
# slice says anything, an identifier system that no NamingSystem names.
PATIENT_XML = f"""<StructureDefinition xmlns="http://hl7.org/fhir">
<id value="example-patient"/>
<text><status value="empty"/><div xmlns="http://www.w3.org/1999/xhtml"/></text>
<url value="{BASE}/StructureDefinition/example-patient"/><version value="1.0.0"/><name value="ExamplePatient"/>
<status value="draft"/><fhirVersion value="4.0.1"/><kind value="resource"/><abstract value="false"/>
<type value="Patient"/><baseDefinition value="http://hl7.org/fhir/uv/ips/StructureDefinition/Patient-uv-ips"/>
<derivation value="constraint"/>
<differential>
<element id="Patient.identifier"><path value="Patient.identifier"/><slicing>
<discriminator><type value="value"/><path value="system"/></discriminator>
<discriminator><type value="value"/><path value="value"/></discriminator><rules value="open"/></slicing></element>
<element id="Patient.identifier:cccd"><path value="Patient.identifier"/><sliceName value="cccd"/><max value="1"/>
</element>
<element id="Patient.identifier:cccd.type"><path value="Patient.identifier.type"/><fixedCodeableConcept><coding>
<system value="http://terminology.hl7.org/CodeSystem/v2-0203"/><code value="NI"/>
<display value="National unique individual identifier"/></coding></fixedCodeableConcept></element>
<element id="Patient.identifier:cccd.system"><path value="Patient.identifier.system"/><min value="1"/>
<fixedUri value="{BASE}/sid/national_id"/></element>
<element id="Patient.name.text"><path value="Patient.name.text"/><min value="1"/></element>
<element id="Patient.maritalStatus"><path value="Patient.maritalStatus"/><binding><strength value="required"/>
<valueSet value="{BASE}/ValueSet/ethnic"/></binding></element>
</differential></StructureDefinition>"""

CODE_SYSTEM = {
    "resourceType": "CodeSystem", "id": "ethnic", "url": ETHNIC, "version": "1.0.0", "status": "draft",
    "content": "complete",
    "concept": [{"code": "01", "display": "Kinh", "definition": ""}, {"code": "02", "display": "Tày"}],
}  # fmt: skip
VALUE_SET = {
    "resourceType": "ValueSet", "id": "ethnic", "url": f"{BASE}/ValueSet/ethnic", "version": "1.0.0",
    "status": "draft", "compose": {"include": [{"system": ETHNIC}]},
}  # fmt: skip
NAMING = {
    "resourceType": "NamingSystem", "id": "sid_national", "name": "N", "status": "draft", "kind": "identifier",
    "date": "2021", "uniqueId": [{"type": "uri", "value": f"{BASE}/sid/national-id"}],
}  # fmt: skip


def a_guide() -> dict[str, Any]:
    """File name → content of a draft guide."""
    return {
        "package.json": manifest(canonical=BASE, dependencies={"hl7.fhir.uv.ips": "1.0.0"}, title="Guide"),
        "StructureDefinition.patient.xml": PATIENT_XML,
        "CodeSystem.json": CODE_SYSTEM,
        "ValueSet.json": VALUE_SET,
        "NamingSystem.json": NAMING,
        "Patient-example.json": {"resourceType": "Patient", "id": "example"},
    }


def folder(path: Path, files: Mapping[str, Any]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).write_bytes(as_bytes(content))
    return path


def archive(path: Path, files: Mapping[str, Any], inside: str = "package/") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            body = as_bytes(content)
            member = tarfile.TarInfo(inside + name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return path


def as_bytes(content: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    return content.encode() if isinstance(content, str) else json.dumps(content).encode()
