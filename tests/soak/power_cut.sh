#!/usr/bin/env bash
# Power cuts in the middle of runs on a loop-mounted file system, one migration through all of them.
# [ROWS=4000] [BYTES=8000, of an image] [DISK=600M] power_cut.sh ext4|xfs [CUTS]
. "$(dirname "$0")/lib.sh"
kind=$1 cuts=${2:-60}
rows=${ROWS:-4000}
start_sandbox "$rows" "${BYTES:-8000}"
truncate -s "${DISK:-600M}" "$work/disk.img"
if [ "$kind" = xfs ]; then mkfs.xfs -q "$work/disk.img"; else mkfs.ext4 -q -F "$work/disk.img"; fi
mkdir "$work/m"
mounts+=("$work/m")
mount -o loop "$work/disk.img" "$work/m"
out=$work/m/export
done=0 false=0 lost=0 known=0 ended=0
while [ "$done" -lt "$cuts" ]; do
    "$exporter" run "$work/manifest.csv" -o "$out" --concurrency 16 --min-free 1M -q > "$work/run.log" 2>&1 &
    run=$!
    sleep "0.$(printf %03d $((RANDOM % 700 + 60)))"
    kill -0 "$run" 2>/dev/null || ended=$((ended + 1))
    python3 "$here/powercut.py" "$work/m"
    kill -9 "$run" 2>/dev/null || true
    wait "$run" 2>/dev/null || true
    umount "$work/m"
    mount -o loop "$work/disk.img" "$work/m"
    done=$((done + 1))
    text=$(check "$out") || false=$((false + 1))
    now=$(echo "$text" | sed -n 's/^delivered \([0-9]*\).*/\1/p')
    [ "${now:-0}" -ge "$known" ] || lost=$((lost + 1))
    known=${now:-0}
    # all delivered: the next cuts need rows again
    if [ "$known" = "$rows" ]; then
        rm -rf "$out" && sync && known=0
    fi
done
"$exporter" run "$work/manifest.csv" -o "$out" --concurrency 16 --min-free 1M -q
text=$(true_report "$out")
[ "$(find "$out/.exporter" -type f | wc -l)" = 2 ] || false=$((false + 1))
(cd "$out" && sha256sum -c --quiet manifest-sha256.txt) || false=$((false + 1))
no_stray "$out" || false=$((false + 1))
echo "$kind: $cuts power cuts ($ended of them between runs), at the end $text; cuts after which a row was false: $false, after which one was lost: $lost"
[ "$false" = 0 ] && [ "$lost" = 0 ] && [ "${text%% false*}" = "delivered $rows" ]
