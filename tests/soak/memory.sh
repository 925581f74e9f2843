#!/usr/bin/env bash
# Very many rows in a control group with little memory: the manifest is loaded, images are fetched for a while, and
# all reports are written; then a few images that are many times as large as the memory.
# memory.sh [ROWS] [LIMIT] [TIME]
. "$(dirname "$0")/lib.sh"
rows=${1:-1000000} limit=${2:-64M} time=${3:-60s}
bad=0

# in_little_memory NAME ROWS CODES OPTIONS…: the run ends with one of CODES and nothing was killed
in_little_memory() {
    name=$1 rows=$2 codes=$3
    shift 3
    rm -rf "$work/export"
    group=/sys/fs/cgroup/memory/soak.$$
    mkdir "$group"
    echo "$limit" > "$group/memory.limit_in_bytes"
    code=0
    bash -c 'echo $$ > "$0/cgroup.procs"; exec "$@"' "$group" \
        "$exporter" run "$work/manifest.csv" -o "$work/export" "$@" > "$work/run.log" 2>&1 &
    run=$!
    # anonymous memory: what the limit counts besides is the page cache, which is given back on demand
    most=0
    while kill -0 "$run" 2> /dev/null; do
        rss=$(sed -n 's/^total_rss //p' "$group/memory.stat")
        [ "${rss:-0}" -le "$most" ] || most=$rss
        sleep 0.2
    done
    wait "$run" || code=$?
    killed=$(sed -n 's/^oom_kill //p' "$group/memory.oom_control")
    rmdir "$group" 2> /dev/null || true
    text=$(true_report "$work/export") || bad=$((bad + 1))
    lines=$(tail -n +2 "$work/export/report.csv" | wc -l)
    echo "$name in $limit: exit $code, $text, $lines lines in report.csv, killed ${killed:-?}, most memory of its own $((most >> 10)) KiB"
    { [[ " $codes " == *" $code "* ]] && [ "$lines" = "$rows" ] && [ "${killed:-0}" = 0 ]; } || bad=$((bad + 1))
}

start_sandbox "$rows" 2000
in_little_memory "$rows rows" "$rows" "0 4" --max-duration "$time"
kill "${pids[@]}"
pids=()
start_sandbox 3 500000000
in_little_memory "3 images of 500 MB" 3 0
[ "$bad" = 0 ]
