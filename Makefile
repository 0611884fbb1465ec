# The index of habits: `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
RUN_READY := $(VENV)/.ready-run
DEV_READY := $(VENV)/.ready-dev
GPU_VENV := .venv-gpu
MUTANTS_VENV := .venv-mutants
MUTANTS_READY := $(MUTANTS_VENV)/.ready
CLIENTS_VENV := .venv-clients
CLIENTS_READY := $(CLIENTS_VENV)/.ready
GPU_READY := $(GPU_VENV)/.ready
INSTALL := bash deploy/install.sh
THIS := $(INSTALL) $(VENV) --no-build-isolation -e . -e ./DeepSeek-OCR-master -e ./client

help: ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | column -t -s '|'

$(PY):
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 to 3.14 is needed: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v <= (3, 14))' \
		|| { echo "$$($(PYTHON) --version) is not supported: Python 3.11 to 3.14 is needed; say PYTHON=python3.12" >&2; exit 1; }
	@echo "making the virtual environment $(VENV)" >&2
	@if command -v uv >/dev/null; then uv venv --quiet --python "$$(command -v $(PYTHON))" $(VENV); \
		else bash deploy/with_progress.sh "making $(VENV)" $(PYTHON) -m venv $(VENV); fi \
		|| { echo "the venv could not be made: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }

$(RUN_READY): requirements.lock requirements-models.lock pyproject.toml | $(PY)
	@echo "installing dependencies into $(VENV), about 580 MB (once; some seconds with uv, a minute or two with pip)" >&2
	@$(INSTALL) $(VENV) -r requirements.lock && $(INSTALL) $(VENV) -r requirements-models.lock && $(THIS)
	@echo "installed; starting" >&2
	@touch $@

$(DEV_READY): requirements-dev.lock requirements-models.lock pyproject.toml | $(PY)
	@echo "installing dependencies for the tests into $(VENV) (once; some seconds with uv, a minute or two with pip)" >&2
	@$(INSTALL) $(VENV) -r requirements-dev.lock && $(INSTALL) $(VENV) -r requirements-models.lock && $(THIS)
	@touch $@ $(RUN_READY)

$(GPU_READY): requirements-worker-vllm.lock | $(PY)
	@echo "installing vLLM for the worker into $(GPU_VENV) (once, several minutes: torch and CUDA are 5 GB)" >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] > (3, 13))' \
		|| { echo "vLLM's lock has no packages for Python 3.14; say PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -m venv $(GPU_VENV)
	@$(INSTALL) $(GPU_VENV) --require-hashes -r $<
	@touch $@

# Beside the packages of the tests' environment it has mutmut, which must not be among them: it brings setproctitle.
$(MUTANTS_READY): requirements-mutants.lock | $(DEV_READY)
	@echo "installing mutmut into $(MUTANTS_VENV) (once)" >&2
	@$(PYTHON) -m venv $(MUTANTS_VENV)
	@$(INSTALL) $(MUTANTS_VENV) --require-hashes -r $<
	@echo "import site; site.addsitedir('$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
		> "$$($(MUTANTS_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tests.pth"
	@touch $@

# LiteLLM's proxy pins the versions of much that the service has at others.
$(CLIENTS_READY): requirements-clients.lock client/pyproject.toml | $(DEV_READY)
	@echo "installing the clients of other people into $(CLIENTS_VENV) (once, a minute)" >&2
	@$(PYTHON) -m venv $(CLIENTS_VENV)
	@$(INSTALL) $(CLIENTS_VENV) --require-hashes -r $<
	@touch $@

# As it was typed: a file's name may hold anything.
run: override export FILE := $(value FILE)
run: $(RUN_READY) $(if $(GPU),$(GPU_READY)) ## run the whole service locally and read a document  [PORT=8000 FILE=x.pdf ONCE=1 GPU=1]
	@$(if $(GPU),ENGINE=deepseek-ocr) exec $(PY) -m deploy.local $(if $(PORT),--port $(PORT)) $(if $(FILE),--file "$$FILE") \
		$(if $(ONCE),--once) $(if $(GPU),--worker-python $(GPU_VENV)/bin/python)

