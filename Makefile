# Every target works with any POSIX make and sh that Debian 12 and Ubuntu 24.04 bring (GNU make).
# What is installed is remembered by a stamp beside it, older or newer than its lock file: a second
# `make run` finds nothing to do and starts.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
BUILD_TOOLS := $(VENV)/build
PEERS := $(VENV)/bench
AUDIT := $(VENV)/audit
INSTALL := $(BIN)/python -m pip install --quiet --require-hashes

# One lock for every platform and every Python from 3.11 on. It names no index: that is for the
# machine that installs to know. `make lock UPGRADE=--upgrade` takes newer ones where it may.
UPGRADE ?=
COMPILE = $(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 $(UPGRADE) \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate

ASSETS := hatch_build.py $(wildcard panel/static/*.js panel/static/*.css) \
	$(wildcard panel/translations/*/LC_MESSAGES/*.po)
BUILT := panel/static/built/manifest.json

# English stands in the source; these are translated.
LANGUAGES := ar es fr pt

# One test process more than there are cores, since some wait for a browser or a line at any time.
# PYTEST_ARGS narrows a run: PYTEST_ARGS="-k unlock".
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min((os.cpu_count() or 1) + 1, 8))')
PYTEST_ARGS ?=
CASES ?= 1
EVENTS ?= 40
DATABASE ?=
EXAMPLES ?= 200
SECONDS ?=
SEED ?=
SATELLITES ?= 300
MESSAGES ?= 50000

# The driver of PostgreSQL is installed only where it is used: not every machine has a build of it.
ifneq ($(filter postgresql%,$(SYNC_PANEL_DATABASE_URL))$(SYNC_PANEL_DATABASE_URL_FILE),)
DRIVER := $(STAMPS)/postgresql
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run check test lint format bench demo soak storm fuzz audit build catalogues browser lock clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile

run: $(STAMPS)/project $(BUILT) $(DRIVER) ## install what is missing, and start the panel
	@exec $(BIN)/sync-panel up

test: $(STAMPS)/test $(STAMPS)/project $(BUILT) browser ## run every test, the browser's too
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

# What needs no browser, no process of its own and no PostgreSQL.
QUICK := $(filter-out tests/bench/ tests/browser/ tests/fuzz/ tests/migrations/ tests/real/ \
	tests/soak/ tests/storm/ tests/support/ tests/wheel/,$(wildcard tests/*/)) $(wildcard tests/test_*.py)

check: lint $(STAMPS)/project $(BUILT) ## lint and the quick tests: for every change, before `make test`
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(QUICK) \
		--ignore tests/cli/test_up.py -m "not search" -k "not postgresql" $(PYTEST_ARGS)

lint: $(STAMPS)/test ## ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict panel tests migrations wsgi.py

format: $(STAMPS)/test ## let ruff put right what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(STAMPS)/test $(STAMPS)/bench $(STAMPS)/project $(BUILT) browser ## weights and speed
	@$(BIN)/python -m tests.bench

demo: $(STAMPS)/project $(BUILT) ## a primary and satellites with data, to look at
	@exec $(BIN)/sync-panel demo

soak: $(STAMPS)/test $(STAMPS)/project $(BUILT) ## kill, restore, copy, cut servers, EVENTS=n; try new examples, SECONDS=n
	@CASES=$(CASES) EVENTS=$(EVENTS) DATABASE=$(DATABASE) EXAMPLES=$(EXAMPLES) SECONDS=$(SECONDS) SEED=$(SEED) $(BIN)/python -m tests.soak

storm: $(STAMPS)/test $(STAMPS)/project $(BUILT) ## attack a server for SECONDS=n while SATELLITES=n synchronise
	@SECONDS=$(SECONDS) SATELLITES=$(SATELLITES) $(BIN)/python -m tests.storm

fuzz: $(STAMPS)/test $(STAMPS)/project $(BUILT) ## send MESSAGES=n spoilt messages to every address, by SEED=n
	@MESSAGES=$(MESSAGES) SEED=$(SEED) $(BIN)/python -m tests.fuzz

