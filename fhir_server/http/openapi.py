"""An OpenAPI 3.1 document of the FHIR endpoint, made from the route table and the capability statement."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from fhir_server.config import FHIR_VERSION
from fhir_server.definitions.capabilities import Capability
from fhir_server.errors import Kind
from fhir_server.routes import ROUTES, Route

Json = dict[str, Any]

FORMATS = ("application/fhir+json", "application/fhir+xml")
_ID = {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"}
_TEXT = {"type": "string"}
# Query parameters that take one of a few values.
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "_format": ("json", "xml", *FORMATS),
    "_pretty": ("true", "false"),
    "_summary": ("true", "text", "data", "false"),
    "mode": ("full", "normative", "terminology"),
}
_RESOURCE = {"type": "object", "properties": {"resourceType": {"type": "string"}}, "required": ["resourceType"]}
_OUTCOME = {
    "type": "object",
    "properties": {
        "resourceType": {"const": "OperationOutcome"},
        "issue": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["severity", "code"]},
        },
    },
    "required": ["resourceType", "issue"],
}
_LATER = {"202": "accepted; Content-Location tells where the answer will be (Prefer: respond-async)"}
# What each interaction answers when it does what was asked; all else is an OperationOutcome.
_ANSWERS: Mapping[str, Mapping[str, str]] = {
    "read": {"200": "the resource", "304": "the caller has this version"},
    "vread": {"200": "the version", "304": "the caller has it"},
    "search": {"200": "a searchset Bundle", **_LATER},
    "history": {"200": "a history Bundle"},
    "create": {"201": "created", "200": "the one that If-None-Exist matches"},
    "update": {"200": "updated, or unchanged", "201": "created"},
    "conditional_update": {"200": "updated, or unchanged", "201": "created"},
    "patch": {"200": "patched"},
    "conditional_patch": {"200": "patched"},
    "delete": {"204": "deleted, or nothing was there", "200": "the same, told in an OperationOutcome"},
    "conditional_delete": {"204": "deleted, or nothing matched", "200": "the same, told in an OperationOutcome"},
    "batch_or_transaction": {"200": "the response Bundle", **_LATER},
    "capabilities": {"200": "the CapabilityStatement, or the TerminologyCapabilities"},
    "deferred_answer": {"200": "a Bundle with the answer", "202": "not done yet"},
    "cancel_deferred": {"202": "stopped and forgotten"},
}
_OF_OPERATION = {"200": "the result"}
_FAULTS = sorted({str(kind.status) for kind in Kind})
_WRITES = ("create", "update", "conditional_update", "patch", "conditional_patch", "batch_or_transaction")
# Headers that R4 gives a meaning to, by the interactions that heed them.
_HEADERS: Mapping[str, tuple[str, ...]] = {
    "If-None-Match": ("read", "vread", "update"),
    "If-Modified-Since": ("read", "vread"),
    "If-Match": ("update", "conditional_update", "patch", "conditional_patch", "delete"),
    "If-None-Exist": ("create",),
    "Idempotency-Key": (*_WRITES, "delete", "conditional_delete"),
    "Prefer": (*_WRITES, "delete", "conditional_delete", "search"),
}
# Query parameters by the interactions that know them; a search and a condition take those of the type.
_QUERIES: Mapping[str, tuple[str, ...]] = {
    "read": ("_summary", "_elements"),
    "vread": ("_summary", "_elements"),
    "history": ("_count", "_since", "_at"),
    "capabilities": ("mode",),
}
_BY_CRITERIA = ("search", "conditional_update", "conditional_patch", "conditional_delete")


def paths(capability: Capability, base: str) -> Json:
    """The OpenAPI paths of every route, `{type}` being one of the declared resource types."""
    types = {"type": "string", "enum": sorted(capability.types)}
    return {_path(route, base): _operations(route, types) for route in ROUTES}


def with_refusals(path: Json) -> Json:
    """A path of FastAPI's own, with what it may refuse, which FastAPI does not tell."""
    told = {"4XX": {"description": "refused"}, "503": {"description": "the database does not answer"}}
    return {
        method: {**operation, "responses": {**told, **operation["responses"]}} for method, operation in path.items()
    }


def _path(route: Route, base: str) -> str:
    words = {"Type": "{type}", "id": "{id}", "version": "{version}", "Other": "{other}"}
    return "/".join((base, *(words.get(word, word) for word in route.shape)))


def _operations(route: Route, types: Json) -> Json:
    parameters = [_in_path(word, types) for word in route.shape if word in ("Type", "id", "version", "Other")]
    made: Json = {"parameters": parameters} if parameters else {}
    for method, interaction in route.methods.items():
        if method != "HEAD":
            made[method.lower()] = _operation(method, interaction, route)
    return made


