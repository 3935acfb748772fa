"""Corti's API in Corti's words; knows no FHIR."""
