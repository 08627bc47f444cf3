# The front door: `make demo` and `make test` set everything up themselves.

SHELL := /bin/bash
VENV := .venv
PYTHON := $(VENV)/bin/python
# bpy 4.5 exists for Python 3.11 alone; on another Python, give render.blender a Blender.
BASE_PYTHON ?= $(shell command -v python3.11 || command -v python3)
export OMP_NUM_THREADS := 1

.PHONY: help setup objects demo check chromium test bench soak clean

help:
	@echo 'make demo    build data/demo: 66 real objects x 12 views, captioned'
	@echo 'make test    every test this machine can run'
	@echo 'make check   ruff, mypy, import-linter and the fast tests'
	@echo 'make bench   the benchmarks'
	@echo 'make soak    what takes hours: retrain the small captioner and compare it with the shipped one'

setup: $(VENV)/.installed objects

$(VENV)/.installed: pyproject.toml
	@test -n "$(BASE_PYTHON)" || { echo 'mvcap needs Python 3.11 or newer: install python3.11 with its venv module'; exit 1; }
	@$(BASE_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'mvcap needs Python 3.11 or newer; $(BASE_PYTHON) is older. Set BASE_PYTHON.'; exit 1; }
	test -x $(PYTHON) || $(BASE_PYTHON) -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -e '.[blender,dev]'
	@touch $@

objects: $(VENV)/.installed
	@$(PYTHON) -m mvcap.sources.sh3f.fetch

demo: setup
	$(VENV)/bin/mvcap build-all --config demo --out data/demo
	$(VENV)/bin/mvcap caption data/demo --control unguided

# The report is tested in Debian's Chromium. Where it cannot be installed, those tests say that they were skipped.
chromium:
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 || \
	echo 'chromium is missing and cannot be installed here: the browser tests will be skipped'

check: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/pytest -m 'not blender and not ray and not browser and not slow and not gpu and not hub'

test: setup chromium
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/pytest -n 2 --dist loadgroup --no-loadscope-reorder -m 'not gpu and not hub' --durations=15

bench: setup
	$(VENV)/bin/pytest -s tests/benchmarks/bench_*.py

# Neither part of `make test` nor of a commit's checks: proves that what is shipped can be made again.
soak: setup
	$(VENV)/bin/pytest -s --timeout 0 tests/soak/soak_*.py

clean:
	rm -rf data dist build .pytest_cache .mypy_cache .ruff_cache
