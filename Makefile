# The same targets for people and for .ci/run. Tools come from .venv where there is one:
#     python3 -m venv .venv && .venv/bin/pip install -e '.[test]' ruff mypy

PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)

.PHONY: check test real torture fuzz bench man

check:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest -n 2

# Debian's cron runs by a clock that is many times faster: on a machine that has more to do it comes late.
BESIDE_CRON := tests/e2e/test_beside_cron.py

# The tests that need a part of the system that is not always there: a C compiler, systemd, FUSE, zsh, fish, Debian's at
# and cron (tests/debian.py says how to give them). They are in `make test` too; here the end lists what was skipped and why.
real:
	$(PYTHON) -m pytest -n 2 -m real --ignore=$(BESIDE_CRON)
	$(PYTHON) -m pytest -m real $(BESIDE_CRON)

# Each script measures one ratio; these are modules that the scripts share.
SHARED := $(addprefix benchmarks/,harness.py procfs.py taskman.py load_once.py peers.py ledger_rows.py scaling_stage.py \
	scaling_loads.py scaling_pools.py scaling_plays.py scaling_aims.py)

# More cases than in the tests: hundreds of kills, thirteen thousand damaged ledgers, fifty thousand histories of a
# simulated scheduler. Takes about three quarters of an hour.
torture:
	$(PYTHON) tests/e2e/torture.py
	$(PYTHON) tests/e2e/sink_torture.py
	$(PYTHON) tests/e2e/dask_chaos.py
	$(PYTHON) tests/fuzz/opened.py --cases 10000
	$(PYTHON) tests/fuzz/salvaged.py --cases 3000
	$(PYTHON) tests/fuzz/histories.py --seeds 10000
	TASKMAN_SEEDS=10000 $(PYTHON) -m pytest -n 2 $(sort $(wildcard tests/unit/test_*simulation.py))

# More cases than in the tests, each time from another seed: five minutes for each fuzzer.
fuzz:
	@set -e; for name in sockets commands jobfiles names ledgers salvaged; do \
		echo "== $$name"; $(PYTHON) tests/fuzz/$$name.py --seconds 300; \
	done

bench:
	@set -e; for script in $(filter-out $(SHARED),$(sort $(wildcard benchmarks/*.py))); do \
		echo "== $$script"; $(PYTHON) $$script; \
	done

# The man pages say what docs/ says.
man:
	$(PYTHON) man/generate.py
	@if command -v mandoc >/dev/null; then mandoc -Tlint -Wwarning man/*.[157]; \
	else echo "mandoc is not installed: the man pages were not linted"; fi
