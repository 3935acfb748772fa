"""OAuth and SMART on FHIR; knows no Flask and no store."""
