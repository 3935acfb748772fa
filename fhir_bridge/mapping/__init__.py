"""Pure translation between FHIR and Corti, code tables as data."""
