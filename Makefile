# Two commands do everything on a fresh machine: `make demo` and `make test`. They need git, make and python3 >= 3.11 with venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
SOURCES := hushgrid meter_agent ppn_node consumer_node configurator testbed experiments
DATA ?=
ARCH ?= arm64
TARGET_PYTHON ?= 3.11

# docker-compose 1.29 or Compose v2, whichever is there.
COMPOSE ?= $(shell command -v docker-compose || echo docker compose)

.PHONY: demo test test-system check bench deb emulation mosquitto brokers format clean lock wheelhouse images containers

demo: $(STAMPS)/testbed mosquitto ## the full testbed: real processes, exact sums
	$(BIN)/hushgrid testbed $(if $(DATA),--data $(DATA))

test: $(STAMPS)/dev mosquitto ## the tests, without those that need minutes
	$(BIN)/pytest -m "not system"

test-system: $(STAMPS)/dev mosquitto emulation ## chaos, long simulations, whole testbeds
	$(BIN)/pytest -m system --durations 15

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

lock: $(STAMPS)/dev ## the exact packages of the images, from pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --generate-hashes --no-header --no-annotate --no-emit-options \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --unsafe-package hushgrid --build-deps-for wheel \
	  --extra configurator --extra containers --extra figures --output-file deploy/requirements.txt pyproject.toml

wheelhouse: $(VENV)/bin/python ## what the images are built from where containers reach no network
	$(BIN)/pip download --quiet --disable-pip-version-check --only-binary :all: --python-version 3.11 --require-hashes \
	  --dest wheelhouse --requirement deploy/requirements.txt

images: wheelhouse ## the images of every role, also where containers reach no network
	$(COMPOSE) build

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
	rm -rf $(VENV) .cache dist build wheelhouse .pytest_cache .mypy_cache .ruff_cache .hypothesis
