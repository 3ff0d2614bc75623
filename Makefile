# The whole ritual: `make demo` shows it, `make test` proves it, `make check` keeps it clean.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test test-slow check audit docs dist format bench clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: .venv/.installed  ## train a small CoCa on built-in pictures, evaluate it, write a report
	$(BIN)/coca demo

test: .venv/.tested  ## install with the test extra and run the tests (offline, CPU)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

test-slow: .venv/.tested  ## the longer tests
	$(BIN)/python -m pytest -m slow $(ARGS)

check: .venv/.dev  ## ruff, formatting, mypy --strict, codespell, bandit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/bandit --quiet --recursive --severity-level medium coca_cli 2>/dev/null  # its log, not what it finds

audit: .venv/.dev  ## known weaknesses of the packages that are installed (needs the network)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/pip-audit --local --skip-editable

docs: .venv/.docs  ## the documentation as pages, into build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

dist: .venv/bin/python  ## wheel and sdist, into dist/
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build
	rm -rf dist && $(BIN)/python -m build --outdir dist .

format: .venv/.dev  ## let ruff tidy the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.tested .venv/peers  ## speed against peers (asserts equal outputs first); ARGS='--size smoke'
	$(BIN)/python benchmarks/run.py --peers .venv/peers $(ARGS)

clean:  ## remove the environment and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	touch $@

.venv/.tested: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@ .venv/.installed

.venv/peers: | .venv/.tested
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --target $@ 'numpy<2.4' transformers==4.49.0 || { rm -rf $@; exit 1; }

.venv/.docs: pyproject.toml | .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

.venv/.dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ .venv/.tested .venv/.installed
