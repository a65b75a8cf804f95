# make demo   embed the checkpoints in model_zoo/ and print each one's nearest neighbours
# make test   everything that CI runs
# make docs   the documentation, as docs/_build/html

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check tests docs notebooks clean

demo: $(VENV)/demo.stamp
	@mkdir -p demo
	$(BIN)/weightspace embed model_zoo/checkpoints -o demo/latents.parquet --neighbours 3 --force

test: $(VENV)/dev.stamp check tests docs

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

tests: $(VENV)/dev.stamp
	$(BIN)/python -m pytest

# the site, without a network; a warning is an error
docs: $(VENV)/dev.stamp
	@rm -rf docs/reference/generated
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

# runs the notebooks anew and writes their outputs; commit what comes out
notebooks: $(VENV)/dev.stamp
	$(BIN)/jupytext --to ipynb --update-metadata '{"jupytext":{"formats":"ipynb,py:percent"}}' --execute notebooks/*.py

# torch is named exactly: a bare "torch" may fetch a CUDA build of several gigabytes
$(VENV)/demo.stamp: setup.cfg setup.py pyproject.toml constraints.txt weightspace/nn/loops.c
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet "$$(cat constraints.txt)"
	$(BIN)/pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/demo.stamp
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) demo build docs/_build docs/reference/generated docs/reference/names.md *.egg-info