key: $(RUN_READY) ## make an API key of the running service  [NAME=alice PORT=8000]
	@$(if $(NAME),,echo "say whose key it is: make key NAME=alice" >&2; exit 2;) $(PY) -m deploy.local.key "$(NAME)" $(if $(PORT),--port $(PORT))

test: $(DEV_READY) ## run linters, type checks, import rules and all tests
	@$(MAKE) --no-print-directory lint
	@$(PY) -m pytest -n 3 --dist loadfile # many tests wait for processes: a third fills two cores

lint: $(DEV_READY) ## ruff, mypy, import-linter
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check -q . && $(VENV)/bin/mypy && $(VENV)/bin/lint-imports --no-cache

test-engine: $(DEV_READY) ## the real vLLM on the CPU with a tiny model, in an environment of its own  [VLLM=0.32.0]
	@VLLM=$(VLLM) bash tests/vllm/run.sh

test-clients: $(DEV_READY) $(CLIENTS_READY) ## read a document with the clients of other people, in an environment of their own
	@$(PY) -m tests.clients $(CLIENTS_VENV)/bin/python

chaos: $(DEV_READY) ## inject random faults into the real processes and check every job  [SEED=1 JOBS=100 PAYLOADS=s3]
	@$(PY) -m tests.chaos --seed $(or $(SEED),1) --jobs $(or $(JOBS),100) --payloads $(or $(PAYLOADS),folder)

soak: $(DEV_READY) ## constant load; report each process's memory and its slope  [MINUTES=10]
	@$(PY) -m benchmarks.soak --minutes $(or $(MINUTES),10)

bench: $(DEV_READY) ## the service beside bare programs and the OCR library: one table, JSON and a drawing in build/bench
	@$(PY) -m benchmarks.service

bench-quality: $(DEV_READY) ## reading faults of real model outputs; errors on known documents, beside tesseract
	@$(PY) -m benchmarks.deepseek_outputs
	@$(PY) -m benchmarks.quality

bench-gpu: MODEL_PATH = $(or $(MODEL),/models/deepseek-ai/DeepSeek-OCR)
bench-gpu: BUILD = build/bench-gpu
bench-gpu: ## DeepSeek-OCR on this machine's GPU: kernels, levers, in process, stock vLLM, HTTP and queue  [MODEL=folder]
	@rm -rf $(BUILD) && mkdir -p $(BUILD) && set -o pipefail \
		&& python3 -m benchmarks.gpu_kernels | tee $(BUILD)/1-kernels.jsonl \
		&& python3 -m benchmarks.gpu_levers "$(MODEL_PATH)" | tee $(BUILD)/2-levers.jsonl \
		&& python3 -m benchmarks.gpu_engine "$(MODEL_PATH)" --gpu-memory 0.88 | tee $(BUILD)/3-engine.jsonl \
		&& python3 -m benchmarks.gpu_queue "$(MODEL_PATH)" --pages 4096 --gpu-memory 0.88 --engine $(BUILD)/3-engine.jsonl \
			| tee $(BUILD)/4-queue.jsonl \
		&& python3 -m benchmarks.gpu_report $(BUILD)

mutants: $(MUTANTS_READY) ## change the code one thing at a time and see whether a test notices  [SAMPLE=100]
	@$(MUTANTS_VENV)/bin/mutmut run; $(PY) -m tools.mutant_report
	@$(PY) -m tools.lua_mutants $(if $(SAMPLE),--sample $(SAMPLE))

images: $(DEV_READY) ## build both container images for real and read a page through them (root, buildah)
	@bash deploy/images/build.sh

lock: $(DEV_READY) ## resolve every lock anew from pyproject.toml
	@bash deploy/lock.sh

clean: ## remove what was built and every local run's data
	rm -rf $(VENV) $(GPU_VENV) $(MUTANTS_VENV) $(CLIENTS_VENV) .venv-vllm* data build dist mutants

.PHONY: help run key test lint test-engine test-clients chaos soak mutants bench bench-quality bench-gpu images lock clean
