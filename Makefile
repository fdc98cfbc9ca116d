# make demo and make test do everything on a fresh machine with git, Python 3.11, make and the package registries.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Tests judge with real peers: DCMTK, dicom3tools, PixelMed, Grok and OpenJPH as validators, codecs and senders, Orthanc
# as PACS; strace records what is synced; gcc makes a clock that can be set; Chromium opens the pages.
PEERS := chromium default-jre-headless dcmtk dicom3tools gcc grokj2k-tools libc6-dev libpixelmed-java openjph-tools \
	orthanc postgresql strace

.PHONY: help demo test faults soak fuzz handbook bench lint format lock clean
.DEFAULT_GOAL := help

help:  ## list what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10
	@echo
	@echo "make demo RADIOGRAPHS=folder   sends your DICOM, PNG or JPEG files, too"

demo: $(VENV)/.serving  ## start a node and a PACS, send real radiographs, show what comes back
	@deploy/debian-packages orthanc || echo "Going on without: the PACS will be a storage SCP of ours."
	@$(BIN)/covid-xnet demo $(if $(RADIOGRAPHS),"$(RADIOGRAPHS)")

test: $(VENV)/.development  ## run the tests; all of them, also those that take minutes, if CI is set
	@deploy/debian-packages $(PEERS)
	@command -v npm >/dev/null || deploy/debian-packages npm
	$(BIN)/python -m pytest $(if $(CI),-m "") --numprocesses 2 --dist loadfile tests/unit tests/property tests/conformance
	$(BIN)/python -m pytest $(if $(CI),-m "") tests/acceptance tests/faults

faults: $(VENV)/.development  ## kill the node again and again beside a PACS; writes deploy/handbook/faults.md
	@deploy/debian-packages $(PEERS)
	$(BIN)/python -m tests.faults --markdown deploy/handbook/faults.md

soak: $(VENV)/.development  ## send 10,000 objects of mixed kinds (hours on two cores), and see whether anything grows
	@deploy/debian-packages $(PEERS)
	$(BIN)/python -m tests.faults.soak $(if $(OBJECTS),--objects $(OBJECTS))

fuzz: $(VENV)/.development  ## send the listener and the gate what nobody should send, for an hour
	$(BIN)/python -m pytest tests/property/test_wire.py tests/property/test_intake.py --hypothesis-profile fuzz \
		--timeout 0

handbook: $(VENV)/.development  ## make the handbook a site to be looked at in a browser, in dist/handbook
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open dist/handbook/index.html; for the search: $(BIN)/python -m http.server -d dist/handbook"

bench: $(VENV)/.development  ## measure this machine, beside Orthanc, DCMTK and a naive build; writes bench-output/
	@deploy/debian-packages $(PEERS)
	$(BIN)/covid-xnet bench all --out bench-output

lint: $(VENV)/.development  ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.development  ## bring the code into the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

COMPILE := pip compile pyproject.toml --quiet --upgrade --universal --group build --generate-hashes --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links --python-version 3.11
lock: $(VENV)/.development  ## pin the newest versions of all that we depend on
	$(BIN)/pip install --quiet uv
	$(BIN)/uv $(COMPILE) --extra dev -o requirements-dev.lock
	$(BIN)/uv $(COMPILE) --extra demo -c requirements-dev.lock -o requirements.lock

clean:  ## remove what was made: the environment, caches, the demonstration
	rm -rf $(VENV) demo-output bench-output dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed. Name it: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The development lock holds all that the serving lock holds, in the same versions.
$(VENV)/.serving: requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.development: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.serving
