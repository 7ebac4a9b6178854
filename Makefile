# What a new checkout needs: `make demo` shows a report, `make test` proves the rest. Both make their own .venv first.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint types tests docs bench compat parity peers clean

demo: $(READY)
	OMP_NUM_THREADS=2 $(BIN)/tensorwatch-guard run examples/train_digits.py

# Types are looked at beside the first tests: one processor more or less is idle then.
test: lint
	@$(MAKE) --no-print-directory --jobs=2 types tests

lint: $(READY)
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

# The variable has pytest's workers measured too; tests/conftest.py keeps it from the programs that tests start.
tests: $(READY)
	$(BIN)/coverage erase
	COVERAGE_PROCESS_START=$(CURDIR)/setup.cfg $(BIN)/python -m pytest -n 2 --dist worksteal -q
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --skip-covered

# Pages that are written from tables; tests hold them equal.
docs: $(READY)
	$(BIN)/python -m tensorwatch_guard.options_page > docs/options.md
	$(BIN)/python -m tensorwatch_guard.rules > docs/rules.md

# Some minutes; docs/benchmarks.md has the figures of the machine that ran it last, its JSON is in .benchmarks. Keep that
# folder, and `python benchmarks/compare.py OLD .benchmarks` says what a change has made slower or faster.
bench: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/page.py

# Some minutes: the programs of tests/parity, bare and in every mode.
parity: $(READY)
	PYTHONPATH=tests $(BIN)/python -m parity.page > docs/parity.md

# The cases of tests/cases under other tools and under the guard: who finds what. More folders of cases: make peers CASES=folder
peers: $(READY)
	PYTHONPATH=tests $(BIN)/python -W ignore benchmarks/peers.py $(CASES)

# Third-party programs and test suites, bare and guarded, in a venv of their own; docs/compatibility.md is what came of it.
COMPAT := .compat/venv
COMPAT_READY := $(COMPAT)/.ready

compat: $(COMPAT_READY)
	$(COMPAT)/bin/python compat/page.py

clean:
	rm -rf $(VENV) .compat build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache

$(READY): pyproject.toml constraints.txt hatch_build.py src/tensorwatch_guard.pth
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

$(COMPAT_READY): pyproject.toml constraints.txt compat/requirements.txt compat/constraints.txt
	$(PYTHON) -m venv $(COMPAT)
	$(COMPAT)/bin/python -m pip install --quiet --constraint constraints.txt --constraint compat/constraints.txt \
		--requirement compat/requirements.txt --editable .
	touch $@
