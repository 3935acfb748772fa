"""What an operator's monitoring reads."""

from __future__ import annotations

from fhir_bridge.store import circuits
from fhir_bridge.store.circuits import Line


def lines(ehr):
    return ehr.http.get("/metrics").text.splitlines()


def test_metrics_count_jobs_by_state_and_circuits_that_are_open(ehr, bridge):
    ehr.encounter()
    assert 'fhir_bridge_jobs{state="queued"} 1' in lines(ehr)
    assert "fhir_bridge_circuits_open 0" in lines(ehr)

    bridge.store.write(lambda conn: circuits.fail(conn, Line("default", "eu"), most=1))

    assert "fhir_bridge_circuits_open 1" in lines(ehr)
