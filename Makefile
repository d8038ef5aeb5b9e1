# Every command does its own set-up on a bare machine that has Python 3.11 or newer.
PYTHON ?= python3
.PHONY: check test test-full quickstart lint-layers engine-start engine-stop bench bench-quick bench-long bench-bake bench-scale

.venv/.ready: pyproject.toml
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo 'error: this needs Python 3.11 or newer with its venv module (Debian: apt-get install python3-venv)' >&2; exit 5; }
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

# Seconds, without engine and network: what every commit passes.
check: .venv/.ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/python -m pytest -q tests/unit tests/golden tests/properties tests/conformance tests/tools
	.venv/bin/buildsys plan --check >/dev/null
	.venv/bin/buildsys schema --check

# All set-up, then the checks and the tests on a real engine and registry.
test: .venv/.ready
	.venv/bin/python tools/run_tests.py

# The long suites besides: source compiles, faults.
test-full: .venv/.ready
	.venv/bin/python tools/run_tests.py --full

quickstart: .venv/.ready
	.venv/bin/python tools/quickstart.py

lint-layers: .venv/.ready
	.venv/bin/python tools/run_tests.py --only tests/integration/test_layer_lint.py

engine-start:
	$(PYTHON) tools/private_engine.py start

engine-stop:
	$(PYTHON) tools/private_engine.py stop

# Eight images built four ways, in every situation that matters: under 100 minutes; writes bench/results and docs/benchmarks.md.
bench: .venv/.ready
	.venv/bin/python bench/images.py

# Four images without a compile, two ways, each situation once: under 8 minutes.
bench-quick: .venv/.ready
	.venv/bin/python bench/images.py --quick

# All of Open MPI in every image: hours.
bench-long: .venv/.ready
	.venv/bin/python bench/images.py --long

# What `buildsys bake` costs beyond plain bake, and four hundred stacks at once: about half an hour.
bench-bake: .venv/.ready
	.venv/bin/python bench/overhead.py
	.venv/bin/python bench/many_stacks.py
	.venv/bin/python bench/family.py

# Plan, keys, rendering and look-ups for 100 to 10,000 stacks, and `bake --print` beside: under 6 minutes.
bench-scale: .venv/.ready
	.venv/bin/python bench/plan_scale.py
