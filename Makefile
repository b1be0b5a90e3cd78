# Words, each of which works alone on a fresh clone: the environment in .venv is made by the first one that needs it.

PYTHON  ?= python3
WORKERS ?= 2
ARGS    ?=

BIN       := .venv/bin
INSTALLED := .venv/.installed
DOCUMENTED := .venv/.docs-installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow sweep test-all test-web lint docs test-docs docs-serve suite bench test-matrix clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  PYTHON=python3.12  another interpreter    ARGS='-k order'  arguments for the program behind the word"

demo: $(INSTALLED) ## compare schedulers on the two shipped pipelines: tables, pages to look at, demo/grid.png, demo/emoji-grid.png
	$(BIN)/python examples/demo.py $(ARGS)

TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

test: $(INSTALLED) ## run the tests but the slow ones, WORKERS=2 processes with one thread each
	$(TESTS) --dist loadfile -m 'not slow' $(ARGS)

test-slow: $(INSTALLED) ## run those that take long: fresh interpreters, trainings, kills at random moments
	$(TESTS) -m 'slow and not sweep' $(ARGS)

sweep: $(INSTALLED) ## build and run every pipeline class of Diffusers, some minutes: benchmarks/every-pipeline.md
	$(TESTS) tests/pipelines/test_sweep.py --sweep-table $(ARGS)

test-all: test test-slow sweep ## run all tests

test-web: $(INSTALLED) ## install the extra `web` (Gradio) too and test the page of deis-sn serve, with a Chromium that is there
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,plot,web]'
	$(TESTS) tests/web $(ARGS)

lint: $(INSTALLED) ## check style, format, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(DOCUMENTED) ## build the documentation site, dist/site: warnings are errors, links are checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)
	@echo "Look at it: make docs-serve, or open dist/site through any web server."

test-docs: $(DOCUMENTED) ## run what the site says: code and commands on its pages, links, the built site
	$(TESTS) tests/site $(ARGS)

docs-serve: $(DOCUMENTED) ## look at the documentation while you write it, http://127.0.0.1:8000
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve $(ARGS)

suite: $(INSTALLED) ## try every scheduler on every network, hours: runs/suite/table.md; goes on where it stopped
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.suite.run --workers $(WORKERS) $(ARGS)

bench: $(INSTALLED) ## measure speed and quality, benchmarks/run.py
	$(BIN)/python -m benchmarks.run $(ARGS)

test-matrix: ## hold the contracts against the lowest and newest versions of other libraries
	PYTHON=$(PYTHON) WORKERS=$(WORKERS) ARGS="$(ARGS)" .ci/test-matrix

clean: ## remove what these words made (.venv, demo/, caches); training runs in runs/ stay
	rm -rf .venv .venv-matrix demo dist .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find src tests examples benchmarks integrations -type d -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt src/diffusers_deis_sn/_version.py
	@echo "Installing into .venv (once; some minutes, PyTorch is large) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,plot]'
	@touch $@
	@echo "Installed."

$(DOCUMENTED): $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@
