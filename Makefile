# make demo: from nothing to a trained RAM and its film. make test: from nothing to all checks.
# make coverage: what the tests run. make reproduce: every published checkpoint on all its test scenes.
# make docs: the site, in site/.
PYTHON ?= python3
BIN := .venv/bin
SHARED := $(wildcard $(abspath ../shared/data))
export OMP_NUM_THREADS ?= 1
# Where it is set, every process compiles anew what it imports, of which there are many.
unexport PYTHONDONTWRITEBYTECODE
ifneq ($(SHARED),)
export GLIMPSE_DATA ?= $(SHARED)
endif

.PHONY: demo test types units coverage reproduce docs install

demo: install
	$(BIN)/python scripts/demo.py

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(MAKE) -j 2 types units

types: install
	$(BIN)/mypy

units: install
	$(BIN)/python -m pytest -n 2 --dist worksteal

coverage: install
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term-missing:skip-covered

reproduce: install
	$(BIN)/python scripts/reproduce.py

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo site/index.html

# A new pip resolves the packages in half the time of the one that comes with Python 3.11. Python compiles
# what is imported; --no-compile leaves out the rest, most of 400 packages.
install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[agents,text,captions,cluster,libraries,docs,dev]'
	touch $@
