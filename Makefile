# Everything that one types here; CI types the same. `make` alone lists it.
# The one thing to have is Python 3.11 or later: what else is needed is set up in .venv and .cache, never elsewhere.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/installed
export BUF_CACHE_DIR := $(CURDIR)/.cache/buf

.DEFAULT_GOAL := help
.PHONY: help demo test check proto bench soak clean

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1 \t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(READY) ## prune half of a real model through the service and look at the result
	$(BIN)/python -m scripts.demo

test: $(READY) ## run all tests
	$(BIN)/pytest

check: $(READY) ## lint, formatting, types, and the contract against its earlier versions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint
	$(BIN)/buf format -d --exit-code
	$(BIN)/python -m scripts.breaking

proto: $(READY) ## generate the stubs from the .proto
	$(BIN)/python -m scripts.stubs proto

bench: $(READY) ## measure the engine and the service
	$(BIN)/python -m tests.benchmarks.engine
	$(BIN)/python -m tests.benchmarks.engine --scaling
	$(BIN)/python -m tests.benchmarks.service

soak: $(READY) ## try to break the service, in full (half an hour); nginx and node take part where they are installed
	$(BIN)/python -m tests.campaigns

clean: ## remove everything that make made
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: there is no $(PYTHON) here; install Python 3.11 or later, or say PYTHON=/path/to/it" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("make: Python 3.11 or later is needed, $(PYTHON) is %d.%d; say PYTHON=/path/to/a/later/one" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@
