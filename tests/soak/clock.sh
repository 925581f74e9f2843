#!/usr/bin/env bash
# Clocks that are wrong, and that jump in a run (libfaketime). Timeouts and pauses use the steady clock.
. "$(dirname "$0")/lib.sh"
command -v faketime > /dev/null || { echo "faketime is not installed" >&2; exit 2; }
rows=2000
start_sandbox "$rows" 8000
bad=0
export FAKETIME_DONT_FAKE_MONOTONIC=1
for shift in '-10m' '+2h' '-400d' '+0 x100'; do
    rm -rf "$work/export"
    code=0
    timeout 120 faketime -f "$shift" "$exporter" run "$work/manifest.csv" -o "$work/export" -q > "$work/run.log" 2>&1 || code=$?
    text=$(true_report "$work/export") || bad=$((bad + 1))
    { [ "$code" = 0 ] && [ "$text" = "delivered $rows false 0" ]; } || { bad=$((bad + 1)); cat "$work/run.log" >&2; }
    echo "client clock $shift: exit $code, $text"
done
# a clock that jumps forth and back while the run goes on: libfaketime reads the file again and again
export FAKETIME_TIMESTAMP_FILE=$work/clock FAKETIME_NO_CACHE=1
echo '+0' > "$work/clock"
rm -rf "$work/export"
lib=$(find /usr/lib -name 'libfaketime.so.1' | head -1)
LD_PRELOAD=$lib "$exporter" run "$work/manifest.csv" -o "$work/export" --concurrency 1 -q > "$work/run.log" 2>&1 &
run=$!
jumps=0
while kill -0 "$run" 2>/dev/null && [ "$jumps" -lt 200 ]; do
    for at in '+3h' '-3h' '+40d' '+0'; do echo "$at" > "$work/clock"; sleep 0.1; jumps=$((jumps + 1)); done
done
code=0
wait "$run" || code=$?
text=$(true_report "$work/export") || bad=$((bad + 1))
{ [ "$code" = 0 ] && [ "$text" = "delivered $rows false 0" ]; } || { bad=$((bad + 1)); cat "$work/run.log" >&2; }
echo "clock that jumped $jumps times in a run: exit $code, $text"
[ "$bad" = 0 ]
