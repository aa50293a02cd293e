"""Membership of compartments (R4 CompartmentDefinition): a key for Patient, reference parameters for the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fhir_server.definitions.search_params import SearchParameter
from fhir_server.search.tree import InCompartment, Leaf, Node, Or

PATIENT = "Patient"
# Types outside of R4's compartment that belong to the Patient whom this element names: who may not see the Patient does
# not see them (R4 Binary.securityContext). They bear its key, and no compartment search has them.
SECURED = {"Binary": "securityContext"}
_MARK = "@"


def patient_key(id: str) -> str:
    """The key that every member of a patient's compartment carries."""
    return _MARK + id


def membership(node: InCompartment, params: Mapping[str, SearchParameter], codes: Iterable[str]) -> Node:
    """The search that finds the members: some of the parameters `codes` points at the resource, or it is itself.

    params: the parameters of the type by code.
    """
    name = f"{node.code}/{node.id}"
    leaves = [Leaf(node.type, params[code], None, (name,)) for code in codes if code in params]
    if node.type == node.code:
        leaves.append(Leaf(node.type, params["_id"], None, (node.id,)))
    return Or(tuple(leaves))
