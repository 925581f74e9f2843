#!/usr/bin/env bash
# What a row costs from 10,000 to 1,000,000 rows: run, run again, plan, report, verify, with images of 1 KB that
# nginx makes up from their names. Prints a table of medians, and writes it with a plot (doc/scale.svg) to
# doc/benchmarks.md between its marks. The largest takes 6 GB of disk and some minutes a round.
#
# Needs root for the packages (Debian): nginx-light time.
# Usage: benches/scale.sh [ROUNDS]      SIZES="10000 100000 1000000", WORK=folder on the disk to measure
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
rounds=${1:-3}
sizes=${SIZES:-10000 100000 1000000}
port=${PORT:-18081}

. benches/rig.sh
rig scale nginx:nginx-light /usr/bin/time:time

# the first and last bytes of a JPEG, and between them the name, so that no two images are the same
python3 - "$work" "$port" <<'PY'
import sys
work, port = sys.argv[1], sys.argv[2]
image = b"\xff\xd8\xff\xe0$uri " + b"x" * 990 + b"\xff\xd9"
answer = '{"code":"success","data":{"url":"http://127.0.0.1:%s/image/$note/$image?X-Amz-Signature=0"}}' % port
open(f"{work}/nginx.conf", "wb").write(f"""
worker_processes 2; pid {work}/nginx.pid; daemon off; error_log {work}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 10000000;
    client_body_temp_path {work}/t1; proxy_temp_path {work}/t2; fastcgi_temp_path {work}/t3;
    uwsgi_temp_path {work}/t4; scgi_temp_path {work}/t5;
    server {{
        listen 127.0.0.1:{port};
        location ~ ^/v2/notes/(?<note>[^/]+)/images/(?<image>[^/]+)/url$ {{
            default_type application/json;
            return 200 '{answer}';
        }}
        location /image/ {{ default_type image/jpeg; return 200 '""".encode() + image + b"""'; }
    }
}
""")
PY
nginx -c "$work/nginx.conf" &
nginx_pid=$!
sleep 0.5

: >"$work/results"
measure() { # ROWS NAME COMMAND...
    local rows=$1 name=$2
    shift 2
    (cd "$work" && env -i PATH="$PATH" HOME="$work" MAXAI_API_KEY=bench MAXAI_API_URL="http://127.0.0.1:$port/v2" \
        XDG_STATE_HOME="$work/state" /usr/bin/time -o "$work/time" -f '%e %U %S %M' "$program" "$@" \
        >"$work/out" 2>"$work/err") || { say "failed: $*"; tail -5 "$work/err" >&2; exit 1; }
    echo "$rows $name $(cat "$work/time")" >>"$work/results"
}

for rows in $sizes; do
    awk -v rows="$rows" 'BEGIN { print "org,note,image"
        for (n = 0; n < rows; n++) printf "org%d,note%d,image%07d\n", int(n / 10) % 20, int(n / 10), n }' >"$work/$rows.csv"
    for round in $(seq "$rounds"); do
        # nothing is removed before the end: on ext4 that slows down who makes files within the next minute
        out=export.$rows.$round
        sync
        flags=(-o "$out" --rate 1000000/1s --concurrency 64 --progress none -q)
        measure "$rows" "run" run "$rows.csv" "${flags[@]}"
        measure "$rows" "run-again" run "$rows.csv" "${flags[@]}"
        measure "$rows" "plan" plan "$rows.csv" -o "$out"
        measure "$rows" "report" report "$out"
        measure "$rows" "verify" verify "$out"
        say "$rows rows: round $round of $rounds"
    done
done
python3 - "$work/results" "$rounds" <<'PY'
import collections, datetime, math, os, platform, statistics, sys
results, rounds = sys.argv[1], sys.argv[2]
runs = collections.defaultdict(list)
for line in open(results):
    rows, name, *numbers = line.split()
    runs[int(rows), name].append([float(n) for n in numbers])
