# Two commands do everything on a fresh machine: `make demo` and `make test`. They need git, make and python3 >= 3.11 with venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
SOURCES := hushgrid meter_agent ppn_node consumer_node configurator privacy_gateway grid_operator testbed experiments
DATA ?=
# Tests run in so many processes at a time (0: in this one); LANE chooses some of the system tests, TESTS some files and folders
# of the others; REPORT is a JUnit file.
WORKERS ?= 2
LANE ?=
TESTS ?=
REPORT ?=
# What is installed beside the packages: for `make test` everything.
EXTRAS ?= dev
PYTEST = $(BIN)/pytest --numprocesses $(WORKERS) --durations 40 $(if $(REPORT),--junitxml $(REPORT))
ARCH ?= arm64
TARGET_PYTHON ?= 3.11

# docker-compose 1.29 or Compose v2, whichever is there.
COMPOSE ?= $(shell command -v docker-compose || echo docker compose)

# The newest Python here of those that pyproject.toml names, "" when none is newer than PYTHON. pyenv keeps what is on no PATH.
NEWEST = $(shell for version in $$(sed -n 's/.*:: Python :: \(3\.[0-9]*\)",/\1/p' pyproject.toml | sort -rV); do \
  for found in python$$version $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version.*/bin/python$$version; do \
    $$found -c 'import ensurepip, ssl, sqlite3' >/dev/null 2>&1 || continue; \
    $(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] >= tuple(map(int, '$$version'.split('.'))))" && command -v $$found; exit; \
  done; done)
# What is played there: what needs no broker and no process, every role's clean stop, and one secure testbed.
NEWEST_TESTS := $(addprefix tests/hushgrid/,conducted core plan statements wire shell/test_database.py) \
  $(addprefix tests/configurator/,audit authority masked offline placement registry rounds rules) \
  $(addprefix tests/consumer_node/,masked shares) $(addprefix tests/meter_agent/,masked shares) tests/ppn_node \
  $(addprefix tests/testbed/,choices verdict) tests/test_clean_stop.py \
  tests/hushgrid/shell/test_transport.py::test_mutual_tls_carries_a_flood_through_a_paused_reader \
  tests/testbed/brokers/test_secure.py::test_a_secure_testbed_gives_exact_sums

.PHONY: environment oracles demo test test-newest newest coverage test-system check bench deb emulation mosquitto brokers servers format clean lock wheelhouse images containers

environment: $(STAMPS)/dev ## what the checks and the tests need of Python

oracles: .venv-oracles/stamp ## other codes for grids, in an environment of their own: pandapower holds packages back that we use newer

demo: $(STAMPS)/testbed mosquitto ## the full testbed: real processes, exact sums
	$(BIN)/hushgrid testbed $(if $(DATA),--data $(DATA))

test: $(STAMPS)/dev mosquitto ## the tests, without those that need minutes
	$(PYTEST) -m "not system" $(TESTS)

test-newest: ## a part of them on the newest Python that is installed, in .venv-newest
	@newest="$(NEWEST)"; if [ -z "$$newest" ]; then echo "no Python newer than that of $(PYTHON) is installed"; \
	  else $(MAKE) test PYTHON="$$newest" VENV=.venv-newest EXTRAS=testbed,tests TESTS="$(NEWEST_TESTS)"; fi

newest: ## where that Python is
	@echo "$(NEWEST)"

coverage: $(STAMPS)/dev mosquitto ## the same tests, and how much of each folder they run
	@mkdir -p out && rm -f out/coverage.json
	status=0; $(PYTEST) -m "not system" --cov --cov-report=json:out/coverage.json $(TESTS) || status=$$?; \
	  $(BIN)/python tests/support/coverage_by_folder.py out/coverage.json && exit $$status

test-system: $(STAMPS)/dev mosquitto emulation oracles ## chaos, long simulations, whole testbeds
ifdef LANE
	$(PYTEST) -m "system and ($(LANE))"
else
	$(PYTEST) -m "system and not cluster"
	$(PYTEST) -m "system and cluster" --numprocesses 1
endif

