"""Corti's ambient speech AI for any EHR, through FHIR R4 and SMART on FHIR."""
