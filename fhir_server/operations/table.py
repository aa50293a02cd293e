"""The table of operations: which `$name` is answered at which level, and by what. R4 Operations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from fhir_server.interactions.exchange import Dispatch
from fhir_server.operations.accesses import accesses_operation
from fhir_server.operations.everything import everything_operation
from fhir_server.operations.expand import expand_operation
from fhir_server.operations.import_records import import_records_operation
from fhir_server.operations.lookup import lookup_operation
from fhir_server.operations.merge_patients import merge_operation, unmerge_operation
from fhir_server.operations.preferred_id import preferred_id_operation
from fhir_server.operations.record import record_operation
from fhir_server.operations.records_changed import records_changed_operation
from fhir_server.operations.reindex import reindex_operation
from fhir_server.operations.subsumes import subsumes_operation
from fhir_server.operations.translate import translate_operation
from fhir_server.operations.validate import validate_operation
from fhir_server.operations.validate_code import validate_in_code_system, validate_in_value_set

ANY_TYPE = ("Type",)  # the word of the route table for every resource type
OF_R4 = "http://hl7.org/fhir/OperationDefinition/"
OWN = "urn:vn-basic:OperationDefinition:"


@dataclass(frozen=True, slots=True)
class Operation:
    """One `$name`, without the `$`.

    definition: its canonical URL. types: those it is defined on, ANY_TYPE for all of them. system, type, instance: the
    levels it is asked at. by_get: GET is allowed beside POST, which R4 does for what changes nothing. scope: `open` for
    one that tells nothing of any person, or that reads and writes by the caller's own rights; None where a caller needs
    the scope `operation/NAME`.
    """

    name: str
    interaction: Dispatch
    definition: str
    types: tuple[str, ...] = ()
    system: bool = False
    type: bool = False
    instance: bool = False
    by_get: bool = True
    scope: Literal["open"] | None = None

    def shapes(self) -> Iterator[tuple[str, ...]]:
        """The paths below the base, in the words of the route table."""
        if self.system:
            yield (f"${self.name}",)
        for type in self.types:
            if self.type:
                yield (type, f"${self.name}")
            if self.instance:
                yield (type, "id", f"${self.name}")


def _terminology(name: str, interaction: Dispatch, definition: str, instance: bool = True) -> Operation:
    """An operation of R4's terminology service, which tells nothing of any person."""
    type = definition.partition("-")[0]
    return Operation(name, interaction, OF_R4 + definition, (type,), type=True, instance=instance, scope="open")


OPERATIONS = (
    Operation("accesses", accesses_operation, OWN + "accesses", ("Patient",), instance=True, scope="open"),
    Operation(
        "everything", everything_operation, OF_R4 + "Patient-everything", ("Patient",), instance=True, scope="open"
    ),
    Operation("reindex", reindex_operation, OWN + "reindex", system=True),
    Operation(
        "validate", validate_operation, OF_R4 + "Resource-validate", ANY_TYPE, type=True, instance=True, scope="open"
    ),
    _terminology("lookup", lookup_operation, "CodeSystem-lookup", instance=False),
    _terminology("subsumes", subsumes_operation, "CodeSystem-subsumes"),
    _terminology("validate-code", validate_in_code_system, "CodeSystem-validate-code"),
    _terminology("validate-code", validate_in_value_set, "ValueSet-validate-code"),
    _terminology("expand", expand_operation, "ValueSet-expand"),
    _terminology("translate", translate_operation, "ConceptMap-translate"),
    _terminology("preferred-id", preferred_id_operation, "NamingSystem-preferred-id", instance=False),
    Operation("import-records", import_records_operation, OWN + "import-records", system=True, by_get=False),
    Operation("records-changed", records_changed_operation, OWN + "records-changed", system=True),
    Operation("record", record_operation, OWN + "record", types=("Patient",), instance=True),
    Operation("merge", merge_operation, OWN + "merge", types=("Patient",), type=True, by_get=False),
    Operation("unmerge", unmerge_operation, OWN + "unmerge", types=("Patient",), type=True, by_get=False),
)
