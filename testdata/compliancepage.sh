#!/bin/sh
# Takes screenshots of the compliance report (light, dark, and as wide as a phone),
# prints it, and fails if the browser's console complains, if a text has too little
# contrast, if the page is wider than a phone, or if it loads something. Needs
# chromium; the tests do not.
# usage: testdata/compliancepage.sh FOLDER
set -eu
out=${1:?usage: testdata/compliancepage.sh FOLDER}
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
	echo "no chromium: nothing is looked at" >&2
	exit 0
}
mkdir -p "$out"
out=$(cd "$out" && pwd)
go test -count=1 -run '^TestShow$' ./jobs/report/render -show "$out"
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
browse() { # NAME FLAG... PAGE
	name=$1
	shift
	timeout 120 "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$profile" --enable-logging=stderr --v=0 "$@" >"$out/$name.out" 2>"$out/$name.log" || {
		cat "$out/$name.log" >&2
		exit 1
	}
	if grep CONSOLE "$out/$name.log" >&2; then
		echo "the console complains ($name)" >&2
		exit 1
	fi
}
page=file://$out/report.html
browse light --window-size=1100,3600 --screenshot="$out/light.png" "$page"
browse dark --window-size=1100,3600 --blink-settings=preferredColorScheme=0 --screenshot="$out/dark.png" "$page"
browse phone --window-size=500,6000 --screenshot="$out/phone.png" "$page"
browse print --no-pdf-header-footer --print-to-pdf="$out/report.pdf" "$page"
for name in light dark phone; do test -s "$out/$name.png"; done
test -s "$out/report.pdf"
for scheme in 1 0; do # light, dark
	browse "look-$scheme" --blink-settings=preferredColorScheme=$scheme --dump-dom "file://$out/look.html"
	grep WRONG "$out/look-$scheme.out" >&2 && exit 1
	grep LOOKED "$out/look-$scheme.out"
done
echo "screenshots and report.pdf in $out"
