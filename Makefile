# Needs python3.11 or newer, make and a package registry; everything else is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check soak lint coverage bench-check docs dist wheel-check format install hooks clean

demo: .venv/installed  ## train a DCGAN on MNIST for a few minutes and evaluate it
	$(BIN)/ganforge demo

test: lint  ## the checks, and all tests
	$(BIN)/pytest -n 2 -m "not soak"

check: lint  ## the checks and the fast tests
	$(BIN)/pytest -n 2 -m "not slow and not soak"

soak: .venv/installed-dev  ## tests of minutes to hours, then the long attack; counts go to benchmarks/trust.json
	$(BIN)/pytest -n 2 -m soak --timeout 0
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/trust.py --out benchmarks/trust.json

lint: .venv/installed-dev  ## format, lint, spelling and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/mypy

coverage: lint  ## `make test` traced: the lines that no test reaches; fails below the floor in pyproject.toml
	$(BIN)/pytest -n 2 -m "not soak" --durations=40 --cov --cov-report=term-missing:skip-covered

bench-check: .venv/installed-dev  ## speed against plain loops, compared with the stored ratios; on an idle machine
	$(BIN)/python benchmarks/speed.py --check benchmarks/speed.json

docs: .venv/installed-docs  ## the documentation as a site, in site/; warnings are errors
	$(BIN)/python tools/stage_docs.py build/docs
	$(BIN)/zensical build --clean --strict

dist: .venv/installed-dev  ## the source archive, and the wheel made from it, in dist/
	rm -rf dist
	PIP_CONSTRAINT="$(CURDIR)/constraints.txt" $(BIN)/python -m build --outdir dist

wheel-check: dist  ## install the wheel alone, outside of here, and train the demo's first 50 steps
	tools/check_wheel.sh $(PYTHON)

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: .venv/installed-dev

hooks: .venv/installed-dev  ## run the checks before each commit, and the fast tests before each push
	$(BIN)/pre-commit install

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ganforge needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf .venv build dist site .cache .coverage
