"""An OpenAPI 3.1 document of the FHIR endpoint, made from the route table and the capability statement."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from fhir_server.config import FHIR_VERSION
from fhir_server.definitions.capabilities import Capability
from fhir_server.routes import ROUTES, Route

Json = dict[str, Any]

_ID = {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"}
_OUTCOME = {"description": "what went wrong, as an OperationOutcome", "content": {}}
_BODIES = {"POST", "PUT", "PATCH"}
# What each interaction may answer besides an OperationOutcome.
_ANSWERS = {
    "GET": {"200": "the resource or bundle", "304": "the caller has this version"},
    "POST": {"200": "the bundle, or the resource that was there", "201": "created"},
    "PUT": {"200": "updated", "201": "created"},
    "PATCH": {"200": "patched"},
    "DELETE": {"200": "deleted", "204": "deleted, or nothing was there"},
}
_FAULTS = ("400", "403", "404", "405", "406", "408", "409", "410", "412", "413", "414", "415", "422", "503")


def paths(capability: Capability, base: str) -> Json:
    """The OpenAPI paths of every route, `{type}` being one of the declared resource types."""
    types = {"type": "string", "enum": sorted(capability.types)}
    return {_path(route, base): _operations(route, types) for route in ROUTES}


def _path(route: Route, base: str) -> str:
    words = {"Type": "{type}", "id": "{id}", "version": "{version}", "Other": "{other}"}
    return "/".join((base, *(words.get(word, word) for word in route.shape)))


def _operations(route: Route, types: Json) -> Json:
    parameters = [_parameter(word, types) for word in route.shape if word in ("Type", "id", "version", "Other")]
    made: Json = {"parameters": parameters} if parameters else {}
    for method, interaction in route.methods.items():
        if method != "HEAD":
            made[method.lower()] = _operation(method, interaction, route)
    return made


def _operation(method: str, interaction: Any, route: Route) -> Json:
    section = (interaction.__doc__ or "").strip().partition("\n")[0]
    made: Json = {
        "summary": interaction.__name__.replace("_", " "),
        "description": section,
        "responses": {
            **{status: {"description": text} for status, text in _ANSWERS[method].items()},
            **dict.fromkeys(_FAULTS, _OUTCOME),
        },
    }
    if method in _BODIES:
        made["requestBody"] = _body(route)
    return made


def _body(route: Route) -> Json:
    if route.shape[-1:] == ("_search",):
        return {"content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}}
    resource = {"type": "object", "properties": {"resourceType": {"type": "string"}}, "required": ["resourceType"]}
    return {"required": True, "content": {"application/fhir+json": {"schema": resource}}}


def _parameter(word: str, types: Json) -> Json:
    schemas: Mapping[str, Json] = {"Type": types, "id": _ID, "version": _ID, "Other": types}
    name = {"Type": "type", "Other": "other"}.get(word, word)
    return {"name": name, "in": "path", "required": True, "schema": schemas[word]}


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
