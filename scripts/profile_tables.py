"""Writes docs/reference/profiles.md (our profiles and the source fields of each rule) and docs/reference/guides.md.

The second has each rule of both guides beside ours, and why ours is wider or narrower.

python scripts/profile_tables.py          writes the pages
python scripts/profile_tables.py --check  exits 1 when a page is not what profiles/ says, or a difference has no reason
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import ProfileElement, Profiles, shipped_profiles
from fhir_server.definitions.structures import Element
from fhir_server.validation.patterns import has_pattern

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "reference"
OURS = "urn:vn-basic:StructureDefinition:"
DEFINITIONS = Definitions.load(DATA_ROOT)
SHIPPED = shipped_profiles(DATA_ROOT)
PROFILES = Profiles(DEFINITIONS, SHIPPED)
FORMATS = ("hssk831", "bhxh", "basic", "tiemchung", "huyetap")
OWN = """# Our profiles

Every mapped resource claims its profile in `meta.profile` and keeps its rules. Each rule stands beside
the source fields that fill the element, by format; what has none is the same for every record. Made from
`profiles/vn_basic/structure_definitions/` by `python scripts/profile_tables.py`; `GET StructureDefinition/[id]` gives
the definition itself.
"""
EXTENSIONS = """
## Extensions

What records hold and R4 has no element for, `urn:vn-basic:StructureDefinition:` before each name. Wherever a resource
has one of them, it is held against its definition, which `GET StructureDefinition/vn-basic-[name]` gives. Where the
setting names a guide that has an extension of its own for the same thing, that one is written
(`profiles/vn_basic/extensions.json`).

| name | | on | value | source fields |
|---|---|---|---|---|
"""
_MANY = 1 << 30
HEAD = """# Our profiles beside the guides

Each rule of a guide's profile beside ours: **equal**, **wider** (ours lets more pass) or **narrower** (ours lets less
pass), and why. Made from `profiles/guides/` and `profiles/vn_basic/structure_definitions/` by
`python scripts/profile_tables.py`. A mapped resource claims a guide's profile only where it keeps the guide's rules
(`profiles/vn_basic/claims.json`), so wider here never means a false claim.
"""


@dataclass(frozen=True)
class Row:
    """element: id in the guide's profile. facet: what the rule is about. rule, ours: in words."""

    element: str
    facet: str
    rule: str
    ours: str
    relation: str


@dataclass(frozen=True)
class Beside:
    """Where the elements of a guide's profile stand in ours: a tree, and the R4 type and path of its root."""

    root: ProfileElement | None
    type: str
    path: str

    def element(self, id: str) -> tuple[ProfileElement | None, Element | None]:
        """(what our profile says, what R4 says) of an element by its id. A slice of theirs is none of ours, but what
        ours says of every item it says of the items of a slice too."""
        names = [part.partition(":")[0] for part in id.split(".")[1:]]
        node = self.root
        for name in names:
            node = node.children.get(name) if node is not None else None
        if _is_slice(id):
            node = None
        path = ".".join([*([self.path] if self.path else []), *(name.removesuffix("[x]") for name in names)])
        return node, DEFINITIONS.element(self.type, path) if path else None


def beside(type: str, ours: str) -> Beside:
    """`patient:address` is the element address of our profile patient."""
    name, _, path = ours.partition(":")
    profile = PROFILES.get(OURS + name) if name else None
    if profile is None:
        return Beside(None, type, "")
    return Beside(profile.root.children.get(path) if path else profile.root, profile.type, path)


def rows(type: str, ours: str, rules: Mapping[str, Any]) -> Iterator[Row]:
    place = beside(type, ours)
    for id, rule in rules.items():
        node, base = place.element(id)
        for facet, value in (rule or {"slice": True}).items():
            yield _row(id, facet, value, node, base)


