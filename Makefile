# make demo   embed the checkpoints in model_zoo/ and print each one's nearest neighbours
# make test   everything that CI runs

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check tests clean

demo: $(VENV)/demo.stamp
	@mkdir -p demo
	$(BIN)/weightspace embed model_zoo/checkpoints -o demo/latents.parquet --neighbours 3 --force

test: $(VENV)/dev.stamp check tests

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

tests: $(VENV)/dev.stamp
	$(BIN)/python -m pytest

# torch is named exactly: a bare "torch" may fetch a CUDA build of several gigabytes
$(VENV)/demo.stamp: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet "$$(cat constraints.txt)"
	$(BIN)/pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/demo.stamp
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
