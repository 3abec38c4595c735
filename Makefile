# Run make to list the targets. Each target creates .venv when it is missing and updates it when it is out of date.
PYTHON := $(shell command -v python3.11 || command -v python3)
BIN    := .venv/bin
STAMP  := .venv/.installed-by-make
HUB_OFFLINE := $(HF_HUB_OFFLINE)
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help demo test test-real nightly lint app docs reproduce
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*##[[:space:]]*/make \1	/'

demo: export HF_HUB_OFFLINE := $(if $(MODEL),$(HUB_OFFLINE),1)
demo: $(STAMP)  ## manual QA and role-play with the embedded model, offline, in a minute; MODEL=qwen2.5-1.5b fetches a real one
	@case "$(MODEL)" in "" | pocket | *[/:]*) ;; *) $(BIN)/egosrag models get "$(MODEL)" >/dev/null ;; esac
	@$(BIN)/egosrag demo $(if $(MODEL),--model "$(MODEL)")

# A file's tests stay in one process, which share its servers and indexes; the files follow each other in their order.
test: $(STAMP)  ## run the tests on up to four processors; ARGS="tests/cli -x" for some of them
	@$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

test-real: export HF_HUB_OFFLINE := $(HUB_OFFLINE)
test-real: $(STAMP)  ## fetch two real models (1.6 GB) and test talk, manual, Extract, Summarize and likelihoods on them
	@for model in qwen2.5-coder-0.5b qwen2.5-coder-1.5b; do $(BIN)/egosrag models get $$model >/dev/null || exit 1; done
	@EGOSRAG_TEST_REAL=1 $(BIN)/python -m pytest tests/real $(ARGS)

nightly: $(STAMP)  ## long tests: fuzzing, 200 killed conversations, a soak test, 64 clients that leave; takes three hours
	@EGOSRAG_TEST_PROFILE=full $(BIN)/python -m pytest --timeout=4000 tests/security tests/sessions/test_faults.py tests/sessions/test_soak.py tests/serve/test_load.py tests/apps/test_browser.py $$(grep -rl '^from hypothesis' tests --include 'test_*.py') $(ARGS)

lint: $(STAMP)  ## ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/mypy

app: $(STAMP)  ## open the web app in a browser, on this machine only
	@$(BIN)/streamlit run apps/app.py

docs: $(STAMP)  ## write the API reference into runs/docs
	@$(BIN)/python docs/reference.py

reproduce: $(STAMP)  ## reproduce the report in miniature; CONFIG=small with a 0.5B model in hours, CONFIG=full in full size; ARGS="--set model=DIR"
	@$(BIN)/python -m evals.reproduce --config $(or $(CONFIG),mini) $(ARGS)

# Install again when pyproject.toml or constraints.txt is newer than the stamp; pip skips what already fits.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python found: install Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is too old: install Python 3.11 or newer" >&2; exit 1; }
	@echo "setting up .venv (takes some minutes the first time)" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -e '.[app,finetune,evals,gguf,dev]'
	@touch $@
