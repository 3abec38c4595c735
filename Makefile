# make demo | test | lint | app, and what takes longer; each makes .venv by itself and renews it when it is stale.
PYTHON := $(shell command -v python3.11 || command -v python3)
BIN    := .venv/bin
STAMP  := .venv/.installed-by-make
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help demo test nightly lint app docs reproduce
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*##[[:space:]]*/make \1	/'

demo: $(STAMP)  ## both jobs on the embedded model, offline, in a minute
	@$(BIN)/egosrag demo

test: $(STAMP)  ## the tests; ARGS="tests/test_cli.py -x" for some of them
	@$(BIN)/python -m pytest $(ARGS)

nightly: $(STAMP)  ## fuzzing at length, 200 kills of a conversation, a day of talk; takes an hour
	@EGOSRAG_TEST_PROFILE=full $(BIN)/python -m pytest --timeout=3600 tests/security tests/egos/test_faults.py tests/egos/test_soak.py $(ARGS)

lint: $(STAMP)  ## ruff (rules and format of imports) and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/mypy

app: $(STAMP)  ## the pages in a browser, on this machine alone
	@$(BIN)/streamlit run apps/app.py

docs: $(STAMP)  ## the API reference, from the docstrings, into runs/docs
	@$(BIN)/python docs/reference.py

reproduce: $(STAMP)  ## the report from its data to its last figure, in miniature; CONFIG=full says first what it costs
	@$(BIN)/python -m evals.reproduce --config $(or $(CONFIG),mini)

# The stamp is older than what it was made from: install again. pip leaves alone what already fits.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python found: install Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is too old: install Python 3.11 or newer" >&2; exit 1; }
	@echo "setting up .venv (some minutes the first time)" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -e '.[app,finetune,evals,dev]'
	@touch $@
