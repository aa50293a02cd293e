"""The FHIR operations, one file a $operation."""
