"""batch and transaction: reading entries, planning them, answering them (http://hl7.org/fhir/R4/http.html#transaction)."""
