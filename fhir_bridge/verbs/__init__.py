"""What the FHIR interactions mean, without HTTP."""
