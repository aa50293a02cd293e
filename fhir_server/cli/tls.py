"""TLS of the server itself, where no proxy ends it: what uvicorn needs for it, looked at before anything is started."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from fhir_server.cli.faults import WRONG_USE, CannotRun
from fhir_server.config import Settings


def tls_options(settings: Settings) -> dict[str, Any]:
    """Options of uvicorn.Config; {} for plain HTTP. TLS 1.2 and 1.3 are spoken. With FHIR_TLS_CLIENT_CA only clients
    with a certificate of that authority are let in. Raises CannotRun for files that do not fit."""
    if settings.tls_certificate is None:
        if settings.tls_key is not None or settings.tls_client_ca is not None:
            raise CannotRun("FHIR_TLS_KEY and FHIR_TLS_CLIENT_CA need FHIR_TLS_CERTIFICATE.", WRONG_USE)
        return {}
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        made.load_cert_chain(settings.tls_certificate, settings.tls_key, _no_password)
        if settings.tls_client_ca is not None:
            made.load_verify_locations(settings.tls_client_ca)
    except (OSError, ValueError) as fault:  # ssl.SSLError is an OSError
        raise CannotRun(f"{_named(settings)}: {_reason(fault)}.", WRONG_USE) from None
    options: dict[str, Any] = {"ssl_certfile": settings.tls_certificate, "ssl_keyfile": settings.tls_key}
    if settings.tls_client_ca is not None:
        options |= {"ssl_ca_certs": settings.tls_client_ca, "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return options


def _no_password() -> str:
    """Without it OpenSSL would ask on the terminal, where nobody may be."""
    raise ValueError("the key has a password; give one without, readable by the server's account alone")


def _named(settings: Settings) -> str:
    names: tuple[Path | None, ...] = (settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    return "TLS with " + ", ".join(str(name) for name in names if name is not None)


def _reason(fault: Exception) -> str:
    if isinstance(fault, ssl.SSLError):
        return (fault.reason or "no PEM file").replace("_", " ").lower()
    return fault.strerror or str(fault) if isinstance(fault, OSError) else str(fault)