def _operation(method: str, interaction: Any, route: Route) -> Json:
    name = interaction.__name__
    section = (interaction.__doc__ or "").strip().partition("\n")[0]
    answers = _ANSWERS.get(name, _OF_OPERATION)
    made: Json = {
        "operationId": "-".join((method.lower(), *(word.strip("_$") for word in route.shape))),
        "summary": name.replace("_", " "),
        "description": section,
        "parameters": [*_headers(name), *_queries(name)],
        "responses": {
            **{status: _answer(status, text) for status, text in answers.items()},
            **{status: _refusal() for status in _FAULTS},
        },
    }
    if method in ("POST", "PUT", "PATCH"):
        made["requestBody"] = _body(method, route)
    return made


def _answer(status: str, text: str) -> Json:
    if status in ("202", "204", "304"):
        return {"description": text}
    return {"description": text, "content": {FORMATS[0]: {"schema": _RESOURCE}, FORMATS[1]: {"schema": _TEXT}}}


def _refusal() -> Json:
    content = {FORMATS[0]: {"schema": _OUTCOME}, FORMATS[1]: {"schema": _TEXT}}
    return {"description": "why not, as an OperationOutcome", "content": content}


def _body(method: str, route: Route) -> Json:
    if route.shape[-1:] == ("_search",):
        form = {"type": "object", "additionalProperties": _TEXT}
        return {"content": {"application/x-www-form-urlencoded": {"schema": form}}}
    content: Json = {FORMATS[0]: {"schema": _RESOURCE}, FORMATS[1]: {"schema": _TEXT}}
    if method == "PATCH":
        content["application/json-patch+json"] = {"schema": {"type": "array", "items": {"type": "object"}}}
        content["application/merge-patch+json"] = {"schema": {"type": "object"}}
    return {"required": route.operation is None, "content": content}


def _in_path(word: str, types: Json) -> Json:
    version = {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"}
    schemas: Mapping[str, Json] = {"Type": types, "id": _ID, "version": version, "Other": types}
    name = {"Type": "type", "Other": "other"}.get(word, word)
    return {"name": name, "in": "path", "required": True, "schema": schemas[word]}


def _headers(interaction: str) -> list[Json]:
    names = [name for name, heeding in _HEADERS.items() if interaction in heeding]
    return [{"name": name, "in": "header", "schema": _TEXT} for name in names]


def _queries(interaction: str) -> list[Json]:
    names = ("_format", "_pretty", *_QUERIES.get(interaction, ()))
    made: list[Json] = [
        {"name": name, "in": "query", "schema": {"enum": list(_CHOICES[name])} if name in _CHOICES else _TEXT}
        for name in names
    ]
    if interaction in _BY_CRITERIA:
        criteria = {"type": "object", "additionalProperties": _TEXT}
        how = {"style": "form", "explode": True}
        made.append({"name": "criteria", "in": "query", "schema": criteria, **how})
    return made


OPEN = """<p class="open"><strong>Open mode.</strong> Nobody is asked who they are: everyone who reaches this address
reads and writes everything. / <strong>Chế độ mở:</strong> mọi người truy cập được địa chỉ này đều đọc và ghi được dữ
liệu.</p>"""
CLOSED = """<p>An access token is needed; <a href="/.well-known/smart-configuration">how an app gets one</a>.</p>"""


def notice(is_open: bool) -> str:
    """What every page says of who is let in."""
    return OPEN if is_open else CLOSED


def page(document: Json, is_open: bool) -> str:
    """The document as one plain HTML page that needs nothing from elsewhere."""
    rows = "".join(
        f"<tr><td><code>{method.upper()}</code></td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation.get('summary', ''))}</td><td>{escape(operation.get('description', ''))}</td></tr>"
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    )
    return _PAGE.format(
        title=escape(document["info"]["title"]), version=FHIR_VERSION, rows=rows, notice=notice(is_open)
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: interface</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
td {{ border-top: 1px solid #8884; padding: .4rem .6rem .4rem 0; vertical-align: top; }}
code {{ white-space: nowrap; }}
.open {{ border-left: 4px solid #c60; padding: .3rem .9rem; margin: 1.4rem 0; }}
</style></head><body>
<h1>{title}</h1>
<p>HL7 FHIR R4 ({version}). The same as <a href="/openapi.json">OpenAPI JSON</a>; what each resource type offers is in
<a href="/fhir/metadata?_pretty=true">the capability statement</a>.</p>
{notice}
<table>{rows}</table>
</body></html>"""
