# Every command a person needs. `make help` lists them.
PY      := .venv/bin/python
ARGS    ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## list these targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/.ready: requirements/dev.lock pyproject.toml
	python3 -m venv .venv
	$(PY) -m pip install --quiet --require-hashes -r requirements/dev.lock
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: setup
setup: .venv/.ready ## create .venv and install the locked dependencies

.PHONY: demo
demo: setup ## start everything, post a recorded consultation, show the facts (ARGS="--exit --audio FILE")
	.venv/bin/fhir-bridge demo $(ARGS)

.PHONY: run
run: setup ## start the bridge with the local Corti on http://127.0.0.1:8080
	.venv/bin/fhir-bridge serve --sandbox $(ARGS)

.PHONY: test
test: setup ## run the whole test suite
	$(PY) -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)

# These are covered to the last branch; the whole nearly so.
WHOLE := fhir_bridge/mapping/*,fhir_bridge/corti/stream.py,fhir_bridge/corti/messages.py,fhir_bridge/fhir/*,fhir_bridge/smart/*

.PHONY: coverage
coverage: setup ## judge how much a `make test ARGS=--cov` has covered
	$(PY) -m coverage report --include='$(WHOLE)' --fail-under=100
	$(PY) -m coverage report --fail-under=95 --format=total

.PHONY: check
check: setup ## lint, types, layers, generated files, 3,000 made-up requests
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports
	$(PY) -m fhir_bridge.cli.docs --check
	$(PY) -m pytest -m fuzz tests/fuzz --fuzz-cases 3000

.PHONY: interop
interop: setup interop/node_modules/.ready interop/keycloak/.ready ## let other projects' software judge the bridge (needs Node, Java, Maven)
	@# Journeys run along: all that they receive is judged.
	$(PY) -m pytest tests/contract tests/journey -m "interop or heard" $(ARGS)

interop/node_modules/.ready: interop/package-lock.json
	cd interop && npm ci --no-audit --no-fund --silent
	@touch $@

# A real Keycloak, from Maven's repository: fetched, laid out and built once.
KEYCLOAK := 26.7.3
interop/keycloak/.ready: Makefile
	rm -rf interop/keycloak && mkdir -p interop/keycloak
	mvn --batch-mode --quiet dependency:copy -DoutputDirectory=interop/keycloak \
	  -Dartifact=org.keycloak:keycloak-quarkus-dist:$(KEYCLOAK):zip
	cd interop/keycloak && python3 -m zipfile -e keycloak-quarkus-dist-$(KEYCLOAK).zip . \
	  && mv keycloak-$(KEYCLOAK) home && rm keycloak-quarkus-dist-$(KEYCLOAK).zip
	bash interop/keycloak/home/bin/kc.sh build --db=dev-mem > interop/keycloak/build.log 2>&1 \
	  || { tail -20 interop/keycloak/build.log; exit 1; }
	@touch $@

.PHONY: chaos
chaos: setup ## kill, freeze, starve and lie to a running bridge on both databases; nothing may be lost (ARGS="--only kills --seed 1")
	@mkdir -p build
	$(PY) tests/chaos/run.py --out build/chaos-ci.json $(ARGS)
	$(PY) tests/chaos/table.py

.PHONY: simulate
simulate: setup ## play 2,000 worlds in which everything goes wrong (ARGS="--seeds 50000 --first-seed 1")
	$(PY) -m pytest tests/simulator --seeds 2000 $(ARGS)

.PHONY: soak
soak: setup ## search longer for what is rare: 20,000 made-up requests, ten minutes of polling, an hour of chaos
	$(MAKE) --jobs 2 soak-requests soak-polling
	@mkdir -p build
	$(PY) tests/chaos/run.py --scale soak --out build/chaos-soak.json
	$(PY) tests/chaos/table.py

.PHONY: soak-requests soak-polling
soak-requests: setup
	$(PY) -m pytest -m fuzz tests/fuzz --fuzz-cases 20000

soak-polling: setup
	$(PY) -m pytest tests/journey/test_polling.py --poll-seconds 600

.PHONY: docs
docs: setup ## write the generated pages and the OpenAPI document anew
	$(PY) -m fhir_bridge.cli.docs

.PHONY: lock
lock: setup ## resolve the dependencies anew
	$(PY) -m pip install --quiet uv
	.venv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --extra postgres --extra s3 \
	  --generate-hashes --no-strip-extras --no-emit-index-url --no-header --quiet -o requirements/runtime.lock
	.venv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras -c requirements/runtime.lock \
	  --generate-hashes --no-strip-extras --no-emit-index-url --no-header --quiet -o requirements/dev.lock
	echo 'hatchling>=1.27' | .venv/bin/uv pip compile - --universal --python-version 3.11 -c requirements/dev.lock \
	  --generate-hashes --no-strip-extras --no-emit-index-url --no-header --quiet -o requirements/build.lock
