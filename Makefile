PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
IN_VENV := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

.PHONY: run test test-slow lint clean

run: $(INSTALLED)  ## the embedded default, from nothing to a table
	$(IN_VENV) snakemake --cores 1 --resources gpu=1

test: $(INSTALLED)  ## the fast tests, no network
	$(IN_VENV) python -m pytest

test-slow: $(INSTALLED)  ## the tests that run stages for real
	$(IN_VENV) python -m pytest -m slow

lint: $(INSTALLED)
	$(IN_VENV) ruff check .
	$(IN_VENV) ruff format --check .
	$(IN_VENV) snakefmt --check .
	$(IN_VENV) snakemake --lint

$(INSTALLED): pyproject.toml $(wildcard requirements/*.txt)
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else f"Python {v[0]}.{v[1]} is not possible; allowed: 3.11 or 3.12, as in make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint requirements/constraints.txt --editable '.[dev]'
	touch $@

clean:  ## results stay; DVC keeps what it has
	rm -rf $(VENV) .snakemake .pytest_cache .ruff_cache
