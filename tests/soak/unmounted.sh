#!/usr/bin/env bash
# A disk that is unmounted in a slow run, with the ledger on it and elsewhere: exit 1 within seconds, nothing under the
# mount point. Needs root.
. "$(dirname "$0")/lib.sh"
start_sandbox 400 1500
mkdir "$work/m"
mounts+=("$work/m")
bad=0
# check_unmount OUT ARGS...: the export folder, and more settings of the run
check_unmount() {
    out=$1
    shift
    mount -t tmpfs -o size=100m tmpfs "$work/m"
    "$exporter" run "$work/manifest.csv" -o "$out" --rate 5/1s --min-free 1M "$@" > "$work/run.log" 2>&1 &
    run=$!
    sleep 3
    umount -l "$work/m"
    start=$SECONDS code=0
    wait "$run" || code=$?
    took=$((SECONDS - start))
    under=$(find "$work/m" -mindepth 1 | wc -l)
    echo "unmounted ($out $*): exit $code after $took s, files under the mount point $under: $(tail -1 "$work/run.log")"
    if [ "$code" != 1 ] || [ "$took" -gt 10 ] || [ "$under" != 0 ]; then bad=$((bad + 1)); fi
}
check_unmount "$work/m/export"
check_unmount "$work/m/export" --state-dir "$work/ledger"
check_unmount "$work/m" --state-dir "$work/ledger2"
[ "$bad" = 0 ]