med = {key: [statistics.median(column) for column in zip(*values)] for key, values in runs.items()}
sizes = sorted({rows for rows, _ in med})
names = ["run", "run-again", "plan", "report", "verify"]
out = [f"Images of 1 KB, median of {rounds} rounds, {os.cpu_count()} cores shared with the server "
       f"({platform.system()} {platform.release()}), {datetime.date.today()}. Seconds, microseconds a row, peak memory.", "",
       "| command | " + " | ".join(f"{rows:,} rows" for rows in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
for name in names:
    cells = [f"{med[rows, name][0]:.2f} s, {med[rows, name][0] / rows * 1e6:.1f} us, {med[rows, name][3] / 1024:.0f} MiB"
             for rows in sizes]
    out.append(f"| {name.replace('-', ' ')} | " + " | ".join(cells) + " |")
out += ["", "![microseconds a row against rows](scale.svg)", ""]
text = "\n".join(out)
print(text)

# a plot with logarithmic axes: a flat line grows linearly with the rows
width, height, left, top, right, bottom = 640, 360, 70, 20, 110, 45
low_x, high_x = math.log10(sizes[0]), max(math.log10(sizes[-1]), math.log10(sizes[0]) + 1)
costs = [med[rows, name][0] / rows * 1e6 for rows in sizes for name in names]
low_y, high_y = math.floor(math.log10(max(min(costs), 0.01))), math.ceil(math.log10(max(costs)))
x = lambda rows: left + (math.log10(rows) - low_x) / (high_x - low_x) * (width - left - right)
y = lambda cost: height - bottom - (math.log10(max(cost, 0.01)) - low_y) / (high_y - low_y) * (height - top - bottom)
svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
       f'<rect width="{width}" height="{height}" fill="white"/>']
for power in range(low_y, high_y + 1):
    line = y(10.0 ** power)
    svg += [f'<line x1="{left}" y1="{line:.1f}" x2="{width - right}" y2="{line:.1f}" stroke="#ddd"/>',
            f'<text x="{left - 6}" y="{line + 4:.1f}" text-anchor="end">{10.0 ** power:g}</text>']
for rows in sizes:
    svg += [f'<line x1="{x(rows):.1f}" y1="{top}" x2="{x(rows):.1f}" y2="{height - bottom}" stroke="#ddd"/>',
            f'<text x="{x(rows):.1f}" y="{height - bottom + 18}" text-anchor="middle">{rows:,}</text>']
svg += [f'<text x="{(left + width - right) / 2:.0f}" y="{height - 8}" text-anchor="middle">rows</text>',
        f'<text x="16" y="{height / 2:.0f}" text-anchor="middle" transform="rotate(-90 16 {height / 2:.0f})">microseconds a row</text>']
last = []
for name, colour in zip(names, ["#c22", "#26c", "#282", "#c80", "#727"]):
    points = [(x(rows), y(med[rows, name][0] / rows * 1e6)) for rows in sizes]
    svg.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="'
               + " ".join(f"{a:.1f},{b:.1f}" for a, b in points) + '"/>')
    svg += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
    last.append([points[-1][1], name.replace("-", " "), colour])
below = 0.0
for place, name, colour in sorted(last):
    below = max(place, below + 14)
    svg.append(f'<text x="{width - right + 8}" y="{below + 4:.1f}" fill="{colour}">{name}</text>')
svg.append("</svg>")
open("doc/scale.svg", "w").write("\n".join(svg) + "\n")

path = "doc/benchmarks.md"
begin, end = "<!-- scale: begin -->", "<!-- scale: end -->"
page = open(path).read() if os.path.exists(path) else "# Benchmarks\n"
if begin not in page:
    page += f"\n## What a row costs\n\n{begin}\n{end}\n"
head, _, rest = page.partition(begin)
_, _, tail = rest.partition(end)
open(path, "w").write(f"{head}{begin}\n{text}\n{end}{tail}")
PY
