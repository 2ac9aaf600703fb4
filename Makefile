# Needs make and Python 3.11 or newer with pip and venv; `make` alone lists the targets.

PYTHON ?= python3
# Flags for `jackfield serve`, as in: make serve ARGS="--port 9000"
ARGS ?=
# Flags for pytest, as in: make test PYTEST_ARGS="-k plugins -x"
PYTEST_ARGS ?= -n 4 --dist loadfile
PYTEST_FULL_ARGS ?= -n 3 --dist worksteal --timeout 900
# Flags for the benchmark, as in: make bench BENCH_ARGS="--only unary"
BENCH_ARGS ?=
# Further interpreters for it; without it python3.13 is looked for
export PYTHONS ?=
# Port of `make docs-serve` and `make conformance-server`, and the latter's carrier (picows or asgi)
PORT ?= 3000
WEBSOCKET ?= picows

VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
PACKAGES := kernel $(PLUGINS)
LOWEST := .tools/lowest
INTEROP := tests/interop
BENCH := tests/bench/peers
BENCH_MODULES := $(if $(shell command -v npm),$(BENCH)/node_modules/.installed)
NODE_MODULES := $(if $(wildcard $(INTEROP)/package.json),$(if $(shell command -v npm),$(INTEROP)/node_modules/.installed))

# The uv on PATH if it runs, else one of the project's own.
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .tools/bin/uv)
export UV_PYTHON_DOWNLOADS := never

PYTHON_CHECK := import sys; ok = sys.version_info >= (3, 11); \
	ok or sys.stderr.write("jackfield needs Python 3.11 or newer, $(PYTHON) is %d.%d: make PYTHON=/path/to/python\n" % sys.version_info[:2]); \
	sys.exit(not ok)
define need_python
@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: make PYTHON=/path/to/python" >&2; exit 1; }
@$(PYTHON) -c '$(PYTHON_CHECK)'
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install serve test test-full test-kernel test-lowest bench bench-quick conformance-server docs docs-serve lint lint-contrib lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## make .venv with all packages, editable, and the locked tools

serve: install ## start a server: make serve ARGS="--port 9000"
	$(BIN)/jackfield serve $(ARGS)

test: install $(NODE_MODULES) $(BENCH_MODULES) ## run the tests: make test PYTEST_ARGS="-k plugins"
	$(BIN)/pytest -m "not full" $(PYTEST_ARGS)

test-full: install $(NODE_MODULES) $(BENCH_MODULES) ## run the large tests, and those of the transport on the ASGI carrier
	$(BIN)/pytest -m full $(PYTEST_FULL_ARGS)
	TESTS_WEBSOCKET=asgi $(BIN)/pytest -m "not full and not carrier" \
		tests/interop tests/hardening tests/faults/test_calls.py tests/faults/test_hooks.py $(PYTEST_FULL_ARGS)

test-kernel: install ## run the kernel's own tests: make test-kernel VENV=.tools/python-3.13 PYTHON=python3.13
	$(BIN)/pytest -m "not full" tests/kernel $(PYTEST_ARGS)

test-lowest: $(LOWEST)/.installed ## run the kernel's tests, and some of a whole server, on the lowest versions that the packages allow
	$(LOWEST)/bin/pytest -m "not full" tests/kernel tests/cli/test_group.py tests/conformance $(PYTEST_ARGS)

conformance-server: install ## serve what the public protocol suites expect: make conformance-server PORT=3000 WEBSOCKET=asgi
	$(BIN)/python -m tests.conformance.server --port $(PORT) --websocket $(WEBSOCKET)

bench: install $(BENCH_MODULES) ## measure against the peers: make bench BENCH_ARGS="--only unary --rounds 3"
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

bench-quick: install $(BENCH_MODULES) ## fail where a ratio to the peers has fallen
	$(BIN)/python -m tests.bench --quick

docs: install ## build the documentation's site into build/docs/site; a warning, or a link that leads nowhere, fails it
	$(BIN)/python -m tests.docs.site

docs-serve: docs ## the same, and show it: make docs-serve PORT=3000
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/docs/site $(PORT)

