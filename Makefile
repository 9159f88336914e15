# The two commands of the README are `make run` and `make test`; both set up what they need.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
ARGS ?=
# How many tests run side by side; `make test WORKERS=0`: one after the other, in one process.
WORKERS ?= 2
# By file, so that what a file sets up is set up once; in the order of the folders, the longest ones first.
SPREAD = -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: run test test-all check docs bench clean

# exec: a shell between would make an error of Ctrl-C.
run: $(VENV)/.run
	@exec $(VENV)/bin/gtftctl run $(ARGS)

test: $(VENV)/.dev
	$(VENV)/bin/pytest $(SPREAD) $(ARGS)

test-all: $(VENV)/.dev
	$(VENV)/bin/pytest -m "" $(ARGS)

check: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/gtftctl events --check docs/events.md

docs: $(VENV)/.dev
	$(VENV)/bin/gtftctl events > docs/events.md

bench: $(VENV)/.bench
	for script in hook events publish close_to_entry start idle scrub_speed scrub snapshot corpus retrieval retrieval_quality bead_to_hit prime registry; do $(VENV)/bin/python benchmarks/$$script.py || exit 1; done

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# A stamp for each set of packages, made again when the project's own lists change.
$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "setting up $(VENV)"
	$(PIP) install -c constraints.txt -e '.[sample]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "setting up $(VENV) for development"
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.bench: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -c constraints.txt -e '.[bench]'
	@touch $@
