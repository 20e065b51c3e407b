VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo serve test check fuzz install clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install  ## start the service, detect on a sample page with exact, ACT and tangent attention, show the metrics, stop
	$(BIN)/python -m service.demo

serve: install  ## start the service with the settings of the environment
	$(BIN)/act-detr serve

test: install  ## all tests
	$(BIN)/python -m pytest

check: install  ## style, types and layering
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: install  ## longer than the tests: a hundred thousand broken images, five hundred calls of every operation
	$(BIN)/python deploy/loadtest/fuzz_decoding.py --inputs 100000
	ACT_DETR_FUZZ_EXAMPLES=500 $(BIN)/python -m pytest tests/end_to_end/test_openapi_fuzz.py

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
