"""The command line `fhir-server`."""
