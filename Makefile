# Two commands for a stranger, each doing all of its own set-up: `make demo` and `make test`.
#   make demo PYTHON=python3.12                                     another interpreter
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu      the smaller PyTorch without CUDA

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := $(VENV)/.ready
SOURCES := cli.py commands runtime engines calibration export lggan tests benchmarks

.PHONY: help demo test lint build-check setup clean distclean

help:
	@printf '%s\n' \
	  'make demo         set up .venv once, then export, FP16, build, infer and profile the shipped model' \
	  'make test         set up .venv once, then lint, types, the walls between the rooms, and the tests' \
	  'make lint         the checks without the tests' \
	  'make build-check  install without extras into an empty environment and run the exported model there' \
	  'make setup        .venv alone' \
	  'make clean        remove what was built and printed; make distclean removes .venv too'

demo: $(READY)
	$(BIN)/lggan demo --out demo --force

test: lint
	$(BIN)/python -m pytest --durations=15 $(PYTEST_ARGS)

lint: $(READY)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

build-check: $(READY)
	.ci/device-check $(BIN)

setup: $(READY)

# PyTorch first and by name, so that no other package's wish chooses another build of it.
# TensorRT-RTX has wheels for Linux and Windows only; without it everything but its builds works.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo 'Python 3.10 or newer is needed: make ... PYTHON=/path/to/python3' >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(PIP) install --quiet -c constraints.txt --editable '.[dev]'
	$(PIP) install --quiet -c constraints.txt tensorrt-rtx \
	  || echo 'TensorRT-RTX is not to be had for this machine: its builds and their tests are left out.' >&2
	touch $@

clean:
	rm -rf build dist ./*.egg-info demo report .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
