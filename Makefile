.PHONY: build test race bench bench-parquet bench-scale bench-bigquery test-bigquery bigquery-demo emulator soak kill mutate test-parquet test-spark deploy release ci

build:            ## the program, static
	CGO_ENABLED=0 go build -trimpath -o bin/optsweep ./cmd/optsweep

test:             ## what README names
	go test ./...

race:             ## the same under the race detector
	go test -race ./...

bench:            ## rates of the operator's two sides, of the opt-out log and of the id set
	go test -run '^$$' -bench . ./connectors/envelope ./connectors/operator ./connectors/embedded ./connectors/optoutlog ./jobs/idset ./schemas

bench-parquet:    ## column append, extraction and the whole job against DuckDB, arrow and a copy: an hour; testdata/parquet/bench/bench.py says how to make it less
	$(BENCH_VENV)
	bin/bench-venv/bin/python testdata/parquet/bench/bench.py

bench-scale:      ## the whole job with 1 to 100 million ids, and over 1,000 and 10,000 files: an hour
	$(BENCH_VENV)
	bin/bench-venv/bin/python testdata/parquet/bench/scale.py

define BENCH_VENV
test -x bin/bench-venv/bin/python || python3 -m venv bin/bench-venv
bin/bench-venv/bin/pip install --quiet --disable-pip-version-check -r testdata/parquet/bench/requirements.txt
endef

emulator:         ## the BigQuery emulator that tests and demo use: some minutes, once
	BQ_EMULATOR_BIN=build go test -count=1 -run TestMerge ./connectors/bigquery/bqtest

bigquery-demo:    ## the whole job over tables of the BigQuery emulator, with all that it prints
	BQ_EMULATOR_BIN=build go test -count=1 -timeout 30m -run TestBigQueryJob -v ./cmd/optsweep

test-bigquery:    ## the connector against BigQuery itself: OPTSWEEP_BIGQUERY_PROJECT=my-project make test-bigquery
	@test -n "$$OPTSWEEP_BIGQUERY_PROJECT" || { echo "set OPTSWEEP_BIGQUERY_PROJECT to a project in which datasets may be made"; exit 1; }
	go test -count=1 -timeout 60m -v -run 'TestAgainst|TestColumn|TestSuppression|TestRemove|TestRepeated|TestQuery|TestClear' ./connectors/bigquery

bench-bigquery:   ## rows per second of staging, reading and writing back, against the emulator
	BQ_EMULATOR_BIN=build go test -run '^$$' -bench . -benchtime 1x -timeout 30m ./connectors/bigquery

soak:             ## ten minutes of load on the embedded operator with hot reloads
	go test -run Soak -v -timeout 30m ./connectors/embedded -soak 10m

kill:             ## three hundred runs killed at random moments
	go test -run Killed -v -timeout 60m ./cmd/optsweep -kills 300

mutate:           ## a hundred thousand damaged Parquet files; SEED=n for others
	go test -run MutatedFiles -v -timeout 2h ./connectors/parquet -mutations 100000 -mutation-seed $(or $(SEED),1)

test-parquet:     ## files of many writers through many readers; SEED=0 draws any, FILES=n for more
	testdata/parquet/many/run --seed $(or $(SEED),1) --files $(or $(FILES),150)

test-spark:       ## the same with Spark among the writers and readers: some minutes, needs Java 17
	testdata/parquet/many/run --seed $(or $(SEED),1) --files $(or $(FILES),150) --spark

deploy:           ## check all that is under deploy/
	deploy/check.sh

release:          ## archives for all platforms: make release VERSION=v1.2.3
	deploy/release/build.sh $(VERSION) dist

ci:               ## everything that must pass
	.ci/run
