from search_index import Index, definitions

from fhir_server.search.compartments import membership, patient_key
from fhir_server.search.compile import compile_tree
from fhir_server.search.tree import InCompartment, Leaf, Node


def members(index: Index, type: str, code: str, id: str) -> set[str]:
    params = definitions().search_params(type)

    def leaf_filter(leaf: Leaf) -> dict[str, object]:
        if leaf.param.code == "_id":
            return {"_id": leaf.values[0]}
        return dict(index.filter(leaf.type, leaf.param.code, *leaf.values))

    def found(node: InCompartment) -> Node:
        return membership(node, params, definitions().compartment(code).get(type, ()))

    query = compile_tree(InCompartment(type, code, id), leaf_filter, found)
    return {document["_id"] for document in index.database[type].find(query, {"_id": 1})}


def test_members_are_found_by_any_parameter_of_the_compartments_definition(index: Index) -> None:
    index.put(
        {"resourceType": "Condition", "id": "hers", "subject": {"reference": "Patient/1"}},
        {"resourceType": "Condition", "id": "told", "asserter": {"reference": "Patient/1"}},
        {"resourceType": "Condition", "id": "met", "encounter": {"reference": "Encounter/1"}},
        {"resourceType": "Condition", "id": "none", "subject": {"reference": "Patient/2"}},
        {"resourceType": "Encounter", "id": "1", "subject": {"reference": "Patient/1"}},
        {"resourceType": "Patient", "id": "1"},
        {"resourceType": "Patient", "id": "2", "link": [{"other": {"reference": "Patient/1"}}]},
    )
    assert members(index, "Condition", "Patient", "1") == {"hers", "told"}
    assert members(index, "Condition", "Encounter", "1") == {"met"}
    assert members(index, "Condition", "Practitioner", "1") == set()
    assert members(index, "Encounter", "Patient", "1") == {"1"}
    assert members(index, "Encounter", "Encounter", "1") == {"1"}
    assert members(index, "Patient", "Patient", "1") == {"1", "2"}
    assert members(index, "Patient", "Encounter", "1") == set()


def test_the_key_of_a_patient_can_be_no_other_key() -> None:
    assert not patient_key("1")[0].isalpha()
