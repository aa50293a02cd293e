"""What is served beside FHIR: the start page, and whether the server is alive and ready."""

from __future__ import annotations

import os
from collections.abc import Callable
from html import escape
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, JSONResponse

from fhir_server.config import VERSION
from fhir_server.errors import FhirError
from fhir_server.http import openapi
from fhir_server.interactions.exchange import Context

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>FHIR server for Việt Nam</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 17px/1.6 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1.2rem; }}
h1 {{ font-size: 1.7rem; margin-bottom: 0; }}
.open {{ border-left: 4px solid #c60; padding: .3rem .9rem; margin: 1.4rem 0; }}
code {{ font-size: .9em; overflow-wrap: anywhere; }}
li {{ margin: .5rem 0; }}
</style></head><body>
<h1>FHIR server for Việt Nam</h1>
<p>HL7 FHIR R4 (4.0.1), version {version}. Base URL: <code>{base}</code></p>
{notice}
<ul>{links}</ul>
<p><a href="/docs">Every path and method</a> / <span lang="vi">mọi đường dẫn</span></p>
</body></html>"""

EXAMPLES = (
    ("metadata", "what this server can do", "những gì máy chủ này làm được"),
    ("Patient?name=nguyen van an", "people by name, with or without marks", "tìm người theo tên, có dấu hay không dấu"),
    ("Patient?_summary=count", "how many people there are", "có bao nhiêu người"),
    ("Condition?_include=Condition:patient&_count=5", "diagnoses with their patients", "chẩn đoán kèm người bệnh"),
    (
        "ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/administrative-gender",
        "the codes of a value set",
        "các mã của một tập giá trị",
    ),
    ("$records-changed?_since=2020-01-01&_count=1", "who has changed, to synchronise", "ai đã thay đổi, để đồng bộ"),
)


def pages(context_of: Callable[[], Context], document_of: Callable[[], dict[str, Any]]) -> APIRouter:
    """The routes beside /fhir. document_of: the OpenAPI document."""
    router = APIRouter()

    @router.get("/docs", response_class=HTMLResponse, summary="The interface, to read")
    async def docs() -> HTMLResponse:
        return HTMLResponse(openapi.page(document_of(), context_of().smart is None))

    @router.get("/", response_class=HTMLResponse, summary="The start page")
    async def start() -> HTMLResponse:
        base = context_of().base
        links = "".join(
            f'<li><a href="{escape(base)}/{escape(path.replace(" ", "%20"))}"><code>/{escape(path)}</code></a><br>'
            f'{escape(meaning)} / <span lang="vi">{escape(vietnamese)}</span></li>'
            for path, meaning, vietnamese in EXAMPLES
        )
        notice = openapi.notice(context_of().smart is None)
        return HTMLResponse(_PAGE.format(version=VERSION, base=escape(base), notice=notice, links=links))

    @router.get("/health", summary="The process answers")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "up", "version": VERSION, "process": os.getpid()})

    @router.get("/ready", summary="The database answers and its indexes and key generation are in place")
    async def ready() -> JSONResponse:
        try:
            return JSONResponse({"status": "ready", **await context_of().store.ready()})
        except FhirError as fault:
            return JSONResponse({"status": "not ready", "why": fault.diagnostics}, 503)

    return router
