#!/usr/bin/env bash
# A fault at the first, second, third … look at the export (stat, open, readdir, each in turn) of a second run, a plan
# or a verification, until a command gets through without one. A look that failed says nothing: afterwards every image
# is still delivered, the next run asks for nothing, and no report says otherwise.
# [ROWS=6] [BYTES=5000, of an image] [STEP=1] every_look.sh [EIO|ESTALE|EACCES|ETIMEDOUT [run|plan|verify|repair]…]
#
# The injector is that of the tests; it is compiled here.
. "$(dirname "$0")/lib.sh"
error=${1:-EIO}
[ $# -eq 0 ] || shift
commands=${*:-run plan verify repair}
rows=${ROWS:-6} step=${STEP:-1}
"${CC:-cc}" -O1 -o "$work/inject" "$here/../inject/inject.c"
start_sandbox "$rows" "${BYTES:-5000}"
good=$work/good out=$work/export
"$exporter" run "$work/manifest.csv" -o "$good" -q
[ "$(true_report "$good")" = "delivered $rows false 0" ]
requests() { grep -o '"api_requests": *[0-9]*' "$1/summary.json" | grep -o '[0-9]*$'; }
# the images that the ledger calls delivered and that are on the disk with their bytes
delivered() { check "$out" 2>&1 | sed -n "s/^delivered \([0-9]*\) false 0$/\1/p"; }

looks=0 lost=0 false=0 requested=0 hung=0 codes=""
for command in $commands; do
    case $command in
        run) args=(run "$work/manifest.csv" -o "$out" -q) ;;
        plan) args=(plan "$work/manifest.csv" -o "$out") ;;
        verify) args=(verify "$out") ;;
        repair) args=(verify "$out" --repair) ;;
    esac
    for call in stat open list; do
        n=0
        while [ "$n" -lt 5000 ]; do
            rm -rf "$out"
            cp -a "$good" "$out"
            rm -f "$work/acted"
            code=0
            INJECT_LOG=$work/acted timeout 60 "$work/inject" \
                "call=$call,path=$out,errno=$error,after=$n,count=1" -- "$exporter" "${args[@]}" \
                > "$work/command.log" 2>&1 || code=$?
            [ -s "$work/acted" ] || break
            looks=$((looks + 1)) codes+="$code "
            where="$command, $call $((n + 1)), $error at $(cat "$work/acted"), exit $code"
            n=$((n + step))
            [ "$code" != 124 ] || { echo "$where: hung" >&2; hung=$((hung + 1)); }
            # a repair may take one file back whose own bytes cannot be read (EIO), if others can
            may_lose=0
            if [ "$command" = repair ] && [ "$error" = EIO ] && grep -q "/data/.*\." "$work/acted"; then may_lose=1; fi
            still=$(delivered)
            [ "${still:-0}" -ge $((rows - may_lose)) ] || { echo "$where: ${still:-0} delivered" >&2; lost=$((lost + 1)); }
            if [ "$code" = 0 ] && [ "$command" = run ] && ! true_report "$out" > /dev/null 2>&1; then
                echo "$where: exit 0 with a report that is not true" >&2
                false=$((false + 1))
            fi
            if ! "$exporter" run "$work/manifest.csv" -o "$out" -q > "$work/again.log" 2>&1 ||
                [ "$(true_report "$out")" != "delivered $rows false 0" ]; then
                echo "$where: the next run: $(cat "$work/again.log")" >&2
                false=$((false + 1))
            elif [ "$(requests "$out")" -gt "$may_lose" ]; then
                echo "$where: the next run asked for $(requests "$out") images" >&2
                requested=$((requested + 1))
            fi
        done
    done
done
counted=$(echo "$codes" | tr ' ' '\n' | grep . | sort -n | uniq -c | awk '{printf "%s%s×%s", sep, $1, $2; sep=", "}')
echo "$error: $looks looks that failed ($commands × stat, open, list; looks × exit code: $counted); lost $lost, false $false, asked for again $requested, hung $hung"
[ "$looks" -gt 0 ] && [ "$lost" = 0 ] && [ "$false" = 0 ] && [ "$requested" = 0 ] && [ "$hung" = 0 ]
