# All commands of this repository; CI uses the same ones. `make` alone lists them.
# It needs Python 3.11 or later. Everything else is set up in .venv and .cache, never elsewhere.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/installed
# Tests wait for servers as much as they compute, so that two cores are busy with three of them.
WORKERS ?= 3
export BUF_CACHE_DIR := $(CURDIR)/.cache/buf

.DEFAULT_GOAL := help
.PHONY: help demo test test-again test-integrations check proto tutorial bench zeros soak targets fuzz pin image test-image docs clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 \t/p' $(MAKEFILE_LIST) | expand -t 26

demo: $(READY) ## prune half of the layers' weights of a real model and look at the result
	$(BIN)/python -m scripts.demo

test: $(READY) ## run the tests; it installs nothing. WORKERS=0 runs them one after the other
	NO_INSTALLS=1 $(BIN)/pytest -m "not integration" -n $(WORKERS) --dist worksteal

test-again: $(READY) ## run the tests that failed last, one after the other: what fails only beside other tests passes here
	$(BIN)/pytest --last-failed --last-failed-no-failures none

test-integrations: $(READY) ## run the tests that install what they need: other clients, proxies, validators, linters
	$(BIN)/pytest -m integration

check: $(READY) ## lint, formatting, types, and the contract against its earlier versions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m scripts.imported_protos .cache/protos
	$(BIN)/buf lint
	$(BIN)/buf format proto -d --exit-code
	$(BIN)/python -m scripts.breaking

proto: $(READY) ## generate the stubs from the .proto
	$(BIN)/python -m scripts.stubs proto

tutorial: $(READY) ## run docs/tutorial.md: prune a LeNet in every way, fine-tune it, make it smaller
	@# PASSIVE: threads that spin while they wait would take cores from others that work
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m scripts.tutorial

# The commit that `make bench` compares this tree with.
AGAINST ?= 70085ca

bench: $(READY) ## measure the engine, the service, packed files, smaller models and how well pruned ones work; and against the commit AGAINST
	$(BIN)/python -m tests.benchmarks.engine
	$(BIN)/python -m tests.benchmarks.engine --scaling
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.benchmarks.calibrated_speed
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.benchmarks.calibrated_call
	$(BIN)/python -m tests.benchmarks.service
	$(BIN)/python -m tests.benchmarks.health
	$(BIN)/python -m tests.benchmarks.masks
	$(BIN)/python -m tests.benchmarks.packed
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.benchmarks.removal
	$(BIN)/python -m tests.benchmarks.surgery
	$(BIN)/python -m tests.benchmarks.by_reference
	$(BIN)/python -m tests.benchmarks.stores
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.benchmarks.quality
	$(BIN)/python -m tests.benchmarks.against $(AGAINST)

zeros: $(READY) ## measure where zeros help, and write the tables of docs/where_zeros_help.md; installs runtimes under .cache
	$(BIN)/python -m tests.benchmarks.where_zeros_help --write

# Of the mix of hostile callers, and of each fuzzer; the other targets take about five minutes.
MINUTES ?= 10

# Of each endurance run of `make soak`; its other campaigns take half an hour.
SOAK_MINUTES ?= 60

targets: $(READY) ## hold a server to its targets under hostile callers: health, memory, time to stop; MINUTES=10
	$(BIN)/python -m tests.campaigns.targets --minutes $(MINUTES)

soak: $(READY) ## try to break the service, for three hours; SOAK_MINUTES=60 of each of two endurance runs; nginx and node take part if installed
	$(BIN)/python -m tests.campaigns --minutes $(SOAK_MINUTES)

fuzz: $(READY) ## fuzz parsers and, if clang is installed, kernels, one after the other; MINUTES=10 each, TARGET=header
	$(BIN)/python -m tests.fuzzing $(or $(TARGET),all) --minutes $(MINUTES)

# ENGINE=docker or podman; STAND_IN=1 where no registry of images can be reached (scripts/stand_in.py).
TARGETS ?= cpu client

pin: $(READY) ## write the digest of the base image, as the registry has it now, into deploy/base-image
	$(BIN)/python -m scripts.base_image

image: $(READY) ## build container images; TARGETS=cuda for GPUs, ENGINE=podman or docker
	$(BIN)/python -m scripts.images $(TARGETS)

test-image: $(READY) ## build the images cpu and client and run them as a platform does: hardened, pruning, stopped
	$(BIN)/python -m scripts.images cpu client
	$(BIN)/pytest tests/images/running.py --durations=0 --capture=no

docs: $(READY) ## build the documentation site in build/site/html; open index.html there, no server is needed
	$(BIN)/python -m scripts.site

clean: ## remove everything that make made
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build

$(READY): pyproject.toml constraints.txt hatch_build.py $(wildcard pruning_engine/kernels/compiled/*.[ch])
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not installed; install Python 3.11 or later, or set PYTHON=/path/to/it" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("make: Python 3.11 or later is needed, $(PYTHON) is %d.%d; set PYTHON=/path/to/a/later/one" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@
