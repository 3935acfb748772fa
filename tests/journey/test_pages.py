"""Swagger UI and its document, as a browser gets them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
import yaml

from fhir_bridge.app import create_app

SEEN_BY_PEOPLE = re.compile(r"/oauth/(sign-in|sign-out|patient|encounter|consent)\b.*")


def page(ehr):
    with ehr.http.get("/docs") as answer:
        assert answer.status_code == 200
        return answer.text, answer.headers


def test_the_page_loads_nothing_from_elsewhere_and_runs_no_inline_script(ehr):
    text, headers = page(ehr)

    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not re.findall(r"(?:src|href)=[\"'](?:https?:)?//", text)
    assert not re.findall(r"<script(?![^>]*\bsrc=)", text)


def test_every_asset_the_page_names_is_served_here(ehr):
    named = re.findall(r"(?:src|href)=[\"']([^\"'#]+)", page(ehr)[0])

    assert len(named) >= 3
    for path in named:
        name = path.rpartition("/")[2]
        with ehr.http.get(f"/docs/assets/{name}") as answer:
            assert (answer.status_code, answer.headers["X-Content-Type-Options"]) == (200, "nosniff"), path


@pytest.mark.parametrize("kept", ["", "/base"])
def test_below_a_path_the_page_names_what_is_served_there(web_settings, kept):
    app = create_app(web_settings.model_copy(update={"public_url": "https://bridge.example/base"}))
    http = app.test_client()
    with http.get(f"{kept}/docs") as answer:
        named = re.findall(r"(?:src|href)=[\"']([^\"'#]+)", answer.text)
    assert all(path.startswith("/base/docs/assets/") for path in named)
    for path in named:
        with http.get(path) as asset:
            assert asset.status_code == 200, path
    flows = http.get(f"{kept}/openapi.json").json["components"]["securitySchemes"]["smart"]["flows"]
    assert flows["authorizationCode"]["authorizationUrl"] == "https://bridge.example/base/oauth/authorize"
    assert {flow["tokenUrl"] for flow in flows.values()} == {"https://bridge.example/base/oauth/token"}
    app.extensions["fhir-bridge"].store.close()


@pytest.mark.parametrize("name", ["..", "..%2f..%2fdocs.py", "%2e%2e", "nothing.js", "docs.html%00"])
def test_an_asset_is_a_file_of_its_folder_and_nothing_else(ehr, name):
    assert ehr.http.get(f"/docs/assets/{name}").status_code in {404, 405}


def test_the_document_is_the_same_in_both_forms_and_names_this_server(ehr):
    as_json = ehr.http.get("/openapi.json").get_json()
    as_yaml = yaml.safe_load(ehr.http.get("/openapi.yaml").text)

    assert as_json == as_yaml
    assert as_json["openapi"].startswith("3.1")
    assert all(server["url"].startswith("http://127.0.0.1:8080") for server in as_json["servers"])


def test_what_could_be_a_page_is_offered_as_a_download(ehr):
    script = b"<script>alert(document.domain)</script>"
    made = ehr.post("Binary", script, Content_Type="text/html")
    answer = ehr.get(f"Binary/{made.json['id']}", Accept="text/html")

    assert (answer.status, answer.raw) == (200, script)
    assert answer.headers["Content-Disposition"] == "attachment"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_apps_and_ehrs_call_of_the_authorization_server_is_declared(app, ehr):
    called = {
        (rule.rule, method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/oauth/") and not SEEN_BY_PEOPLE.fullmatch(rule.rule)
    }
    paths = ehr.http.get("/openapi.json").json["paths"]
    assert {(path, method) for path in paths if path.startswith("/oauth/") for method in paths[path]} == called
    named = ehr.http.get("/fhir/.well-known/smart-configuration").json
    urls = {named[f"{name}_endpoint"] for name in ("authorization", "token", "introspection", "revocation")}
    assert {urlsplit(url).path for url in urls} <= paths.keys()
