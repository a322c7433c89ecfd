# Every command does its own set-up: a fresh clone needs Python 3.11+, make and a package index, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TASKS ?= 20000
BENCH ?= night
N ?= 1000000
PYTEST_ARGS ?=

.DEFAULT_GOAL := help

run: $(READY) ## start broker, workers and beat on sample data and do the night's work once; Ctrl-C ends it
	@$(BIN)/gengfu demo create --if-empty --tasks $(TASKS) $(if $(FAILING),--failing)
	@$(if $(FAILING),$(BIN)/gengfu demo nights)
	@$(BIN)/gengfu up --night

once: $(READY) ## the night's work once, in one process and without a broker, then exit
	@$(BIN)/gengfu demo create --if-empty --tasks $(TASKS)
	@$(BIN)/gengfu run --night

test: $(READY) ## all checks and all tests
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest -n auto --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(READY) ## format, style, types, import directions
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

bench: $(READY) ## measure: make bench BENCH=night N=1000000
	@$(BIN)/python $(firstword $(wildcard benchmarks/$(BENCH).py benchmarks/daily_$(BENCH).py) benchmarks/$(BENCH).py) $(N)

lock: $(READY) ## write requirements.lock anew from pyproject.toml
	@$(BIN)/pip install --quiet "uv>=0.8"
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes --no-header \
		--no-emit-find-links --upgrade --output-file requirements.lock pyproject.toml

clean: ## remove the environment, caches and everything the program wrote
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	git clean -qfdX reports logs var

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 10

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Gengfu needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV)
	@echo "installing ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

.PHONY: run once test lint bench lock clean help
