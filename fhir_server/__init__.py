"""An HL7 FHIR R4 (4.0.1) server for Vietnamese basic health records, kept in MongoDB."""