def _row(id: str, facet: str, value: Any, node: ProfileElement | None, base: Element | None) -> Row:
    if facet == "min":
        own = max(node.min if node else 0, base.min if base and not _is_slice(id) else 0)
        return Row(id, facet, f"at least {value}", f"at least {own}", _order(own, value))
    if facet == "max":
        most = None if value == "*" else int(value)
        own_most = node.max if node and node.max is not None else base.max if base and not _is_slice(id) else None
        relation = (
            "equal" if own_most == most else "wider" if own_most is None or own_most > (most or 0) else "narrower"
        )
        return Row(id, facet, f"at most {value}", f"at most {'*' if own_most is None else own_most}", relation)
    if facet == "mustSupport":
        return Row(id, facet, "must-support", "must-support" if _supports(node) else "", _is(_supports(node)))
    if facet.startswith(("fixed", "pattern")):
        return _pinned(id, facet, value, node)
    if facet == "type":
        return _types(id, value, node, base)
    if facet == "binding":
        rule = f"{value['strength']} {_short(value['valueSet'])}"
        same = node is not None and node.binding is not None and node.binding.value_set == value["valueSet"]
        is_free = value["strength"] == "example"
        return Row(id, f"binding {value['strength']}", rule, "", "equal" if same or is_free else "wider")
    told = {"slicing": "slices", "slice": "a slice", "constraint": str(value)}[facet]
    return Row(id, facet, told, "", "wider")


def _is_slice(id: str) -> bool:
    return ":" in id.rpartition(".")[2]


def _order(own: int, theirs: int) -> str:
    return "equal" if own == theirs else "wider" if own < theirs else "narrower"


def _is(same: bool) -> str:
    return "equal" if same else "wider"


def _supports(node: ProfileElement | None) -> bool:
    return node is not None and any(one.must_support for _, one in node.walk(""))


def _pinned(id: str, facet: str, value: Any, node: ProfileElement | None) -> Row:
    own = None if node is None else node.pattern if node.fixed is None else node.fixed
    verb = "exactly" if facet.startswith("fixed") else "with"
    if own is None:
        return Row(id, facet, f"{verb} {_text(value)}", "", "wider")
    relation = "equal" if own == value else "wider" if has_pattern(value, own) else "narrower"
    return Row(id, facet, f"{verb} {_text(value)}", f"with {_text(own)}", relation)


def _types(id: str, value: list[Mapping[str, Any]], node: ProfileElement | None, base: Element | None) -> Row:
    rule = " or ".join(_type(one) for one in value)
    own = [one.code for one in (node.types if node and node.types else base.types if base else ())]
    codes, targets = {one["code"] for one in value}, _targets(value)
    ours = ", ".join(sorted(_own_targets(node, base)))
    shown = f"Reference({ours})" if ours else ""
    if codes != set(own) and own:
        return Row(id, "type", rule, " or ".join(own), "wider" if codes < set(own) else "narrower")
    if any(one.get("profile") for one in value):
        return Row(id, "profile", rule, shown, "wider")
    return Row(id, "target", rule, shown, "wider" if targets - _own_targets(node, base) else "equal")


def _type(one: Mapping[str, Any]) -> str:
    inner = ", ".join(_short(url) for url in (*one.get("profile", ()), *one.get("targetProfile", ())))
    return f"{one['code']}({inner})" if inner else one["code"]


def _targets(value: list[Mapping[str, Any]]) -> set[str]:
    return {_short(url).removeprefix("hl7:") for one in value for url in one.get("targetProfile", ())}


def _own_targets(node: ProfileElement | None, base: Element | None) -> set[str]:
    if node is not None and node.types:
        return {_short(url) for one in node.types for url in one.targets}
    return {target for one in base.types for target in one.targets} if base is not None else set()


def _short(url: str) -> str:
    return url.rpartition("/")[2]


def _text(value: Any) -> str:
    codings = value.get("coding", [value]) if isinstance(value, dict) else []
    if codings:
        named = ", ".join(" ".join(str(one[key]) for key in ("code", "display") if key in one) for one in codings)
        return named + (f" «{value['text']}»" if "text" in value else "")
    return f"`{value}`"


# --- our own


def own_page() -> str:
    profiles = [one for one in SHIPPED if one["type"] != "Extension"]
    extensions = [one for one in SHIPPED if one["type"] == "Extension"]
    return OWN + "".join(map(_own_table, profiles)) + EXTENSIONS + "".join(map(_extension_row, extensions))


def _extension_row(extension: Mapping[str, Any]) -> str:
    rows = extension["differential"]["element"]
    fields = (f"{one['identity']} `{one['map']}`" for row in rows for one in row.get("mapping", ()))
    value = next(row for row in rows if row["path"] == "Extension.value[x]")
    kind = _type(value["type"][0]) if "type" in value else "extensions"
    bound = f", {value['binding']['strength']} `{_last(value['binding']['valueSet'])}`" if "binding" in value else ""
    places = ", ".join(one["expression"] for one in extension["context"])
    told = f"{extension['title']}. {extension['description']}"
    return f"| `{_last(extension['url'])}` | {told} | {places} | {kind}{bound} | {'; '.join(fields)} |\n"


