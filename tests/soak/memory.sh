#!/usr/bin/env bash
# Very many rows in a control group with little memory: the manifest is loaded, images are fetched for a while, and
# all reports are written. memory.sh [ROWS] [LIMIT] [TIME]
. "$(dirname "$0")/lib.sh"
rows=${1:-1000000} limit=${2:-64M} time=${3:-60s}
start_sandbox "$rows" 2000
group=/sys/fs/cgroup/memory/soak.$$
mkdir "$group"
echo "$limit" > "$group/memory.limit_in_bytes"
code=0
bash -c 'echo $$ > "$0/cgroup.procs"; exec "$@"' "$group" \
    "$exporter" run "$work/manifest.csv" -o "$work/export" --max-duration "$time" > "$work/run.log" 2>&1 || code=$?
peak=$(cat "$group/memory.max_usage_in_bytes")
killed=$(grep -c . <(grep 'oom_kill [1-9]' "$group/memory.oom_control") || true)
rss=$(grep '^total_rss ' "$group/memory.stat" | cut -d' ' -f2)
rmdir "$group" 2>/dev/null || true
text=$(true_report "$work/export")
lines=$(tail -n +2 "$work/export/report.csv" | wc -l)
echo "$rows rows in $limit: exit $code, $text, $lines lines in report.csv, out-of-memory kills $killed, peak with page cache $((peak >> 20)) MiB, rss at the end $((rss >> 20)) MiB"
{ [ "$code" = 4 ] || [ "$code" = 0 ]; } && [ "$lines" = "$rows" ] && [ "$killed" = 0 ]
