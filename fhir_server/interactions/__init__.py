"""The FHIR interactions of R4 (RESTful API), one file each."""
