#!/usr/bin/env bash
# A bad network, in a network namespace of its own: nothing can leave this machine. Needs tc, and nft for loss and
# for packets that vanish.
[ -n "${IN_NAMESPACE:-}" ] || IN_NAMESPACE=1 exec unshare -n "$0" "$@"
. "$(dirname "$0")/lib.sh"
ip link set lo mtu 1500 up
rows=3000
bad=0
start_sandbox "$rows" 20000
mv "$work/manifest.csv" "$work/all.csv"
# take N: the first rows alone
take() { head -$(($1 + 1)) "$work/all.csv" > "$work/manifest.csv"; }
take 40
port() { echo "$MAXAI_API_URL" | sed 's/.*:\([0-9]*\).*/\1/'; }
run() { code=0; rm -rf "$work/export"; timeout "${LIMIT:-300}" "$exporter" run "$work/manifest.csv" -o "$work/export" "$@" > "$work/run.log" 2>&1 || code=$?; }
expect() {
    text=$(true_report "$work/export") || bad=$((bad + 1))
    failed=$(tail -n +2 "$work/export/report.csv" | cut -d, -f5 | grep -c '^failed$' || true)
    echo "$1: exit $code, $text, failed $failed, $(grep -c outage "$work/run.log" || true) lines about an outage"
    { [ "$code" = "$2" ] && [ "$failed" = 0 ]; } || { bad=$((bad + 1)); tail -5 "$work/run.log" >&2; }
}

tc qdisc replace dev lo root tbf rate 1mbit burst 32kb latency 2s
run; expect "1 Mbit/s for 32 images at a time" 0
tc qdisc replace dev lo root tbf rate 100kbit burst 16kb latency 4s
take 5
run; expect "100 kbit/s" 0
take 40
tc qdisc del dev lo root

if command -v nft > /dev/null; then
    drop() { nft -f - <<E
table inet soak {
 chain o { type filter hook output priority 0; policy accept; $1 }
}
E
    }
    drop 'meta l4proto tcp numgen random mod 100 < 30 counter drop;'
    run; expect "30 % loss" 0
    nft delete table inet soak
    drop "tcp dport $(port) tcp flags syn counter drop;"
    LIMIT=60 run --max-outage 15s; expect "connections vanish" 1
    grep -q "no connection within 10 s" "$work/run.log" || { echo "no word about connecting" >&2; bad=$((bad + 1)); }
    nft delete table inet soak
fi

# the link is down for a while, the run goes on by itself
take "$rows"
"$exporter" run "$work/manifest.csv" -o "$work/down" --stall-timeout 3s --concurrency 2 > "$work/run.log" 2>&1 &
pid=$!
sleep 1
ip link set lo down
kill -0 "$pid" || { echo "the run was over before the link was down" >&2; bad=$((bad + 1)); }
sleep "${DOWN:-20}"
ip link set lo up
code=0
wait "$pid" || code=$?
rm -rf "$work/export"; mv "$work/down" "$work/export"
expect "link down for ${DOWN:-20} s" 0

# name service: refused at once, as nothing listens
MAXAI_API_URL=https://api.example.invalid/v2 LIMIT=60 run --max-outage 2s
expect "no name service" 1
grep -q api.example.invalid "$work/run.log" || { echo "the host is not named" >&2; bad=$((bad + 1)); }
[ "$bad" = 0 ]