lint: install ## check style, types, layers and licences
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@for package in $(PACKAGES); do cmp LICENSE $$package/LICENSE || exit 1; done

lint-contrib: install .tools/contrib/.installed ## check contrib/ and the workflows against the schemas and rules of what reads them
	.tools/contrib/bin/hadolint contrib/docker/Dockerfile
	.tools/contrib/bin/check-jsonschema --builtin-schema vendor.compose-spec contrib/compose/compose.yaml
	.tools/contrib/bin/kubernetes-validate --strict --quiet contrib/kubernetes/jackfield.yaml
	.tools/contrib/bin/check-jsonschema --builtin-schema vendor.github-workflows $(wildcard .github/workflows/*.yml)
	.tools/contrib/bin/zizmor --offline --no-progress --quiet .github/workflows
	@# The workflow of a project that the template makes, as it is made.
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && workflow="$$folder/jackfield-weather/.github/workflows/ci.yml" && \
		$(BIN)/jackfield new weather --no-input --output-dir "$$folder" && \
		.tools/contrib/bin/check-jsonschema --builtin-schema vendor.github-workflows "$$workflow" && \
		.tools/contrib/bin/zizmor --offline --no-progress --quiet "$$workflow"

lock: $(UV) ## move requirements.lock, and that of the tools, to the newest versions allowed
	$(UV) lock --python $(PYTHON) --upgrade
	@printf '%s\n' '# Made by `make lock`. Versions and hashes of all that the workspace uses: every extra, every group.' > requirements.lock
	$(UV) export --python $(PYTHON) --frozen --quiet --format requirements-txt --no-header \
		--all-packages --all-extras --all-groups --no-emit-workspace >> requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-header --no-annotate \
		--no-emit-index-url .ci/tools.in -o .ci/tools.lock

clean: ## remove what make made
	rm -rf $(VENV) .tools uv.lock dist build .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	rm -rf .coverage .coverage.* htmlcov $(INTEROP)/node_modules $(BENCH)/node_modules tests/bench/latest.json
	find kernel plugins tests -name __pycache__ -type d -prune -exec rm -rf {} +

.tools/bin/uv:
	$(need_python)
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9,<0.14'

$(BIN)/python:
	$(need_python)
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# The packages build with the hatchling of the lock, so nothing unlocked is fetched, and plugins with the kernel's build
# hook. Where the environment forbids to write bytecode later, a start would take twice as long without that of the
# installation.
$(VENV)/.installed: requirements.lock $(PACKAGES:=/pyproject.toml) | $(UV) $(BIN)/python
	$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e ./kernel
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(PLUGINS:%=-e ./%)
	$(UV) pip check --quiet --python $(BIN)/python
	@touch $@

# The floors are resolved anew each time: what the packages name at its lowest, and what that needs in turn at its newest.
$(LOWEST)/.installed: requirements.lock $(PACKAGES:=/pyproject.toml) | $(UV)
	$(need_python)
	$(PYTHON) -m venv --clear $(LOWEST)
	$(UV) pip compile --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --all-extras --no-header --no-annotate \
		$(PACKAGES:=/pyproject.toml) -o $(LOWEST)/floors.txt
	$(UV) pip install --quiet --python $(LOWEST)/bin/python -r $(LOWEST)/floors.txt --group build --group test
	$(UV) pip install --quiet --python $(LOWEST)/bin/python --no-deps --no-build-isolation -e ./kernel
	$(UV) pip install --quiet --python $(LOWEST)/bin/python --no-deps --no-build-isolation $(PLUGINS:%=-e ./%)
	$(UV) pip check --quiet --python $(LOWEST)/bin/python
	@touch $@

.tools/contrib/.installed: .ci/tools.lock | $(UV)
	$(need_python)
	$(PYTHON) -m venv --clear .tools/contrib
	$(UV) pip sync --quiet --python .tools/contrib/bin/python --require-hashes .ci/tools.lock
	@touch $@

%/node_modules/.installed: %/package.json %/package-lock.json
	cd $* && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@
