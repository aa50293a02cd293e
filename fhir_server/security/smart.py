"""What an app must know to get in: the SMART configuration (SMART App Launch 2, section "Conformance")."""

from __future__ import annotations

from typing import Any

from fhir_server.security.issuers import Issuer

CAPABILITIES = (
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
    "context-standalone-patient",
)
SCOPES = (
    "openid",
    "fhirUser",
    "patient/*.cruds",
    "user/*.cruds",
    "system/*.cruds",
    "sens/HIV",
    "sens/PSY",
    "conf/R",
    "operation/import-records",
    "operation/reindex",
)


def smart_configuration(issuers: tuple[Issuer, ...]) -> dict[str, Any]:
    """The document. Where there is one authorization server its own discovery says where to log in."""
    told: dict[str, Any] = {
        "capabilities": list(CAPABILITIES),
        "scopes_supported": list(SCOPES),
        "code_challenge_methods_supported": ["S256"],
        "grant_types_supported": ["authorization_code"] if issuers else [],
    }
    if issuers:
        told["issuer"] = issuers[0].issuer
    return told