audit: $(STAMPS)/audit ## ask for known weaknesses of the packages, where that can be asked
	@PYTHONPATH=$(AUDIT) $(BIN)/python .ci/audit.py requirements/postgresql.txt requirements/build.txt

build: $(STAMPS)/project $(BUILT) ## script, style and translations, when their sources changed

# No guesses, no dates and no line numbers: a diff of a catalogue holds sentences and nothing else.
catalogues: $(STAMPS)/run ## bring the sentences to be translated up to date
	@$(BIN)/pybabel --quiet extract -F pyproject.toml -k "say say_count:1,2 lazy_gettext" \
		--add-location=file --sort-by-file -o $(VENV)/panel.pot .
	@for language in $(LANGUAGES); do $(BIN)/pybabel --quiet update --locale $$language \
		-i $(VENV)/panel.pot -o panel/translations/$$language/LC_MESSAGES/messages.po \
		--no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date; done

browser: $(STAMPS)/test # finds a Chromium or gets one, and says which
	@$(BIN)/python -m tests.browser.chromium

# --- what the above stand on ---------------------------------------------------------------------

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/run: requirements/run.txt $(STAMPS)/venv
	@echo "Installing $<"
	@$(INSTALL) -r $<
	@touch $@

$(STAMPS)/postgresql: requirements/postgresql.txt $(STAMPS)/run
	@echo "Installing $<"
	@$(INSTALL) -r $<
	@touch $@

$(STAMPS)/test: requirements/test.txt $(STAMPS)/run
	@echo "Installing $<"
	@$(INSTALL) -r $<
	@touch $@

# Two folders of their own, so that Django and the peers never reach the panel's environment.
$(STAMPS)/build: requirements/build.txt $(STAMPS)/venv
	@echo "Installing $<"
	@rm -rf $(BUILD_TOOLS)
	@$(INSTALL) --target $(BUILD_TOOLS) -r $<
	@touch $@

$(STAMPS)/bench: requirements/bench.txt $(STAMPS)/venv
	@echo "Installing $<"
	@rm -rf $(PEERS)
	@$(INSTALL) --target $(PEERS) -r $<
	@touch $@

$(STAMPS)/audit: requirements/audit.txt $(STAMPS)/venv
	@echo "Installing $<"
	@rm -rf $(AUDIT)
	@$(INSTALL) --target $(AUDIT) -r $<
	@touch $@

$(STAMPS)/lock: requirements/lock.txt $(STAMPS)/venv
	@$(INSTALL) --upgrade --target $(VENV)/lock -r $<
	@touch $@

# pip would build the project with requirements whose hashes it does not check (a constraint with
# hashes for them came only with pip 25.3, newer than what Debian 12 brings), so the editable wheel
# is made here, from the checked ones, and pip only puts it in place.
$(STAMPS)/project: pyproject.toml hatch_build.py $(STAMPS)/run $(STAMPS)/build
	@echo "Installing the project"
	@rm -rf $(VENV)/wheel
	@PYTHONPATH=$(BUILD_TOOLS) $(BIN)/python -m hatchling build -t wheel:editable \
		-d $(VENV)/wheel >$(VENV)/wheel.log 2>&1 || { cat $(VENV)/wheel.log >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --no-deps --no-index --force-reinstall $(VENV)/wheel/*.whl
	@touch $@

$(BUILT): $(ASSETS) $(STAMPS)/build
	@PYTHONPATH=$(BUILD_TOOLS) $(BIN)/python hatch_build.py

lock: $(STAMPS)/lock ## work out requirements/*.txt anew from pyproject.toml
	@for name in lock bench audit; do $(COMPILE) --group $$name -o requirements/$$name.txt; done
	@$(COMPILE) pyproject.toml -o requirements/run.txt
	@$(COMPILE) pyproject.toml --extra postgresql -c requirements/run.txt \
		-o requirements/postgresql.txt
	@$(COMPILE) pyproject.toml --all-extras --group test -c requirements/run.txt \
		-o requirements/test.txt
	@$(BIN)/python -c 'import tomllib; \
		print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
		| $(COMPILE) - -o requirements/build.txt

clean: ## remove everything that make made; instance/ stays
	rm -rf $(VENV) dist panel/static/built .mypy_cache .pytest_cache .ruff_cache .hypothesis
