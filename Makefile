# Needs make and Python 3.11 or newer with venv; everything else is put into .venv from requirements.lock.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench mutants lock clean

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
export MYPYPATH := src:.:tests/unit/testing/tiny_plugin$(subst $() ,,$(addprefix :,$(PLUGINS)))

help:
	@echo "make demo      walk one client from inquiry to invoice through simulated tools (ONCE=1 ends afterwards)"
	@echo "make test      run all tests (ARGS='-k word' for some of them)"
	@echo "make lint      ruff, mypy and the import floors; make format mends the layout"
	@echo "make bench     measure, print a table, write benchmarks/results/latest.json"
	@echo "make mutants   break the code on purpose and see the tests notice"
	@echo "make lock      make requirements.lock anew"

# Tests keep their databases in memory where there is a folder for it, and compile the programs they start only once.
FAST := $(shell [ -w /dev/shm ] && echo TMPDIR=/dev/shm)

setup:
	@PYTHON="$(PYTHON)" tools/setup.sh $(VENV) $(PLUGINS)

demo: setup
	@$(BIN)/lifecyclehub demo $(if $(ONCE),--once)

test: setup
	@env -u PYTHONDONTWRITEBYTECODE $(FAST) $(BIN)/python -m pytest -n 5 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: setup
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "Run: make format" >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports > $(VENV)/floors.txt 2>&1 || { cat $(VENV)/floors.txt; exit 1; }

format: setup
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

bench: setup
	@$(BIN)/python benchmarks/bench.py $(ARGS)

mutants: setup
	@$(BIN)/python tests/mutants/run.py $(ARGS)

lock:
	@tools/lock.sh

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
