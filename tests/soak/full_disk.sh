#!/usr/bin/env bash
# A disk that gets full by blocks and by inodes, one that turns read-only, and one that is unmounted in a run.
. "$(dirname "$0")/lib.sh"
rows=2000
start_sandbox "$rows" 8000
mkdir "$work/m"
mounts+=("$work/m")
bad=0
fail() { echo "$*" >&2; tail -3 "$work/run.log" >&2; bad=$((bad + 1)); }
out=$work/m/export

# expect NAME CODE: the run that was just begun ended so, its rows are untried or right, none failed
expect() {
    [ "$code" = "$2" ] || fail "$1: exit $code, not $2"
    text=$(check "$out") || fail "$1: $text"
    failed=$(tail -n +2 "$out/report.csv" 2>/dev/null | cut -d, -f5 | grep -c '^failed$' || true)
    [ "$failed" = 0 ] || fail "$1: $failed rows failed"
    echo "$1: exit $code, $text, rows failed $failed"
}
run() { code=0; "$exporter" run "$work/manifest.csv" -o "$out" "$@" > "$work/run.log" 2>&1 || code=$?; }

mount -t tmpfs -o size=6m,nr_inodes=100000 tmpfs "$work/m"
run --min-free 0; expect "no blocks left" 1
mount -o remount,size=100m "$work/m"
run --min-free 1M; expect "room again" 0
umount "$work/m"

mount -t tmpfs -o size=100m,nr_inodes=400 tmpfs "$work/m"
run --min-free 0; expect "no inodes left" 1
mount -o remount,nr_inodes=100000 "$work/m"
run --min-free 1M; expect "room again" 0
umount "$work/m"

mount -t tmpfs -o size=100m tmpfs "$work/m"
run --min-free 95M; expect "below --min-free" 1
run --min-free 1M; expect "room again" 0
umount "$work/m"

truncate -s 200M "$work/disk.img"
mkfs.ext4 -q -F "$work/disk.img"
mount -o loop "$work/disk.img" "$work/m"
"$exporter" run "$work/manifest.csv" -o "$out" --concurrency 1 --min-free 1M > "$work/run.log" 2>&1 &
run=$!
sleep 0.6
code=0
umount -l "$work/m"
wait "$run" || code=$?
[ "$code" = 1 ] || fail "unmounted: exit $code"
under=$(find "$work/m" -mindepth 1 | wc -l)
[ "$under" = 0 ] || fail "unmounted: $under files under the mount point"
echo "unmounted in a run: exit $code, files under the mount point $under: $(tail -1 "$work/run.log")"
for _ in $(seq 50); do mount -o loop "$work/disk.img" "$work/m" 2>/dev/null && break; sleep 0.1; done
text=$(check "$out") || fail "unmounted: $text"
run --min-free 1M; expect "mounted again" 0
mount -o remount,ro "$work/m"
rm -f "$work/more.csv"; head -1 "$work/manifest.csv" > "$work/more.csv"; tail -3 "$work/manifest.csv" >> "$work/more.csv"
code=0; "$exporter" run "$work/more.csv" -o "$out" > "$work/run.log" 2>&1 || code=$?
[ "$code" = 1 ] || fail "read-only: exit $code"
echo "read-only: exit $code: $(tail -1 "$work/run.log")"
[ "$bad" = 0 ]
