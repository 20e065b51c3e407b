VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# make loadtest RESULTS=deploy/loadtest/results keeps the results of a run; without it they are only printed.
RESULTS ?=
PEERS ?=
keep = $(if $(RESULTS),--output $(RESULTS)/$(1).json)
SOAK_SECONDS ?= 1800

.PHONY: demo serve test test-isa check fuzz soak loadtest bench bench-peers deploy-check install clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install  ## start the service, detect on a sample page with every attention mode, show the metrics, stop
	$(BIN)/python -m deploy.demo

serve: install  ## start the service with the settings of the environment
	$(BIN)/act-detr serve

test: install  ## all tests
	$(BIN)/python -m pytest

# Whole runs, downloads and drawn pages take long, and their arithmetic is in the other tests.
NUMERIC := tests/models --ignore=tests/models/data --ignore=tests/models/weights/test_download.py \
	--ignore=tests/models/weights/hub --ignore=tests/models/training/test_train.py \
	--ignore=tests/models/training/test_programme.py --ignore=tests/models/training/test_run_report.py -m 'not slow'

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

# make bench writes the results that docs/performance.md quotes, and draws its tables from them. RESULTS=folder keeps
# them in that folder instead, QUICK=1 in build/bench. What is not installed is left out, and said how to install.
QUICK ?=
BENCH_FOLDER = $(or $(RESULTS),$(if $(QUICK),build/bench))
result = --output $(or $(BENCH_FOLDER),$(1)/results)/$(2).json
quick_or = $(if $(QUICK),$(1),$(2))

bench: install  ## all figures of docs/performance.md, on two CPU threads within 20 minutes; QUICK=1 to see that it runs
	$(BIN)/python -m models.benchmarks.tangent --threads 2 --attention tangent:C=16 kmeans:C=16 act:L=16,r=4 act \
		$(call quick_or,--tokens 638 2508 --repeats 2,--tokens 638 2508 4200 16800 --repeats 3) \
		$(call result,models/benchmarks,attention)
	$(BIN)/python -m models.benchmarks.auto --threads 1 \
		$(call quick_or,--aspects 1 1.294 --repeats 2,--sides 352 704 --repeats 5) $(call result,models/benchmarks,auto)
	for model in r50 dc5; do for precision in fp32 bf16; do \
		$(BIN)/python -m models.benchmarks.throughput --threads 2 --model $$model --precision $$precision \
			--attention exact tangent:C=16 $(call quick_or,--size 256x320 --repeats 2,--size 800x1066 --repeats 3) \
			$(call result,models/benchmarks,$$model-$$precision) || exit 1; \
	done; done
	$(BIN)/python -m deploy.loadtest.startup $(call quick_or,--starts 2,--starts 5) $(call result,deploy/loadtest,startup)
	$(BIN)/python -m deploy.loadtest.serving $(call quick_or,--threads 2 --seconds 2 --rounds 1,--seconds 4 --rounds 3) \
		$(call result,deploy/loadtest,streams)
	$(BIN)/python -m deploy.peers.compare --quick $(call quick_or,--rounds 1) $(PEERS) $(call result,deploy/peers,peers)
	$(if $(BENCH_FOLDER),@echo the results are in $(BENCH_FOLDER),$(BIN)/python -m deploy.performance)

deploy-check: install  ## the image, compose, Prometheus, Grafana and Kubernetes, each by its own tool where that is installed
	$(BIN)/python -m pytest tests/deploy --ignore=tests/deploy/loadtest --ignore=tests/deploy/peers

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