def _last(urn: str) -> str:
    return urn.rpartition(":")[2]


def _own_table(profile: Mapping[str, Any]) -> str:
    lines = [
        f"\n## {profile['title']} ({profile['description']})\n\n`{profile['url']}`, id `{profile['id']}`, on "
        f"{profile['type']}.\n\n| element | rule | {' | '.join(FORMATS)} |\n|---|---|{'---|' * len(FORMATS)}\n"
    ]
    for element in profile["differential"]["element"]:
        fields = {row["identity"]: row["map"] for row in element.get("mapping", ())}
        cells = " | ".join(f"`{fields[name]}`" if name in fields else "" for name in FORMATS)
        lines.append(f"| `{element['id']}` | {'; '.join(_rules(element))} | {cells} |\n")
    return "".join(lines)


def _rules(element: Mapping[str, Any]) -> Iterator[str]:
    if "min" in element:
        yield f"at least {element['min']}"
    if "max" in element:
        yield f"at most {element['max']}"
    if "type" in element:
        yield " or ".join(_type(one) for one in element["type"])
    for name, value in element.items():
        if name.startswith(("fixed", "pattern")):
            yield f"{'exactly' if name.startswith('fixed') else 'with'} {_text(value)}"
    for one in element.get("constraint", ()):
        yield f"{one['human']} ({one['key']}, {one['severity']})"
    if element.get("mustSupport"):
        yield "must-support"


# --- the page of the guides


def page() -> tuple[str, list[str]]:
    """The text, and every difference that has no reason."""
    parts, lacking = [HEAD], list[str]()
    for file in sorted((ROOT / "profiles" / "guides").glob("*.json")):
        guide = json.loads(file.read_text(encoding="utf-8"))
        parts += [f"\n## {guide['title']}\n", f"\n`{guide['canonical']}`. {guide['note'].partition(' ours:')[0]}\n"]
        count: Counter[str] = Counter()
        tables = []
        for name, profile in guide["profiles"].items():
            made = list(rows(profile["type"], profile["ours"], profile["rules"]))
            count.update(row.relation for row in made)
            tables.append(_table(name, profile, made, guide["reasons"], lacking))
        told = ", ".join(f"{count[one]} {one}" for one in ("equal", "wider", "narrower"))
        parts += [f"\n{count.total()} rules: {told}.\n", *tables, _without(guide["without"])]
    return "".join(parts), lacking


def _table(name: str, profile: Mapping[str, Any], made: list[Row], reasons: list[list[str]], lacking: list[str]) -> str:
    ours = f"`{OURS}{profile['ours'].partition(':')[0]}`" if profile["ours"] else "none of ours"
    lines = [f"\n### {name}\n\nBeside {ours}.\n\n| element | rule | ours | | why |\n|---|---|---|---|---|\n"]
    for row in made:
        why = "" if row.relation == "equal" else _reason(name, row, reasons)
        if row.relation != "equal" and not why:
            lacking.append(f"{name} {row.element} {row.facet}: {row.rule} ({row.relation})")
        lines.append(f"| `{row.element}` | {row.rule} | {row.ours} | {row.relation} | {why} |\n")
    return "".join(lines)


def _reason(name: str, row: Row, reasons: list[list[str]]) -> str:
    key = f"{name} {row.element} {row.facet}"
    return next((why for pattern, why in reasons if fnmatchcase(key, _glob(pattern))), "")


def _glob(pattern: str) -> str:
    return pattern.replace("[", "[[]")


def _without(profiles: Mapping[str, str]) -> str:
    lines = (f"| `{name}` | {why} |\n" for name, why in sorted(profiles.items()))
    return "\n### Profiles without one of ours\n\n| profile | why |\n|---|---|\n" + "".join(lines)


def main() -> None:
    text, lacking = page()
    for one in lacking:
        print(f"no reason: {one}")
    pages = {PAGES / "guides.md": text, PAGES / "profiles.md": own_page()}
    if "--check" in sys.argv:
        sys.exit(bool(lacking) or any(file.read_text(encoding="utf-8") != made for file, made in pages.items()))
    for file, made in pages.items():
        file.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
