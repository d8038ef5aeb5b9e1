# `make test` does its own set-up on a bare machine that has Python 3.11 or newer.
PYTHON ?= python3
.PHONY: test
.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@
test: .venv/.ready
	.venv/bin/python -m pytest tests/unit
