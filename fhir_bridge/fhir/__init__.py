"""FHIR itself: content below resource, the REST interface below rest."""
