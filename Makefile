# `make run` and `make test` set up everything they need; a second time they start at once.
# PYTHON= chooses the Python (3.11 or newer) that makes the environment, PORT= moves the local stack.

PYTHON ?= python3
VENV := .venv
SAM := .venv-sam
AWS := .venv-aws
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SAM_READY := $(SAM)/.ready
AWS_READY := $(AWS)/.ready

export SAM_CLI_TELEMETRY := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# No command here talks to AWS by itself, yet sam and cfn-lint ask for a region.
export AWS_DEFAULT_REGION ?= eu-south-1

.DEFAULT_GOAL := help
# How many seeds `make simulation` runs.
SEEDS ?= 2000
# How many examples `make fuzz` makes for each route, beside those that cover its schema, and from which seed.
FUZZ_CASES ?= 15
FUZZ_SEED ?= 1

.PHONY: help run test slow simulation fuzz soak bench bench-compare lint types imports validate build openapi messages e2e clean

help: ## What there is
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

run: $(READY) ## The whole system on this machine, with demo data (PORT=8001)
	@exec $(BIN)/python -m infra.local $(if $(PORT),--port $(PORT))

test: $(READY) ## Unit, integration and template tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -q -m 'not slow'
	$(BIN)/python -m pytest -q tests/simulation/test_simulation.py  # in a process of its own: moto has one memory for all

slow: $(READY) ## The tests that take more than their share: death at every call, large pools, months of alerts
	$(BIN)/python -m pytest -n 2 --dist load -q -m slow tests/integration

simulation: $(READY) ## The simulation: SEEDS=2000 runs, and the bugs made on purpose
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)
	$(BIN)/python -m pytest -n 2 -q tests/simulation/test_mutants.py

fuzz: $(READY) ## Schemathesis against every route: FUZZ_CASES=15 FUZZ_SEED=1
	$(BIN)/python -m tests.fuzz --cases $(FUZZ_CASES) --seed $(FUZZ_SEED)

soak: $(READY) ## The simulation, one seed after another, until Ctrl-C
	$(BIN)/python -m tests.simulation --seeds 0 --from $$(date +%s)

bench: $(READY) $(SAM_READY) ## Speed and cost, each figure with its floor or target; BENCH=--quick, BENCH="--json FILE"
	-@infra/build $(SAM)/bin/sam >/dev/null  # without python3.13 what needs it is left out
	$(BIN)/python -m tests.bench $(BENCH)

bench-compare: $(READY) ## The newest run of the bench against an older one: BASE=a commit, or a file
	-@$(BIN)/python -m tests.bench.compare $(BASE)

lint: $(READY) ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## mypy, strict
	$(BIN)/mypy

imports: $(READY) ## Who may import whom
	$(BIN)/lint-imports

validate: $(SAM_READY) ## The templates
	$(SAM)/bin/sam validate --lint
	$(SAM)/bin/cfn-lint template.yaml infra/*.yaml

build: $(SAM_READY) ## What deploys: sam build, byte-compiled
	infra/build $(SAM)/bin/sam

openapi: $(READY) ## Write the OpenAPI document anew
	$(BIN)/python -m infra.openapi

messages: $(READY) ## Bring the catalogues up to date with the texts in the code
	$(BIN)/python -m infra.messages
	$(BIN)/python -m infra.agent_messages

e2e: $(READY) $(AWS_READY) ## The slow suites: make run, a real proxy, the aws command line, sam local
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/e2e

clean: ## Remove everything that was made here
	rm -rf $(VENV) $(SAM) $(AWS) .aws-sam .local

$(READY): pyproject.toml constraints.txt layers/licensing/requirements.txt agent/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.13 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]' -e agent
	@touch $@

$(SAM_READY): constraints-sam.txt
	$(PYTHON) -m venv $(SAM)
	$(SAM)/bin/python -m pip install --quiet -c constraints-sam.txt aws-sam-cli
	@touch $@

$(AWS_READY): constraints-aws.txt
	$(PYTHON) -m venv $(AWS)
	$(AWS)/bin/python -m pip install --quiet -c constraints-aws.txt awscli
	@touch $@
