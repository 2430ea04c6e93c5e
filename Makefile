# Everything a person does with this project. `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv
OLDEST := .venv-oldest
USUAL := not long and not cluster
WITHOUT_AIRFLOW := tests/api tests/client tests/files tests/leads
# of test-repeat
N ?= 5
MARKS ?= $(USUAL)
READY := $(VENV)/.ready
# Kept, whatever the shell says: the tests start Python a hundred times, and compiling Airflow takes it seconds.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo ui test test-quick test-repeat test-all-services test-long test-oldest test-cluster test-live bench lint format build constraints clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Run the example DAG in a real Airflow against a local Pipedrive, and show what it did
	@$(BIN)/python -m demo.run

ui: $(READY) ## Start Airflow's web interface with a local Pipedrive and the example DAGs; Ctrl-C stops it
	@$(BIN)/python -m demo.ui

test: $(READY) ## Run the tests
	@$(BIN)/python -m pytest -m "$(USUAL)" --numprocesses 3 --dist loadfile --ignore=tests/live

test-quick: $(READY) ## Run the tests of what needs no Airflow, in under a minute: at every save
	@$(BIN)/python -m pytest -m "$(USUAL) and not slow" -k "not contrary" --numprocesses 3 --dist loadfile $(WITHOUT_AIRFLOW)

test-repeat: $(READY) ## Run the tests N=5 times, shuffled, alone, beside busy processes and on one core; SEED=1 TESTS=tests/api MARKS=long
	@$(BIN)/python -m tests.repeat $(N) $(if $(SEED),--seed $(SEED)) --marks "$(MARKS)" $(TESTS)

test-all-services: $(READY) ## Run all tests, the long ones and the cluster's too; says first which services are missing
	@$(BIN)/python -m tests.services
	@$(MAKE) --no-print-directory test test-long test-cluster

test-long: $(READY) ## Run the tests that take longer: a standalone Airflow, big sizes
	@$(BIN)/python -m pytest -m long --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations 15

test-cluster: $(READY) ## Let many workers work through outages; needs redis-server and postgresql of Debian
	@$(BIN)/python -m pytest -m cluster --capture no tests/cluster

test-live: $(READY) ## Ask a Pipedrive test account whether the API still is as believed; docs/live-checks.md says how
	@$(BIN)/python -m pytest --confcutdir=tests/live -rs tests/live

test-oldest: $(READY) ## Run the tests of operators, sensors, triggers and client with the oldest versions that are allowed
	@rm -rf $(OLDEST) && $(BIN)/uv venv --quiet --python $(BIN)/python $(OLDEST)
	@VIRTUAL_ENV=$(CURDIR)/$(OLDEST) $(BIN)/uv pip install --quiet --resolution lowest-direct --editable '.[parquet,sql]'
	@VIRTUAL_ENV=$(CURDIR)/$(OLDEST) $(BIN)/uv pip freeze --exclude-editable > $(OLDEST)/oldest.txt
	@VIRTUAL_ENV=$(CURDIR)/$(OLDEST) $(BIN)/uv pip install --quiet --constraint $(OLDEST)/oldest.txt \
		pytest pytest-timeout pytest-xdist hypothesis jsonschema apache-airflow-providers-sqlite
	@$(OLDEST)/bin/python -m pytest -m "$(USUAL)" -p no:cacheprovider --numprocesses 3 --dist loadfile \
		tests/api tests/client tests/hooks tests/operators tests/triggers tests/provider tests/example_dags

bench: $(READY) ## Measure speed and memory; takes a few minutes
	@$(BIN)/python -m benchmarks.imports
	@$(BIN)/python -m benchmarks.hook_calls
	@$(BIN)/python -m benchmarks.sandbox_scale
	@$(BIN)/python -m benchmarks.export
	@$(BIN)/python -m benchmarks.tables
	@$(BIN)/python -m benchmarks.load_leads
	@$(BIN)/python -m benchmarks.waiting

lint: $(READY) ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## Put the code into the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

build: $(READY) ## Build the wheel and the source archive into dist/
	@rm -rf dist
	@$(BIN)/python -m build --installer uv --outdir dist .
	@$(BIN)/twine check --strict dist/*

constraints: ## Pin the newest dependencies in constraints.txt
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv; }
	@$(UV) pip compile pyproject.toml --group dev --universal --upgrade --no-header --no-annotate \
		--quiet --output-file constraints.txt

clean: ## Remove all that the other commands made
	@rm -rf $(VENV) $(OLDEST) .bench .demo .ui dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/sandbox/vendor_sdk/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "This needs Python 3.11 or newer; name one with: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "Installing into $(VENV): Airflow and what it needs, about 200 MB the first time …"
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "Python cannot make a virtual environment. On Debian: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@$(UV) pip install --quiet --constraint constraints.txt --build-constraint constraints.txt --group dev --editable .
	@touch $@
