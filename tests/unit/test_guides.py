"""Both guides beside ours: the page is what the data says, no difference lacks a reason, and no claim is false."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from test_records_profiles import DEFINITIONS, mapped, sample  # noqa: F401  (a fixture)

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.profiles import CORE, Profiles
from fhir_server.model.resources import Resource
from fhir_server.validation.profile import ProfileValidator

FILES = sorted((DATA_ROOT / "profiles" / "guides").glob("*.json"))


def guide(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA_ROOT / "profiles" / "guides" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def definitions(data: Mapping[str, Any]) -> Iterator[Resource]:
    """The StructureDefinitions that the facts about a guide stand for."""

    def url(name: str) -> str:
        if name.startswith("http"):
            return name
        known = name.removeprefix("hl7:").removeprefix("ips:")
        own = name in data["profiles"] or name in data["without"] or not name.startswith(("hl7:", "ips:"))
        return f"{data['canonical']}/StructureDefinition/{known}" if own and ":" not in name else CORE + known

    for name, profile in data["profiles"].items():
        rows = []
        for id, rule in profile["rules"].items():
            row: Resource = {"id": id, "path": ".".join(part.partition(":")[0] for part in id.split("."))}
            row |= {key: value for key, value in rule.items() if key not in ("slicing", "type", "constraint")}
            if "type" in rule:
                row["type"] = [
                    {key: value if key == "code" else [url(one) for one in value] for key, value in one.items()}
                    for one in rule["type"]
                ]
            if "slicing" in rule:
                told = [{"type": type, "path": path} for type, path in rule["slicing"]]
                row["slicing"] = {"discriminator": told, "rules": "open"}
            rows.append(row)
        parent = profile["parent"]
        base = parent if parent.startswith("http") else CORE + parent if parent == profile["type"] else url(parent)
        yield {
            "resourceType": "StructureDefinition", "url": url(name), "type": profile["type"],
            "derivation": "constraint", "baseDefinition": base, "differential": {"element": rows},
        }  # fmt: skip


def test_the_page_is_what_the_data_says_and_no_difference_lacks_a_reason() -> None:
    script = DATA_ROOT / "scripts" / "profile_tables.py"
    checked = subprocess.run([sys.executable, str(script), "--check"], cwd=DATA_ROOT, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, ""), "run python scripts/profile_tables.py"


@pytest.mark.parametrize("name", ["moh", "vn-core"])
def test_a_resource_that_claims_a_profile_of_a_guide_keeps_the_rules_that_are_known_of_it(
    sample: Path,  # noqa: F811
    name: str,
) -> None:
    data = guide(name)
    profiles = Profiles(DEFINITIONS, definitions(data))
    validator = ProfileValidator(DEFINITIONS, profiles)
    claimed = set()
    for resource in mapped(sample, name):
        for claim in resource["meta"].get("profile", ()):
            if claim.startswith(data["canonical"]):
                claimed.add(claim)
                assert profiles.get(claim) is not None or name == "vn-core", f"no rules are known of {claim}"
                faults = validator.validate(resource, claim) if profiles.get(claim) else []
                assert [issue for issue in faults if issue.is_error] == [], resource
    assert len(claimed) >= 4
