"""R4's own profiles and extensions: what of them cannot be applied, and which official examples that claim one are
refused by it.

usage: python bench/agreement/profiles.py PACKAGE EXAMPLES   (package/ of hl7.fhir.r4.core; a folder of JSON)
"""

from __future__ import annotations

import sys
from pathlib import Path

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import Profiles
from fhir_server.model.resources import Resource, decode
from fhir_server.terminology.load import Terminology
from fhir_server.validation.conformance import Conformance
from fhir_server.validation.profile import ProfileValidator
from fhir_server.validation.validate import Validator


def main() -> None:
    package, examples = map(Path, sys.argv[1:3])
    definitions = Definitions.load(DATA_ROOT)
    contents = [file.read_bytes() for file in sorted(package.glob("StructureDefinition-*.json"))]
    profiles = Profiles(definitions, contents)
    sound = ProfileValidator(definitions, profiles)
    urls = [url for url in sorted(profiles.urls) if profiles.get(url) is not None]
    extensions = [url for url in urls if profiles.type_of(url) == "Extension"]
    print(f"{len(urls) - len(extensions)} profiles, {len(extensions)} extensions")
    for url in urls:
        for problem in sound.problems(url):
            print(f"  {url}: {problem}")
    conformance = Conformance(definitions, Terminology.load(), [decode(one) for one in contents])
    validator = Validator(definitions, conformance)
    claiming = [one for one in _read(examples) if any(profiles.get(url) for url in _claims(one))]
    refused = 0
    for one in claiming:
        base = validator.validate(one, claims=False)
        by_profile = [issue for issue in validator.validate(one) if issue.is_error and issue not in base]
        refused += bool(by_profile)
        for issue in by_profile:
            print(f"  {one['resourceType']}/{one.get('id')}: {issue.expression[0]}: {issue.diagnostics}")
    print(f"{len(claiming)} examples claim one of them, {refused} are refused by it")


def _read(folder: Path) -> list[Resource]:
    return [decode(file.read_bytes()) for file in sorted(folder.rglob("*.json"))]


def _claims(resource: Resource) -> list[str]:
    return [url for url in resource.get("meta", {}).get("profile", ()) if isinstance(url, str)]


if __name__ == "__main__":
    main()
