#!/bin/sh
# Takes screenshots of the status page (light, dark, and as wide as a phone) and
# fails if the browser's console complains. Needs chromium; the tests do not.
# usage: testdata/statuspage.sh FOLDER
set -eu
out=${1:?usage: testdata/statuspage.sh FOLDER}
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
	echo "no chromium: nothing is looked at" >&2
	exit 0
}
address=127.0.0.1:19090
mkdir -p "$out"
go test -c -o "$out/page.test" ./cmd/optsweep/internal/page
"$out/page.test" -test.run '^TestShow$' -show "$address" &
server=$!
profile=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$profile" "$out/page.test"' EXIT
for _ in 1 2 3 4 5 6 7 8 9 10; do
	if curl -sf "http://$address/healthz" >/dev/null; then break; fi
	sleep 0.5
done
shot() { # NAME SIZE FLAG...
	name=$1 size=$2
	shift 2
	timeout 60 "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$profile" --enable-logging=stderr --v=0 \
		--window-size="$size" --screenshot="$out/$name.png" "$@" "http://$address/" 2>"$out/$name.log" || {
		cat "$out/$name.log" >&2
		exit 1
	}
	if grep CONSOLE "$out/$name.log" >&2; then
		echo "the console complains ($name)" >&2
		exit 1
	fi
	test -s "$out/$name.png"
}
shot light 1100,1500
shot dark 1100,1500 --blink-settings=preferredColorScheme=0
shot phone 500,2200
echo "screenshots in $out"
