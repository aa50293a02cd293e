"""Writes capability_statement.json anew from the R4 definitions: every type, interaction and search parameter.

An operator trims the result by hand: what is taken out is neither routed nor indexed.

usage: python scripts/build_capability_statement.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fhir_server.definitions.load import Definitions
from fhir_server.operations.table import ANY_TYPE, OPERATIONS, Operation

ROOT = Path(__file__).resolve().parent.parent

INTERACTIONS = (
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
)
# What clients may only look at: the record of accesses (FHIR: it is written by the server alone, once).
READ_ONLY = {"AuditEvent": ("read", "vread", "search-type")}
SYSTEM_INTERACTIONS = ("transaction", "batch", "history-system", "search-system")
COMPARTMENT = "http://hl7.org/fhir/CompartmentDefinition/"
NOT_SERVED = {"_query"}  # named queries, of which R4 defines none


def resource(definitions: Definitions, type: str) -> dict[str, Any]:
    params = {code: param for code, param in definitions.search_params(type).items() if code not in NOT_SERVED}
    includes = [f"{type}:{code}" for code, param in sorted(params.items()) if param.type == "reference"]
    written = {
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "referencePolicy": ["literal", "logical", "local"],
    }
    return {
        "type": type,
        "interaction": [{"code": code} for code in READ_ONLY.get(type, INTERACTIONS)],
        **({"versioning": "no-version", "conditionalRead": "full-support"} if type in READ_ONLY else written),
        "searchInclude": ["*", *includes],
        "searchRevInclude": rev_includes(definitions, type),
        "searchParam": [
            {"name": code, "definition": param.url, "type": param.type} for code, param in sorted(params.items())
        ],
        **operations(one for one in OPERATIONS if one.types == ANY_TYPE or type in one.types),
    }


def operations(of: Iterable[Operation]) -> dict[str, Any]:
    declared = [{"name": one.name, "definition": one.definition} for one in sorted(of, key=lambda one: one.name)]
    return {"operation": declared} if declared else {}


def rev_includes(definitions: Definitions, target: str) -> list[str]:
    return sorted(
        f"{source}:{code}"
        for source in definitions.resource_types
        for code, param in definitions.search_params(source).items()
        if param.type == "reference" and target in param.targets and source in param.base
    )


def statement(definitions: Definitions) -> dict[str, Any]:
    return {
        "resourceType": "CapabilityStatement",
        "name": "FhirServerVn",
        "title": "FHIR server for Vietnamese basic health records",
        "status": "active",
        "date": "2026-11-22",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "patchFormat": ["application/json-patch+json", "application/merge-patch+json", "application/fhir+json"],
        "rest": [
            {
                "mode": "server",
                "documentation": "Every R4 resource type; search is compiled to one MongoDB query.",
                "resource": [resource(definitions, type) for type in sorted(definitions.resource_types)],
                "interaction": [{"code": code} for code in SYSTEM_INTERACTIONS],
                "compartment": [
                    COMPARTMENT + code[0].lower() + code[1:] for code in sorted(definitions.compartment_codes)
                ],
                **operations(one for one in OPERATIONS if one.system),
            }
        ],
    }


def main() -> None:
    made = statement(Definitions.load(ROOT))
    lines = json.dumps(made, ensure_ascii=False, indent=1)
    (ROOT / "capability_statement.json").write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
