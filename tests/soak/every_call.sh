#!/usr/bin/env bash
# A fault at the first, second, third … durable call (write, fsync, rename, open for writing, mkdir, unlink …) of a
# run, until a run gets through without one. After each: what the ledger calls delivered is true; a run of another
# manifest ends well and leaves no file in data/ that is not listed; so does the next run of this one, and then
# everything is there.
# INJECTOR=PROGRAM [ROWS=6] [BYTES=5000, of an image] every_call.sh kill|EIO|ENOSPC|EDQUOT|short [STEP]
#
# INJECTOR runs `INJECTOR PROGRAM ARGS…`, counts the durable calls of all its threads on paths that contain FA_PATH,
# does FA_MODE at call FA_N, and leaves the count in the last line of the file FA_COUNT (seccomp notification can).
. "$(dirname "$0")/lib.sh"
mode=$1 step=${2:-1}
: "${INJECTOR:?the program that makes calls fail}"
rows=${ROWS:-6}
start_sandbox "$rows" "${BYTES:-5000}"
out=$work/export
head -2 "$work/manifest.csv" > "$work/other.csv"
n=1 points=0 false=0 unfinished=0 codes=""
while [ "$points" -lt 5000 ]; do
    rm -rf "$out"
    : > "$work/count"
    code=0
    # the shell would tell of every kill
    { FA_N=$n FA_MODE=$mode FA_PATH=$out FA_COUNT=$work/count timeout 60 "$INJECTOR" \
        "$exporter" run "$work/manifest.csv" -o "$out" --concurrency 4 -q > "$work/run.log" 2>&1 || code=$?; } 2> /dev/null
    reached=$(tail -1 "$work/count")
    [ "${reached:-0}" -ge "$n" ] || break
    codes+="$code "
    [ "$code" != 124 ] || { echo "call $n: hung" >&2; false=$((false + 1)); }
    [ "$mode" = kill ] || [ "$code" -le 3 ] || { echo "call $n: exit $code" >&2; cat "$work/run.log" >&2; false=$((false + 1)); }
    if [ -e "$out/.exporter/ledger.sqlite" ]; then
        check "$out" > "$work/check.log" 2>&1 || { echo "call $n: $(cat "$work/check.log")" >&2; false=$((false + 1)); }
        # an exit code of 0 is a promise
        if [ "$code" = 0 ] && ! grep -q "^delivered $rows " "$work/check.log"; then
            echo "call $n: exit 0 with $(cat "$work/check.log")" >&2
            false=$((false + 1))
        fi
    elif [ "$code" = 0 ]; then
        echo "call $n: exit 0 without a ledger" >&2
        false=$((false + 1))
    fi
    if ! "$exporter" run "$work/other.csv" -o "$out" -q > "$work/again.log" 2>&1 || ! no_stray "$out"; then
        echo "call $n ($mode, exit $code): the run of another manifest: $(cat "$work/again.log")" >&2
        unfinished=$((unfinished + 1))
    fi
    rm -rf "$out/reports"
    if ! "$exporter" run "$work/manifest.csv" -o "$out" -q > "$work/again.log" 2>&1 ||
        ! no_stray "$out" ||
        [ "$(true_report "$out")" != "delivered $rows false 0" ] ||
        [ "$(find "$out/.exporter" -type f | wc -l)" != 2 ] ||
        [ "$(find "$out" -name '*.tmp' | wc -l)" != 0 ]; then
        echo "call $n ($mode, exit $code): the next run: $(cat "$work/again.log")" >&2
        unfinished=$((unfinished + 1))
    fi
    points=$((points + 1))
    n=$((n + step))
done
counted=$(echo "$codes" | tr ' ' '\n' | grep . | sort -n | uniq -c | awk '{printf "%s%s×%s", sep, $1, $2; sep=", "}')
echo "$mode: $points faults (runs × exit code: $counted); false $false, not finished by the next run $unfinished"
[ "$points" -gt 0 ] && [ "$false" = 0 ] && [ "$unfinished" = 0 ]
