"""CPU time of validation beside fhir.resources, and by profiles: `python bench/validation.py [FOLDER of JSON]`.

Times on one machine mean little; what is printed last in each line is a ratio inside one interleaved run.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import shipped_profiles
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.records.formats import Formats
from fhir_server.records.importing import map_records
from fhir_server.records.sample import write_sample
from fhir_server.terminology.load import Terminology
from fhir_server.validation.conformance import Conformance
from fhir_server.validation.messages import Report
from fhir_server.validation.structure import StructureChecks
from fhir_server.validation.validate import Validator

EXAMPLES = Path(__file__).resolve().parent.parent / "tests" / "unit" / "validation_examples"
ROUNDS, REPEATS = 15, 200
# By profiles: of the resources of so many people some of each type, the largest among them; the least of many rounds.
PEOPLE, SOME_OF_TYPE, LEAST_OF = 60, 30, 60


def main() -> None:
    before, begun = memory(), time.perf_counter()
    definitions = Definitions.load(DATA_ROOT)
    validator = Validator(definitions)
    took = time.perf_counter() - begun
    print(f"definitions and validator: {took:.2f} s, {memory() - before:.0f} MB")
    if len(sys.argv) > 1:
        validate_folder(validator, Path(sys.argv[1]))
    else:
        compare(definitions, validator)
        by_profiles(definitions, validator)


def memory() -> float:
    """Peak memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(definitions: Definitions, validator: Validator) -> None:
    from fhir.resources.R4B import get_fhir_model_class

    closures = StructureChecks(definitions)
    print(
        f"{'µs CPU, median':24}{'bytes':>7}{'validate':>10}{'closures':>10}{'fhir.resources':>16}{'times faster':>14}"
    )
    for path in sorted(EXAMPLES.glob("*.json")):
        body = path.read_bytes()
        value = decode(body)
        model = get_fhir_model_class(value["resourceType"])
        ours, named, theirs = interleaved(
            lambda value=value: validator.validate(value),
            lambda value=value: closures.check(value, "x", Report()),
            lambda value=value, model=model: model.model_validate(value),
        )
        print(f"{path.stem:24}{len(body):>7}{ours:>10.1f}{named:>10.1f}{theirs:>16.1f}{theirs / ours:>14.1f}")


def by_profiles(definitions: Definitions, validator: Validator) -> None:
    """CPU of base validation, and of our profiles and extensions beside it, over all that generated records become:
    the mix of an import."""
    validator.conformance = Conformance(definitions, Terminology.load(DATA_ROOT), shipped_profiles(DATA_ROOT))
    with TemporaryDirectory() as folder:
        write_sample(PEOPLE, 7, Path(folder))
        bundles = [bundle for _, bundle in map_records([Path(folder)], Formats.load(DATA_ROOT)) if bundle]
    by_type: dict[str, list[Resource]] = {}
    for entry in (entry for bundle in bundles for entry in bundle["entry"]):
        by_type.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    print(f"\n{'µs CPU':28}{'n':>7}{'base R4, mean':>15}{'profiles, mean':>16}{'most':>8}")
    total = [0.0, 0.0, 0.0]
    for type, some in sorted(by_type.items()):
        costs = [_cost(validator, one) for one in _spread(some)]
        base, more = (sum(column) / len(costs) for column in zip(*costs, strict=True))
        print(f"{type:28}{len(some):>7}{base:>15.1f}{more:>16.1f}{max(more for _, more in costs):>8.0f}")
        total = [one + len(some) * figure for one, figure in zip(total, (1, base, more), strict=True)]
    print(f"{'all':28}{total[0]:>7.0f}{total[1] / total[0]:>15.1f}{total[2] / total[0]:>16.1f}")


def _spread(some: list[Resource]) -> list[Resource]:
    """From the largest down, evenly."""
    by_size = sorted(some, key=lambda one: len(encode(one)), reverse=True)
    return by_size[:: max(1, len(some) // SOME_OF_TYPE)][:SOME_OF_TYPE]


def _cost(validator: Validator, resource: Resource) -> tuple[float, float]:
    """The least CPU in µs of base validation, and of what profiles and extensions take beside it."""
    pairs = [
        tuple(_took(lambda: validator.validate(resource, claims=claims)) for claims in (False, True))  # noqa: B023
        for _ in range(LEAST_OF)
    ]
    base, whole = map(min, zip(*pairs, strict=True))
    return base, max(whole - base, 0.0)


def _took(work: Callable[[], object]) -> float:
    begun = time.process_time_ns()
    work()
    return (time.process_time_ns() - begun) / 1e3


def interleaved(*runs: Callable[[], object]) -> list[float]:
    """Median microseconds of CPU of each, measured in turns so that all see the same machine."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(ROUNDS):
        for found, run in zip(times, runs, strict=True):
            begun = time.process_time()
            for _ in range(REPEATS):
                run()
            found.append((time.process_time() - begun) / REPEATS * 1e6)
    return [median(found) for found in times]


def validate_folder(validator: Validator, folder: Path) -> None:
    """Every error in a folder of resources, such as the official examples of R4, and the CPU time of all."""
    values = [(path, decode(path.read_bytes())) for path in sorted(folder.rglob("*.json"))]
    begun = time.process_time()
    found = [(path, validator.validate(value)) for path, value in values]
    took = time.process_time() - begun
    for path, issues in found:
        for issue in issues:
            if issue.is_error:
                print(f"{path.name}: {issue.code} at {issue.expression[0]}: {issue.diagnostics}")
    wrong = sum(any(issue.is_error for issue in issues) for _, issues in found)
    warned = sum(any(not issue.is_error for issue in issues) for _, issues in found)
    print(f"{len(values)} resources, {wrong} with errors, {warned} with warnings, {took:.2f} s of CPU")


if __name__ == "__main__":
    main()
