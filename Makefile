# Everything starts here, from a fresh clone, with python3, its venv module, git and make.
# The environment is made once in .venv and again when pyproject.toml changes.

PYTHON ?= python3
# Tests at once: more than there are processors, since some only wait.
JOBS ?= 3
BENCH ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
RUN := $(VENV)/.installed
DEV := $(VENV)/.installed-dev

.DELETE_ON_ERROR:
.PHONY: help demo install test test-slow lint format bench man clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUN) ## set up, then show the whole story on this machine, without a network
	$(BIN)/ckptd demo

install: $(RUN) ## set up only: .venv/bin/ckptd

test: $(DEV) ## set up, then run the tests (some are skipped where nginx and others are missing)
	$(BIN)/pytest --numprocesses $(JOBS) -m "not slow"

test-slow: $(DEV) ## whole-system tests: kills at random moments, full disks, many files
	$(BIN)/pytest --numprocesses $(JOBS) -m slow

lint: $(DEV) ## ruff, mypy, and the direction of the imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV) ## let ruff rewrite the sources
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(DEV) ## measure beside aria2 and curl; BENCH="--workload big14 --rounds 5" and others: BENCH=--help
	$(BIN)/python -m benchmarks.bench $(BENCH)

man: $(RUN) ## build the manual pages: build/man/ckptd.1 and ckptd-manifest.5
	$(BIN)/python docs/man/build.py build/man

clean: ## remove what was made here, the environment and the benchmark's files too
	rm -rf $(VENV) build dist .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	rm -rf /dev/shm/ckptd-bench /var/tmp/ckptd-bench
	find src tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "ckptd needs Python 3.11 or newer; make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "python3 cannot make an environment: apt-get install python3-venv" >&2; exit 1; }

# Dependency groups (PEP 735) want pip 25.1, newer than Debian's.
$(RUN): pyproject.toml | $(BIN)/python
	$(PIP) --upgrade "pip>=25.1"
	$(PIP) --editable .
	@touch $@

$(DEV): $(RUN)
	$(PIP) --group dev
	@touch $@
