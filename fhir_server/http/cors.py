"""Which web pages may call the server from a browser: none, unless the operator names their origins."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

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


def allow_origins(app: FastAPI, origins: str) -> None:
    """origins: `https://a.example, https://b.example`, or `*`, or nothing at all."""
    allowed = [origin.strip().rstrip("/") for origin in origins.split(",") if origin.strip()]
    if allowed:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allowed,
            allow_methods=METHODS,
            allow_headers=SENT,
            expose_headers=READ,
            max_age=PREFLIGHT_SECONDS,
        )
