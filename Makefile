# Two commands do everything on a fresh machine: `make demo` and `make test`. They need git, make and python3 >= 3.11 with venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
SOURCES := hushgrid meter_agent ppn_node consumer_node configurator testbed experiments
DATA ?=

.PHONY: demo test test-system check bench mosquitto format clean

demo: $(STAMPS)/testbed mosquitto ## the full testbed: real processes, exact sums
	$(BIN)/hushgrid testbed $(if $(DATA),--data $(DATA))

test: $(STAMPS)/dev mosquitto ## the tests, without those that need minutes
	$(BIN)/pytest -m "not system"

test-system: $(STAMPS)/dev mosquitto ## chaos, long simulations, whole testbeds
	$(BIN)/pytest -m system

check: $(STAMPS)/dev ## ruff, mypy strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMPS)/dev mosquitto ## speed as ratios, each measured in one run against its reference
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

format: $(STAMPS)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hushgrid needs Python 3.11 or newer" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	mkdir -p $(STAMPS)

$(STAMPS)/testbed: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[testbed]'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@mkdir -p $(STAMPS) && touch $@ $(STAMPS)/testbed

# Mosquitto is the broker to have; without it the embedded one serves demonstrations, and tests that need Mosquitto say so.
mosquitto:
	@if command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Mosquitto"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq mosquitto mosquitto-clients; } >/dev/null \
	    || echo "Mosquitto could not be installed: the embedded broker is used" >&2; \
	else echo "Mosquitto is not installed: the embedded broker is used (as root, apt-get install mosquitto)" >&2; fi

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
