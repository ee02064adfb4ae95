package cli

// commandExamples are the examples in the help of each command, by its path. A
// test wants some for each command that does something, and that their commands
// and flags exist.
var commandExamples = map[string]string{
	"check":          "optsweep check ids.txt\noptsweep check --output json < ids.txt",
	"demo":           "optsweep demo\noptsweep demo --rows 20000 --dir try --no-run",
	"doctor":         "optsweep doctor --config crm.yaml",
	"gate":           "optsweep gate --table crm --max-age 24h\noptsweep gate audience.parquet --clean upload.parquet",
	"init":           "optsweep init\noptsweep init --config crm.yaml",
	"plan":           "optsweep plan\noptsweep plan --out tonight.json && optsweep run --plan tonight.json",
	"prove":          "optsweep prove < id.txt\noptsweep prove --no-scan --output json < id.txt",
	"publish":        "optsweep publish --config crm.yaml",
	"purge":          "optsweep purge --dry-run\noptsweep purge --ids 30d --runs 24mo --ledger 24mo",
	"report":         "optsweep report\noptsweep report --format json --out report.json\noptsweep report --evidence pack.zip --since 2026-05-01 --until 2026-05-31",
	"report columns": "optsweep report columns",
	"run":            "optsweep run\noptsweep run --dry-run\noptsweep run --config crm.yaml --progress none --log-format json\noptsweep run --override max_new_flags",
	"runs":           "optsweep runs\noptsweep runs --workspace ./workspace --output json",
	"schedule":       "optsweep schedule\noptsweep schedule --config /etc/optsweep/jobs --listen 127.0.0.1:9090",
	"unflag":         "optsweep unflag --reason \"entered by mistake\" --ticket PRIV-12 < id.txt",
	"validate":       "optsweep validate\noptsweep validate --config crm.yaml --output json",
	"verify":         "optsweep verify\noptsweep verify --workspace ./workspace\noptsweep verify pack.zip --public-key signer.pem",
	"version":        "optsweep version",

	"completion":       "source <(optsweep completion bash)\noptsweep completion zsh > \"${fpath[1]}/_optsweep\"\noptsweep completion fish > ~/.config/fish/completions/optsweep.fish",
	"docs man":         "optsweep docs man --out man1",
	"docs markdown":    "optsweep docs markdown --out commands.md",
	"docs schema":      "optsweep docs schema --out job.schema.json",
	"operator import":  "optsweep operator import optouts.csv --format csv --id-column id --time-column opted_out_at --time-unit rfc3339 --optout-log ./optout",
	"operator inspect": "optsweep operator inspect ./optout",
	"operator key new": "optsweep operator key new --clients clients.json",
	"operator serve":   "optsweep operator serve --optout-log ./optout --clients clients.json\noptsweep operator serve --optout-log ./optout --clients clients.json --fault 429:every=10",
	"runs show":        "optsweep runs show 20260304T040000.000Z",
	"schedule explain": "optsweep schedule explain --next 10",
	"suppress import":  "optsweep suppress import --source site-form --basis \"opt-out form of the site\" --format csv --id-column euid --time-column opted_out_at --time-unit rfc3339 optouts.csv",
	"suppress list":    "optsweep suppress list",
	"suppress remove":  "optsweep suppress remove --source site-form --reason \"merged into crm-optouts\" --ticket PRIV-7",
}
