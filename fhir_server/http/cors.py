"""Which web pages may call the server from a browser: none, unless the operator names their origins."""

from __future__ import annotations

from typing import Any

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# What a page may send beyond the simple headers, and what it may read beyond the simple ones: those FHIR gives meaning.
SENT = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-Modified-Since",
    "If-None-Exist",
    "If-None-Match",
    "Prefer",
    "X-Request-Id",
    "X-Security-Context",
)
READ = ("Content-Location", "ETag", "Expires", "Last-Modified", "Location", "Retry-After", "X-Progress", "X-Request-Id")
PREFLIGHT_SECONDS = 600


def allowed_origins(origins: str) -> dict[str, Any]:
    """What CORSMiddleware takes; {} when no page may call. origins: `https://a.example, https://b.example`, or `*`, or
    nothing at all."""
    allowed = [origin.strip().rstrip("/") for origin in origins.split(",") if origin.strip()]
    if not allowed:
        return {}
    return {
        "allow_origins": allowed,
        "allow_methods": METHODS,
        "allow_headers": SENT,
        "expose_headers": READ,
        "max_age": PREFLIGHT_SECONDS,
    }
