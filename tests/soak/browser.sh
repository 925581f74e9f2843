#!/usr/bin/env bash
# Looks at report.html in headless Chromium (Debian: chromium, python3), in every form and of exports of every shape.
#
#   tests/soak/browser.sh PICTURES [SHAPE...]
#
# The pictures go to the folder PICTURES. Fails if a page is wider than its window, has text on text, a contrast below
# 4.5:1 (3:1 in its charts), a script, more than 150 KB, or makes a request. EXPORTER and CHROMIUM name the programs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
pictures=$1
shift
exporter=${EXPORTER:-$here/../../target/release/exporter}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$pictures"
for shape in "${@:-one three many million empty stopped}"; do
    for each in $shape; do
        python3 "$here/browser_ledger.py" "$here/../../src/ledger/schema.sql" "$work/$each" "$each"
        started=$(date +%s.%N)
        "$exporter" report "$work/$each" > /dev/null
        echo "$each: reports written in $(date +%s.%N | awk -v s="$started" '{ printf "%.1f", $1 - s }') s"
    done
done
python3 "$here/browser.py" "${CHROMIUM:-chromium}" "$work" "$pictures"
