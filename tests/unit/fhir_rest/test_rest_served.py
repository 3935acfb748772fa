from __future__ import annotations

import re
from collections import Counter

import pytest

from fhir_bridge.fhir.resource.shapes import shape
from fhir_bridge.fhir.rest import served
from fhir_bridge.fhir.rest.offer import THIS
from fhir_bridge.fhir.rest.served import BY_TYPE, COMMON, HIGHEST_NUMBER, SERVED, Param

# Stored keys carry these numbers: rows may be added, none may be changed or given to another parameter.
NUMBERS = """
* _id 3 _lastUpdated 4 _tag 5 _security 6 _profile 7 _source 8
Encounter identifier 100 status 101 class 102 type 103 date 104 patient 105 subject 106 participant 107 length 108
Encounter practitioner 109 participant-type 110 part-of 111 service-provider 112 location 113 location-period 114
Encounter reason-code 115 reason-reference 116 diagnosis 117 appointment 118 episode-of-care 119 based-on 120
Encounter account 121 special-arrangement 122
Patient identifier 200 name 201 family 202 given 203 birthdate 204 gender 205 active 206 telecom 207 address 208
Patient address-city 209 address-postalcode 210 address-state 211 address-country 212 language 213 death-date 214
Patient general-practitioner 215 organization 216 link 217 phone 218 email 219 address-use 220 deceased 221
Practitioner identifier 300 name 301 family 302 given 303 active 304 gender 305 telecom 306 address 307
Practitioner communication 308 phone 309 email 310 address-city 311 address-postalcode 312 address-state 313
Practitioner address-country 314 address-use 315
Organization identifier 400 name 401 active 402 type 403 address 404 partof 405
Organization address-city 406 address-postalcode 407 address-state 408 address-country 409 address-use 410 endpoint 411
Media identifier 500 status 501 type 502 patient 503 subject 504 encounter 505 created 506 operator 507 device 508
Media modality 509 view 510 site 511 based-on 512
Observation code 600 category 601 status 602 date 603 patient 604 subject 605 encounter 606 derived-from 607
Observation identifier 608 performer 609 device 610 focus 611 has-member 612 part-of 613 based-on 614 specimen 615
Observation method 616 data-absent-reason 617 value-string 618 value-concept 619 value-date 620 value-quantity 621
Observation component-code 622 component-value-concept 623 component-value-quantity 624
Observation component-data-absent-reason 625 combo-code 626 combo-value-concept 627 combo-value-quantity 628
Observation combo-data-absent-reason 629 code-value-quantity 630 code-value-concept 631 code-value-string 632
Observation component-code-value-quantity 633 component-code-value-concept 634
Observation code-value-date 635 combo-code-value-quantity 636 combo-code-value-concept 637
DocumentReference identifier 700 status 701 type 702 category 703 patient 704 subject 705 date 706 encounter 707
DocumentReference author 708 period 709 related 710 authenticator 711 custodian 712 relatesto 713 relation 714
DocumentReference security-label 715 contenttype 716 language 717 location 718 format 719 event 720 facility 721
DocumentReference setting 722 description 723 relationship 724
Task status 800 code 801 focus 802 subject 803 patient 804 encounter 805 identifier 806 authored-on 807 modified 808
Task intent 809 priority 810 business-status 811 group-identifier 812 owner 813 requester 814 part-of 815 based-on 816
Task period 817 performer 818
Provenance target 900 recorded 901 agent 902 patient 903 agent-role 904 agent-type 905 entity 906 when 907
Provenance location 908 signature-type 909
Device identifier 1000 type 1001 device-name 1002 status 1003 manufacturer 1004 model 1005 organization 1006
Device patient 1007 location 1008 url 1009 udi-carrier 1010 udi-di 1011
Composition identifier 1100 status 1101 type 1102 category 1103 date 1104 patient 1105 subject 1106 encounter 1107
Composition author 1108 title 1109 attester 1110 confidentiality 1111 section 1112 entry 1113 context 1114 period 1115
Composition related-id 1116 related-ref 1117
AuditEvent action 1200 date 1201 agent 1202 patient 1203 entity 1204 outcome 1205 subtype 1206 type 1207 source 1208
AuditEvent address 1209 agent-name 1210 agent-role 1211 altid 1212 entity-name 1213 entity-role 1214
AuditEvent entity-type 1215 policy 1216 site 1217
"""


def whole(param: Param) -> list[str]:
    """The paths of a parameter and of its parts, from the root."""
    within = [f"{path}.{inner}" for path in param.paths for part in param.parts for inner in part.paths]
    return [path.removeprefix(f"{THIS}.") for path in (*param.paths, *within) if path != THIS]


def every_param() -> list[tuple[str, Param]]:
    return [("*", param) for param in COMMON] + [(row.type, param) for row in SERVED for param in row.params]


def test_every_parameter_keeps_the_number_it_was_first_given():
    words = [line.split() for line in NUMBERS.strip().splitlines()]
    given = {(line[0], name): int(number) for line in words for name, number in zip(*[iter(line[1:])] * 2, strict=True)}

    assert {(type_, param.name): param.number for type_, param in every_param()} == given


def test_no_number_is_used_twice_not_even_by_a_variant_or_a_compartment():
    numbers = [param.number for _, param in every_param()]
    numbers += [served.PATIENT_COMPARTMENT, served.ENCOUNTER_COMPARTMENT]
    variants = [0, served.TEXT, served.OF_TYPE, served.IDENTIFIER]

    assert max(numbers) <= HIGHEST_NUMBER
    assert max(Counter(number + variant for number in numbers for variant in variants).values()) == 1
    assert HIGHEST_NUMBER + max(variants) < 2**15


def test_every_type_and_every_parameter_of_a_type_is_listed_once():
    assert len(BY_TYPE) == len(SERVED)
    for row in SERVED:
        names = [param.name for param in (*row.params, *COMMON)]
        assert len(names) == len(set(names)), row.type


@pytest.mark.parametrize("row", SERVED, ids=lambda row: row.type)
def test_every_path_names_elements_that_fhir_has(row: served.Served):
    paths = [path for param in (*row.params, *COMMON) for path in whole(param)] + [*row.patient, *row.encounter]
    paths = [re.sub(r"\[(\w+)=\w+\]", "", path) for path in paths]
    for path in paths:
        type_ = row.type
        for step in path.split("."):
            found = shape(type_)
            assert found is not None, path
            assert step in found.elements, path
            type_ = found.elements[step].type


@pytest.mark.parametrize("row", SERVED, ids=lambda row: row.type)
def test_every_reference_parameter_points_only_where_its_element_may(row: served.Served):
    for param in row.params:
        if param.type != "reference":
            assert param.targets == ()
            continue
        type_ = row.type
        for step in param.paths[0].split("."):
            element = shape(type_).elements[step]
            type_ = element.type
        assert not element.targets or set(param.targets) <= element.targets, (row.type, param.name)


def test_what_is_served_can_be_asked_for_by_type_and_interaction():
    assert served.offers("Encounter", "create")
    assert not served.offers("Binary", "patch")
    assert not served.offers("Claim", "read")
    assert served.served("Claim") is None
    assert served.served("Media") is BY_TYPE["Media"]


def test_a_type_without_search_has_no_parameters_at_all():
    assert BY_TYPE["Binary"].param("_id") is None


def test_a_reference_to_anything_means_every_served_type_but_those_kept_apart():
    target = BY_TYPE["Provenance"].param("target")

    assert target is not None
    assert served.targets_of(target) == tuple(name for name in BY_TYPE if name != "AuditEvent")
