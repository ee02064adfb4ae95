#!/usr/bin/env bash
# Builds the release archives of a version into a folder: one binary for each
# platform, static and without anything of the machine that built it, a bill of
# materials (CycloneDX, JSON) for each, and SHA256SUMS over all.
#
#   deploy/release/build.sh VERSION OUT [OS/ARCH...]      v1.2.3 dist linux/amd64
#
# The same commit, version and Go release give the same bytes on any machine.
# SOURCE_DATE_EPOCH is the time of the files in the archives; default: that of
# the commit. CYCLONEDX names another cyclonedx-gomod.
# Needs Go, git and Python 3.
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022

usage() {
  sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
  exit 2
}
[ $# -ge 2 ] || usage
version=$1 out=$2
shift 2
if ! [[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]]; then
  echo "build.sh: version is $version, want one such as v1.2.3 or v1.2.3-rc.1" >&2
  exit 2
fi
platforms=("$@")
[ ${#platforms[@]} -gt 0 ] || platforms=(linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64)

mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/../.."
if [ -n "$(ls -A "$out")" ]; then
  echo "build.sh: $out is not empty" >&2
  exit 2
fi
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH

# Nothing of the caller's Go settings may reach the bytes.
export CGO_ENABLED=0 GOFLAGS='' GOEXPERIMENT='' GOAMD64=v1 GOARM64=v8.0 GOFIPS140=off GOWORK=off GOTOOLCHAIN=local

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "${CYCLONEDX:-}" ]; then
  go build -C deploy/tools -o "$work/cyclonedx-gomod" github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
  CYCLONEDX=$work/cyclonedx-gomod
fi

# README, the pages that it sends readers to, and what those are about.
mkdir "$work/pages"
find README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md connectors jobs schemas cmd/optsweep/docs deploy \
  \( -name '*.md' -o -path 'cmd/optsweep/docs/man/*.1' -o -path 'schemas/*' \( -name '*.sql' -o -name '*.json' -o -name '*.txt' \) \) -print0 |
  xargs -0 cp --parents -t "$work/pages"

for platform in "${platforms[@]}"; do
  goos=${platform%/*} goarch=${platform#*/}
  name=optsweep_${version}_${goos}_${goarch}
  binary=optsweep
  [ "$goos" = windows ] && binary=optsweep.exe
  mkdir "$work/$name"
  GOOS=$goos GOARCH=$goarch go build -trimpath -buildvcs=false \
    -ldflags "-s -w -buildid= -X optsweep/cmd/optsweep/internal/wire.stamp=$version" \
    -o "$work/$name/$binary" ./cmd/optsweep
  cp -r "$work/pages/." "$work/$name/"
  # What is linked into this very binary, as Go recorded it; no serial number and no time.
  "$CYCLONEDX" bin -json -noserial -version "$version" -output "$work/sbom.json" "$work/$name/$binary" 2>"$work/sbom.log" ||
    { cat "$work/sbom.log" >&2; exit 1; }
  python3 deploy/release/sbom.py "$work/sbom.json" "$out/$name.cdx.json"
  python3 deploy/release/pack.py "$work/$name" "$out" "$goos"
  echo "built $name"
done
(cd "$out" && sha256sum -- * >"$work/sums" && mv "$work/sums" SHA256SUMS)