check: $(STAMPS)/dev ## ruff, mypy strict, import contracts, what nobody uses
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks/*.py examples/*.py
	$(BIN)/lint-imports
	$(BIN)/vulture

bench: $(STAMPS)/dev mosquitto ## speed as ratios, each measured in one run against its reference
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

format: $(STAMPS)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(STAMPS)/dev ## the exact packages of the images, from pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --generate-hashes --no-header --no-annotate --no-emit-options \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --unsafe-package hushgrid --build-deps-for wheel \
	  --extra configurator --extra containers --extra figures --extra postgresql --output-file deploy/requirements.txt pyproject.toml

wheelhouse: $(VENV)/bin/python ## what the images are built from where containers reach no network
	$(BIN)/pip download --quiet --disable-pip-version-check --only-binary :all: --python-version 3.11 --require-hashes \
	  --dest wheelhouse --requirement deploy/requirements.txt

images: wheelhouse ## the images of every role, also where containers reach no network
	$(COMPOSE) build

# Made anew when the command line asks for another Python than the one that is in it.
VERSION := import sys; print(sys.version_info[:2])
ifeq ($(origin PYTHON),command line)
ifneq ($(shell $(PYTHON) -c '$(VERSION)' 2>/dev/null),$(shell $(VENV)/bin/python -c '$(VERSION)' 2>/dev/null))
.PHONY: $(VENV)/bin/python
endif
endif

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hushgrid needs Python 3.11 or newer" >&2; exit 2; }
	$(PYTHON) -m venv $(if $(wildcard $(VENV)/pyvenv.cfg),--clear) $(VENV)
	mkdir -p $(STAMPS)

$(STAMPS)/testbed: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[testbed]'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@mkdir -p $(STAMPS) && touch $@ $(STAMPS)/testbed

.venv-oracles/stamp: pyproject.toml
	$(PYTHON) -m venv .venv-oracles
	.venv-oracles/bin/pip install --quiet --disable-pip-version-check -e '.[oracles]'
	@touch $@

# Mosquitto is the broker to have; without it the embedded one serves demonstrations, and tests that need Mosquitto say so.
mosquitto:
	@if command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Mosquitto"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq mosquitto mosquitto-clients; } >/dev/null \
	    || echo "Mosquitto could not be installed: the embedded broker is used" >&2; \
	else echo "Mosquitto is not installed: the embedded broker is used (as root, apt-get install mosquitto)" >&2; fi

deb: $(STAMPS)/testbed ## the meter's Debian package for a Raspberry Pi, in dist/ (ARCH=amd64, TARGET_PYTHON=3.13)
	$(BIN)/python deploy/raspberry-pi/build_deb.py --arch $(ARCH) --python $(TARGET_PYTHON)

# For the tests of the Raspberry Pi's package: an emulator of 64-bit ARM, a tool that fetches Debian, one that boots it.
emulation:
	@if command -v qemu-aarch64-static >/dev/null && command -v mmdebstrap >/dev/null && command -v systemd-nspawn >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing qemu-user-static, mmdebstrap and systemd-container"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq qemu-user-static mmdebstrap systemd-container; } >/dev/null \
	    || echo "they could not be installed: their tests are skipped" >&2; \
	else echo "qemu-user-static, mmdebstrap and systemd-container are not installed: their tests are skipped" >&2; fi

brokers: mosquitto ## every engine that the conformance tests know; without them those tests are skipped
	@if command -v nats-server >/dev/null && command -v rabbitmqctl >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing NATS server and RabbitMQ"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nats-server rabbitmq-server >/dev/null; \
	else echo "NATS server and RabbitMQ are not installed (as root, apt-get install nats-server rabbitmq-server)" >&2; fi

servers: ## PostgreSQL, for the tests of the gateway's store; each starts its own and needs no running one
	@if [ -n "$$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] || command -v initdb >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing PostgreSQL"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null; \
	else echo "PostgreSQL is not installed: its tests are skipped (as root, apt-get install postgresql)" >&2; fi

containers: ## what the tests of containers need: Docker, Compose, and mmdebstrap for stand-ins of images that cannot be pulled
	@if command -v docker >/dev/null && { command -v docker-compose || docker compose version; } >/dev/null 2>&1 \
	    && command -v mmdebstrap >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Docker, docker-compose and mmdebstrap"; \
	  apt-get update -qq; \
	  command -v docker >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq docker.io >/dev/null; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq docker-compose mmdebstrap >/dev/null; \
	else echo "Docker, docker-compose or mmdebstrap is not installed: the tests of containers are skipped" >&2; fi
	@if [ "$$(id -u)" = 0 ] && command -v dockerd >/dev/null && ! docker info >/dev/null 2>&1; then \
	  echo "starting Docker"; \
	  service docker start >/dev/null 2>&1 || true; \
	  for second in 1 2 3 4 5 6 7 8 9 10; do docker info >/dev/null 2>&1 && break; sleep 1; done; fi

clean:
	rm -rf $(VENV) .venv-newest .venv-oracles .cache dist build wheelhouse .pytest_cache .mypy_cache .ruff_cache .hypothesis
