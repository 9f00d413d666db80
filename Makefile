# Everything a person or a machine does with this checkout. `make` alone lists it.
#
# The Python environment is .venv, made on first use from locked and hashed requirements. A stamp file per
# requirements file makes the second time quick.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# Only what is there: the demo and the benches are no part of the packages.
TYPED := $(wildcard gogeta passivator tests bench deploy/demo)
# More arguments for pytest: make test ARGS='-k registry -x'
ARGS ?=
# Test files running side by side; each side has an etcd and a Docker engine of its own. 0: all in one process.
JOBS ?= 2

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The first Python that is new enough and can make a venv; else one message that says what to do.
$(BIN)/python:
	@found=; too_old=; no_venv=; \
	for candidate in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if ! "$$candidate" -c 'import sys' 2>/dev/null; then continue; fi; \
	  if ! "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then too_old=$$candidate; continue; fi; \
	  if ! "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; then no_venv=$$candidate; continue; fi; \
	  found=$$candidate; break; \
	done; \
	if [ -z "$$found" ]; then \
	  if [ -n "$$no_venv" ]; then \
	    echo "make: $$no_venv cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
	  elif [ -n "$$too_old" ]; then \
	    echo "make: $$too_old is $$("$$too_old" -V 2>&1), and 3.11 or newer is needed; name one: make PYTHON=/path/to/python3" >&2; \
	  else \
	    echo "make: no python3 found; 3.11 or newer is needed" >&2; \
	  fi; \
	  exit 1; \
	fi; \
	rm -rf $(VENV); \
	"$$found" -m venv $(VENV)

$(VENV)/run.stamp: requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "make: installing into $(VENV) (requirements/run.txt)"
	@$(PIP_INSTALL) --require-hashes -r requirements/run.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt pyproject.toml | $(BIN)/python
	@echo "make: installing into $(VENV) (requirements/dev.txt)"
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/run.stamp

.PHONY: venv
venv: $(VENV)/dev.stamp ## the Python environment for development, in .venv

$(VENV)/bench.stamp: requirements/bench.txt $(VENV)/dev.stamp
	@echo "make: installing into $(VENV) (requirements/bench.txt)"
	@$(PIP_INSTALL) --require-hashes -r requirements/bench.txt
	@touch $@

.PHONY: lint
lint: $(VENV)/dev.stamp ## style, types and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports

.PHONY: test
test: $(VENV)/dev.stamp ## all tests, with the set-up they need (ARGS='-k name' for some)
	@tests/rig/provision.sh
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

.PHONY: simulate
simulate: $(VENV)/dev.stamp ## thousands of seeded lives of the whole protocol, on virtual time (ARGS='--runs 1000')
	$(BIN)/python -m tests.simulation --runs 10000 --steps 50 $(ARGS)

.PHONY: demo
demo: $(VENV)/run.stamp ## see it work: sleeping applications that wake on their first request
	@$(BIN)/python deploy/demo/demo.py

.PHONY: demo-docker
demo-docker: $(VENV)/dev.stamp ## the same on etcd and Docker (takes root; they are the demo's own)
	@tests/rig/provision.sh busybox-static docker.io etcd-server iproute2
	@$(BIN)/python deploy/demo/demo.py --docker

.PHONY: bench-wake
bench-wake: $(VENV)/dev.stamp ## how long a wake takes, phase by phase
	$(BIN)/python -m bench wake

.PHONY: bench-zero-lost
bench-zero-lost: $(VENV)/dev.stamp ## a thousand passivations and wakes under load: nothing lost (ARGS='--driver docker')
	@tests/rig/provision.sh etcd-server
	$(BIN)/python -m bench zero-lost $(ARGS)

.PHONY: bench-forward
bench-forward: $(VENV)/bench.stamp ## what forwarding costs, beside other proxies (ARGS='--only small')
	@tests/rig/provision.sh nginx-light wrk
	$(BIN)/python -m bench forward --plot bench/forward.png $(ARGS)

# The development set is resolved first and constrains the runtime set, so that one environment serves both.
LOCKED := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --upgrade
LOCK := $(BIN)/uv pip compile pyproject.toml $(LOCKED)
.PHONY: lock
lock: $(VENV)/dev.stamp ## resolve the requirements anew (changes requirements/*.txt)
	$(LOCK) --group dev -o requirements/dev.txt
	$(LOCK) --group build -c requirements/dev.txt -o requirements/run.txt
	$(BIN)/uv pip compile --group pyproject.toml:bench -c requirements/dev.txt $(LOCKED) -o requirements/bench.txt
	@sed -i '1i # What draws the figures of a bench, on top of dev.txt. Made by `make lock`; do not edit.' requirements/bench.txt
	@sed -i '1i # What the programs run on, plus the build backend. Made by `make lock`; do not edit.' requirements/run.txt
	@sed -i '1i # What development needs, the programs included. Made by `make lock`; do not edit.' requirements/dev.txt

.PHONY: clean
clean: ## remove what was made here, .venv included
	rm -rf $(VENV) .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
