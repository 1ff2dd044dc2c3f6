# Two commands matter: `make demo` and `make test`. Everything sets up what is missing first.
PY := .venv/bin/python
LAB := $(PY) -m lab.enter --
PYTEST := $(PY) -m pytest -q
ARGS ?=

.PHONY: help setup check-alerts demo test check style types imports unit property integration dataplane soak browser bench-loop bench-reports bench-elastic-ip bench-migration bench-node bench-fleet openapi clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: ## packages, .venv, Postgres: whatever is missing
	@./setup.sh

demo: setup ## three hypervisors and six VMs on this machine's kernel; ARGS=--once runs it and exits
	@$(PY) -m demo $(ARGS)

test: check property integration dataplane demo-once browser ## everything but what is slow by nature (make soak)

check: style types imports unit ## style, types, imports, unit tests: under a minute

style: setup
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: setup
	@$(PY) -m mypy

imports: setup
	@.venv/bin/lint-imports --no-logo 2>/dev/null || .venv/bin/lint-imports

unit: setup
	@$(PYTEST) tests/unit tests/repo

property: setup ## laws, on random input
	@$(PYTEST) tests/property

integration: setup ## real Postgres, real HTTP
	@$(PYTEST) -m 'not slow' tests/integration

dataplane: setup ## real kernel, real packets, in network namespaces
	@$(LAB) $(PYTEST) -m 'not slow' tests/dataplane

soak: ## what is slow by nature: crashes over and over, every topology's demo, floods, two replicas behind haproxy; CI runs it too
	@./setup.sh soak
	@$(PYTEST) tests/soak
	@$(PYTEST) -m slow tests/integration
	@$(LAB) $(PYTEST) -m slow tests/dataplane

browser: ## the dashboard, in a real Chromium
	@./setup.sh browser
	@$(PYTEST) tests/browser

demo-once: setup
	@$(PY) -m demo --once

check-alerts: ## Prometheus checks the alerts, and tries them on made-up series
	@./setup.sh monitoring
	@promtool check rules deploy/prometheus/verge.rules.yml
	@promtool test rules deploy/prometheus/verge.rules.test.yml

bench-elastic-ip: setup ## an elastic IP moves: POST to the first answered ping
	@$(LAB) $(PY) -m bench.elastic_ip $(ARGS)

bench-migration: setup ## a live migration's cut-over: POST to the first answered ping
	@$(LAB) $(PY) -m bench.migration $(ARGS)

bench-node: ## what the data plane costs: programming, packets, floods, beside EDGE mode's rule set
	@./setup.sh bench
	@$(LAB) $(PY) -m bench.node $(ARGS)

bench-reports: setup ## 10,000 nodes report one change; what asking and watching cost meanwhile
	@$(PY) -m bench.reports $(ARGS)

bench-fleet: setup ## what a fleet costs the view server: 10 to 10,000 agents, beside a floor
	@PYTHONPATH=services:. $(PY) -m bench.fleet $(ARGS)

bench-loop: setup ## POST to reported, by stage
	@$(LAB) $(PY) -m bench.loop $(ARGS)

openapi: setup ## write openapi/*.json anew
	@.venv/bin/verge-viewserver openapi >openapi/viewserver.json
	@.venv/bin/verge-nodeagent openapi >openapi/nodeagent.json

clean: ## remove what setup and the tests made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache data
