"""Writes docs/reference/search-parameters.md from the definitions and the capability statement.

usage: python scripts/build_search_reference.py
"""

from __future__ import annotations

from pathlib import Path

from fhir_server.definitions.capabilities import Capability
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.search_params import SearchParameter
from fhir_server.search.parameters import Parameters
from fhir_server.search.primary_dates import primary_dates

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "search-parameters.md"

HEAD = """# Search parameters

Made by `python scripts/build_search_reference.py` from the definitions in `profiles/` and from
`capability_statement.json`; do not edit it by hand. How to write a query, and which modifiers each type of parameter
takes: [Search](search.md).

*path*: what the parameter looks at, as FHIRPath. *to*: the types that a reference may point at, of those served. The
date that a type is ordered by, whose ranges are walked in the index itself, is marked ●.

"""
MANY = 30  # more target types than this are told as "any"


def main() -> None:
    definitions = Definitions.load(ROOT)
    parameters = Parameters(definitions, Capability.load(ROOT / "capability_statement.json"))
    PAGE.write_text(page(definitions, parameters), encoding="utf-8")


def page(definitions: Definitions, parameters: Parameters) -> str:
    """The whole page. Parameters that every type has are told once, in front."""
    common = {code: param for code, param in parameters.of("Patient").items() if code.startswith("_")}
    parts = [HEAD, "## Every type\n\n", *table(definitions, "Patient", common, parameters)]
    for type in parameters.types:
        own = {code: param for code, param in parameters.of(type).items() if code not in common}
        if own:
            parts += [f"\n## {type}\n\n", *table(definitions, type, own, parameters)]
    return "".join(parts)


def table(definitions: Definitions, type: str, params: dict[str, SearchParameter], parameters: Parameters) -> list[str]:
    rows = ["| parameter | type | path | to |\n", "|---|---|---|---|\n"]
    dates = primary_dates(type)[:1]
    for code, param in sorted(params.items()):
        mark = " ●" if (code,) == dates else ""
        path = components(definitions, param) if param.components else expression(param, type)
        rows.append(f"| `{code}`{mark} | {param.type} | {path} | {targets(param, parameters)} |\n")
    return rows


def targets(param: SearchParameter, parameters: Parameters) -> str:
    found = parameters.targets(param) if param.type == "reference" else ()
    return "any" if len(found) > MANY else ", ".join(found)


def components(definitions: Definitions, param: SearchParameter) -> str:
    """The parameters that a composite puts together, in the order of its values."""
    found = [definitions.search_param_by_url(part.definition) for part in param.components]
    return " $ ".join(f"`{part.code}`" for part in found if part is not None)


def expression(param: SearchParameter, type: str) -> str:
    """The branches of the expression that start with the type."""
    branches = [part.strip() for part in param.expression.split(" | ")]
    own = [part for part in branches if part.lstrip("(").startswith((f"{type}.", "Resource.", "DomainResource."))]
    text = " or ".join(f"`{part}`" for part in own or branches if part)
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
