"""The FHIR interactions of R4 section 3.1, one file each."""
