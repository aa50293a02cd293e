# What a person runs; CI runs `make test` and nothing that is not here.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PINNED := pyproject.toml constraints.txt
WHEELHOUSE ?= dist/wheelhouse
ROUNDS ?= 20
PEOPLE ?= 1000
RESOURCES ?= 100000
EXAMPLES ?= 500
# Tests run in two processes, each with a mongod of its own; on one MongoDB they would see each other's faults.
JOBS ?= $(if $(FHIR_MONGODB_URI),1,2)

.PHONY: help serve test coverage lint format bench soak fuzz wheel wheelhouse offline-test docs golden constraints clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

serve: $(VENV)/.ready-to-serve  ## install what is missing, start, load the sample at the first start (PORT=9000 moves it)
	@exec $(BIN)/fhir-server serve $(if $(PORT),--port $(PORT))

test: $(VENV)/.ready-to-test lint  ## the whole suite on a real MongoDB
	$(BIN)/pytest -n $(JOBS) --dist loadfile

coverage: $(VENV)/.ready-to-test  ## the whole suite again, and which lines it never ran; takes twice as long
	$(BIN)/pytest -n $(JOBS) --dist loadfile --cov

lint: $(VENV)/.ready-to-test  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready-to-test  ## let ruff write the code as `make lint` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready-to-test  ## figures of this machine: index entries, validation, import of PEOPLE=1000, REST, search among RESOURCES=100000
	$(BIN)/python bench/extract.py
	$(BIN)/python bench/validation.py
	$(BIN)/python -m bench.records $(PEOPLE)
	$(BIN)/python -m bench.rest
	$(BIN)/python -m bench.stores $(RESOURCES) dist/bench
	$(BIN)/python -m bench.search dist/bench

soak: $(VENV)/.ready-to-test  ## kill server and mongod in the middle of writes and of imports, ROUNDS=20 times; 10,000 records of each format there and back; pages of 100,000 people while others write
	FHIR_TEST_ROUNDS=$(ROUNDS) $(BIN)/pytest tests/api/test_kill_during_writes.py tests/api/test_kill_during_import.py --timeout 7200
	FHIR_TEST_EXAMPLES=10000 $(BIN)/pytest tests/unit/test_records_export.py --timeout 36000
	FHIR_TEST_RESOURCES=100000 FHIR_TEST_WORKERS=8 $(BIN)/pytest tests/api/search/test_search_paging_under_writes.py

fuzz: $(VENV)/.ready-to-test  ## EXAMPLES=500 hostile inputs for each parser, operation of the interface and rule of access
	FHIR_TEST_EXAMPLES=$(EXAMPLES) $(BIN)/pytest tests/unit/test_fuzz_parsers.py tests/unit/test_xml_round_trip.py tests/clients/test_openapi.py tests/security/test_security_property.py --timeout 36000

wheel: $(VENV)/.ready-to-test  ## dist/*.whl, with its data
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

wheelhouse: wheel  ## a folder of wheels that installs without a network
	$(BIN)/python -m pip download --quiet --only-binary :all: --dest $(WHEELHOUSE) -c constraints.txt "$$(ls -t dist/*.whl | head -1)[embedded]"

offline-test: wheelhouse  ## prove that the wheelhouse installs and serves with no registry
	packaging/offline_install_test.sh $(WHEELHOUSE)

docs: $(VENV)/.ready-to-test  ## write the generated pages of docs/ anew
	$(BIN)/python scripts/reference_pages.py
	$(BIN)/python scripts/mapping_tables.py

golden: $(VENV)/.ready-to-test  ## fill in the trees and database queries of tests/golden/search
	$(BIN)/python scripts/write_golden.py

constraints:  ## take over the newest versions that pyproject.toml allows (then run `make test`)
	scripts/renew_constraints.sh

$(VENV)/.ready-to-serve: $(PINNED)
	@scripts/environment.sh serve

$(VENV)/.ready-to-test: $(PINNED)
	@scripts/environment.sh test

clean:  ## remove what was built; the data directory stays
	rm -rf $(VENV) dist .coverage* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis tests/clients/node/node_modules tests/security/oidc/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
