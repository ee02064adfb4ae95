module optsweep

go 1.26.0

require (
	cloud.google.com/go/bigquery v1.86.0 // tables of BigQuery; later versions need a module that is not served
	github.com/andybalholm/brotli v1.1.0 // codec of Parquet pages
	github.com/apache/arrow/go/v17 v17.0.0 // decodes id columns of Parquet files, with its low-level readers only, and what BigQuery's Storage API sends
	github.com/apache/thrift v0.25.0 // serialises those structs
	github.com/bmatcuk/doublestar/v4 v4.10.4 // ** in paths
	github.com/goccy/go-yaml v1.19.2 // a YAML parser that knows lines and columns
	github.com/gofrs/flock v0.13.1 // leases that die with their owner
	github.com/golang/snappy v0.0.4 // codec of Parquet pages
	github.com/google/flatbuffers v24.3.25+incompatible // edits the copy of the Arrow schema in Parquet metadata
	github.com/googleapis/gax-go/v2 v2.26.2 // pauses between attempts, as the BigQuery client has them
	github.com/klauspost/compress v1.20.1 // codecs of Parquet pages
	github.com/pierrec/lz4/v4 v4.1.21 // codec of Parquet pages
	github.com/prometheus/client_golang v1.25.0 // /metrics of the embedded operator, and figures of runs
	github.com/prometheus/client_model v0.6.3 // what the next one parses
	github.com/prometheus/common v0.72.0 // the text format, to write and to read a textfile
	github.com/robfig/cron/v3 v3.0.1 // reads cron specs and finds their times; the loop around them is our own
	github.com/rogpeppe/go-internal v1.16.0
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3 // validates OpenLineage events, in tests
	github.com/segmentio/asm v1.2.1 // base64 of whole requests and of batches of ids, several times faster than the standard library
	github.com/spf13/cobra v1.10.2 // command line
	github.com/spf13/pflag v1.0.9
	github.com/xitongsys/parquet-go v1.6.2 // the Thrift structs for new footer elements; its readers and writers are not linked
	go.uber.org/goleak v1.3.0
	golang.org/x/sync v0.24.0
	golang.org/x/term v0.47.0
	google.golang.org/api v0.288.0 // options, iterators and errors of the BigQuery client
	google.golang.org/grpc v1.83.2 // codes of its errors; proxy in front of its emulator, for tests
	google.golang.org/protobuf v1.36.12 // messages of its Storage APIs, for tests
	pgregory.net/rapid v1.3.0
)

require (
	cloud.google.com/go v0.123.0 // indirect
	cloud.google.com/go/auth v0.20.0 // indirect
	cloud.google.com/go/auth/oauth2adapt v0.2.8 // indirect
	cloud.google.com/go/compute/metadata v0.9.0 // indirect
	cloud.google.com/go/iam v1.12.0 // indirect
	github.com/BurntSushi/toml v1.4.1-0.20240526193622-a339e1f7089c // indirect
	github.com/JohnCGriffin/overflow v0.0.0-20211019200055-46fa312c352c // indirect
	github.com/apache/arrow/go/v15 v15.0.2 // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/felixge/httpsnoop v1.0.4 // indirect
	github.com/go-logr/logr v1.4.4 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/goccy/go-json v0.10.3 // indirect
	github.com/google/s2a-go v0.1.9 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/googleapis/enterprise-certificate-proxy v0.3.17 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/klauspost/asmfmt v1.3.2 // indirect
	github.com/klauspost/cpuid/v2 v2.2.8 // indirect
	github.com/kylelemons/godebug v1.1.0 // indirect
	github.com/minio/asm2plan9s v0.0.0-20200509001527-cdd76441f9d8 // indirect
	github.com/minio/c2goasm v0.0.0-20190812172519-36a3d3bbc4f3 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/zeebo/xxh3 v1.0.2 // indirect
	go.opencensus.io v0.24.0 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc v0.67.0 // indirect
	go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp v0.67.0 // indirect
	go.opentelemetry.io/otel v1.45.0 // indirect
	go.opentelemetry.io/otel/metric v1.45.0 // indirect
	go.opentelemetry.io/otel/trace v1.45.0 // indirect
	golang.org/x/crypto v0.57.0 // indirect
	golang.org/x/exp v0.0.0-20240719175910-8a7402abbf56 // indirect
	golang.org/x/exp/typeparams v0.0.0-20231108232855-2478ac86f678 // indirect
	golang.org/x/mod v0.41.0 // indirect
	golang.org/x/net v0.59.0 // indirect
	golang.org/x/oauth2 v0.37.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/telemetry v0.0.0-20260924152758-ed294f943157 // indirect
	golang.org/x/text v0.42.0 // indirect
	golang.org/x/time v0.15.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
	golang.org/x/xerrors v0.0.0-20240903120638-7835f813f4da // indirect
	google.golang.org/genproto v0.0.0-20260715232425-e75dac1f907d // indirect
	google.golang.org/genproto/googleapis/api v0.0.0-20260715232425-e75dac1f907d // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260715232425-e75dac1f907d // indirect
	honnef.co/go/tools v0.8.2 // indirect
)

tool honnef.co/go/tools/cmd/staticcheck
