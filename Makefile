VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# make loadtest RESULTS=deploy/loadtest/results keeps the results of a run; without it they are only printed.
RESULTS ?=
PEERS ?=
keep = $(if $(RESULTS),--output $(RESULTS)/$(1).json)
SOAK_SECONDS ?= 1800

.PHONY: demo serve test test-isa check fuzz soak loadtest bench-peers deploy-check install clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install  ## start the service, detect on a sample page with exact, ACT and tangent attention, show the metrics, stop
	$(BIN)/python -m deploy.demo

serve: install  ## start the service with the settings of the environment
	$(BIN)/act-detr serve

test: install  ## all tests
	$(BIN)/python -m pytest

# Whole runs, downloads and drawn pages take long, and their arithmetic is in the other tests.
NUMERIC := tests/models --ignore=tests/models/data --ignore=tests/models/weights/test_download.py \
	--ignore=tests/models/training/test_train.py --ignore=tests/models/training/test_programme.py \
	--ignore=tests/models/training/test_run_report.py -m 'not slow'

test-isa: install  ## the numeric tests with the instruction sets of other CPUs; `make test` has this one's
	ATEN_CPU_CAPABILITY=avx2 $(BIN)/python -m pytest -q $(NUMERIC)
	ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE $(BIN)/python -m pytest -q $(NUMERIC)
	ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/python -m pytest -q $(NUMERIC)

check: install  ## style, types and layering
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: install  ## longer than the tests: a hundred thousand broken images, five hundred calls of every operation
	ACT_DETR_FUZZ_IMAGES=100000 $(BIN)/python -m pytest -s tests/service/images/test_fuzz_decoding.py
	ACT_DETR_FUZZ_EXAMPLES=500 $(BIN)/python -m pytest tests/end_to_end/test_openapi_fuzz.py

soak: install  ## half an hour of mixed traffic: nothing lost, memory and latency flat
	$(BIN)/python -m deploy.loadtest.soak --seconds $(SOAK_SECONDS) $(call keep,soak)

loadtest: install  ## ten times the service's capacity; SIGTERM under load; kill -9 under a supervisor
	$(BIN)/python -m deploy.loadtest.overload $(call keep,overload)
	$(BIN)/python -m deploy.loadtest.sigterm $(call keep,sigterm)
	$(BIN)/python -m deploy.loadtest.restart_after_kill $(call keep,restart_after_kill)

# BentoML refuses some of the versions in constraints.txt, so they do not bind here; what is installed stays otherwise.
$(VENV)/peers-installed: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[bench]'
	touch $@

# make bench-peers PEERS='--quick --image PAGE.jpg' chooses what the comparison sends.
bench-peers: $(VENV)/peers-installed  ## the service against FastAPI, LitServe, BentoML and Ray Serve around the same detector
	$(BIN)/python -m deploy.peers.compare $(PEERS) $(call keep,peers)

deploy-check: install  ## the image, compose, Prometheus, Grafana and Kubernetes, each by its own tool where that is installed
	$(BIN)/python -m pytest tests/deploy --ignore=tests/deploy/loadtest --ignore=tests/deploy/peers

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
