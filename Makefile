# make        set up, run the pipeline, show the metrics
# make test   set up, run all tests
# make preset NAME=laptop   a ready configuration laid over params.yaml; they are in presets/
# make bench   speed, size and cluster: benchmarks/results/{extract,memory,assign,ray,repro}.json, a table each, a plot
# make bench-planted   known answers: benchmarks/results/planted.json
# make bench-faults   what is lost when things break: benchmarks/results/faults.json
# make bench-llm   what language models cost: benchmarks/results/llm.json
# make bench-report   how fast the page is, with a made-up run of 36,864 neurons: benchmarks/results/report.json
# make audit   dependencies: pins, and known vulnerabilities where an advisory service answers
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: all setup repro preset test lint docs bench bench-planted bench-llm bench-faults bench-report audit lock clean

all: repro

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "descry needs Python 3.11 or newer; say which: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

repro: setup
	@python -m stages.commands.mend
	@dvc repro
	@python -m stages.commands.summary

preset: setup
	@python -m stages.commands.preset $(NAME)

test: setup
	@python -m pytest

lint: setup
	@ruff check . && ruff format --check . && mypy

bench: repro
	python benchmarks/assign.py
	python benchmarks/extract.py
	python benchmarks/memory.py
	python benchmarks/cluster.py
	python benchmarks/repro.py

bench-planted: repro
	python benchmarks/planted.py

bench-llm: repro
	python benchmarks/llm.py

bench-report: repro
	python benchmarks/report.py

bench-faults: setup
	python benchmarks/faults.py

docs: repro
	python docs/parameters.py > docs/parameters.md
	python docs/pictures.py

audit: setup  # pins, packages that fit together, and known vulnerabilities where an advisory service answers
	@test -x $(VENV)/audit/bin/pip-audit || { $(BIN)/python -m venv $(VENV)/audit && $(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1; }
	@PATH="$$PATH:$(CURDIR)/$(VENV)/audit/bin" $(BIN)/python .ci/audit

lock: setup  # after a change of pyproject.toml's dependencies
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --upgrade --extra dev --extra ray --extra ssh --extra s3 --strip-extras --no-emit-index-url --no-emit-find-links --no-header --annotation-style line --output-file requirements.lock pyproject.toml
	sed -i 's/+cpu / /' requirements.lock

clean:
	rm -rf $(VENV)
