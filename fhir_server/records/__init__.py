"""Vietnamese record files to FHIR resources and back, by the tables in mappings/."""
