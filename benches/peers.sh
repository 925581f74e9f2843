#!/usr/bin/env bash
# The whole job of `exporter run` side by side with downloaders that are given the ready addresses.
#
# nginx serves both: the answer to the request for a signed URL (a location with a regular expression) and the
# images. Every tool gets the same number of connections and the same disk; the order is turned from round to
# round (A B C, B C A, ...); the result of every run is removed and synced outside the timing, and checked byte
# by byte once a tool and corpus. Prints a table of medians, and writes it to doc/benchmarks.md between its marks.
#
# With --line nginx speaks TLS behind a relay that holds every byte for 40 ms each way (`cargo bench --bench line`), and
# the corpus is 2,000 x 64 KiB: what counts then is how many round trips a tool needs.
#
# Needs root for the packages (Debian): nginx-light curl wget2 aria2 rclone time, with --line also openssl.
# Usage: benches/peers.sh [--line] [ROUNDS]      CORPORA="small medium large", TOOLS="exporter curl …",
#                                                WORK=folder on the disk to measure
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
marks=peers
if [ "${1:-}" = --line ]; then marks=line-peers; shift; fi
line() { [ $marks = line-peers ]; }
rounds=${1:-5}
corpora=${CORPORA:-small medium large}
tools=${TOOLS:-exporter curl wget2 aria2 rclone}
# clients connect to `port`; with a line in front the server has another one
port=${PORT:-18080} server_port=$((${PORT:-18080} + 1)) scheme=http
if line; then corpora=far scheme=https; else server_port=$port; fi
at_once=64

. benches/rig.sh
packages=(nginx:nginx-light curl:curl /usr/bin/time:time)
for tool in $tools; do
    case $tool in
        wget2 | rclone) packages+=("$tool:$tool") ;;
        aria2) packages+=(aria2c:aria2) ;;
    esac
done
if line; then packages+=(openssl:openssl); fi
rig peers "${packages[@]}"
chmod 755 "$work" # nginx reads as another user

# ---- corpora: bytes that do not compress, with the first and last bytes of a JPEG --------------------------------
corpus() { # NAME COUNT BYTES
    local dir=$work/corpus/$1
    mkdir -p "$dir"
    say "making $1: $2 x $3 bytes"
    python3 - "$dir" "$2" "$3" "$scheme://127.0.0.1:$port" "$1" <<'PY'
import hashlib, os, random, sys
folder, count, size, origin, name = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
rng = random.Random(name)
base = rng.randbytes(min(size, 8 << 20))
with open(f"{folder}/../{name}.csv", "w") as manifest, open(f"{folder}/../{name}.sums", "w") as sums, \
     open(f"{folder}/../{name}.curl", "w") as curl, open(f"{folder}/../{name}.urls", "w") as urls:
    manifest.write("org,note,image\n")
    for n in range(count):
        image = f"i{n:06}"
        digest = hashlib.sha256()
        with open(f"{folder}/{image}", "wb") as file:
            left, first = size - 2, True
            while left > 0:
                piece = base[:left] if left < len(base) else base
                if first:
                    piece = b"\xff\xd8\xff\xe0" + n.to_bytes(8, "big") + piece[12:]
                    first = False
                file.write(piece); digest.update(piece); left -= len(piece)
            file.write(b"\xff\xd9"); digest.update(b"\xff\xd9")
        url = f"{origin}/{name}/{image}"
        manifest.write(f"org{n // 10 % 4},note{n // 10},{image}\n")
        sums.write(f"{digest.hexdigest()} {image}\n")
        curl.write(f'url = "{url}"\noutput = "{image}"\n')
        urls.write(url + "\n")
PY
}
for name in $corpora; do
    case $name in
        small) corpus small 10000 65536 ;;
        medium) corpus medium 400 4194304 ;;
        large) corpus large 3 536870912 ;;
        far) corpus far 2000 65536 ;;
        *) say "unknown corpus $name"; exit 2 ;;
    esac
done

tls=
if line; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=bench \
        -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
        -keyout "$work/key.pem" -out "$work/ca.pem" 2>/dev/null
    tls="ssl_certificate $work/ca.pem; ssl_certificate_key $work/key.pem;"
fi
cat >"$work/nginx.conf" <<NGINX
worker_processes 2; pid $work/nginx.pid; daemon off; error_log $work/nginx.log;
events { worker_connections 4096; }
http {
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type image/jpeg;
    client_body_temp_path $work/t1; proxy_temp_path $work/t2; fastcgi_temp_path $work/t3;
    uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
    server {
        listen 127.0.0.1:$server_port${tls:+ ssl}; $tls
        root $work/corpus;
        autoindex on;
        location ~ ^/(?<corpus>[a-z]+)/v2/notes/[^/]+/images/(?<image>[^/]+)/url\$ {
            default_type application/json;
            return 200 '{"code":"success","data":{"url":"$scheme://127.0.0.1:$port/\$corpus/\$image?X-Amz-Signature=0"}}';
        }
    }
}
NGINX
nginx -c "$work/nginx.conf" &
nginx_pid=$!
if line; then
    # it ends with its standard input, which this script holds
    mkfifo "$work/hold"
    cargo bench --quiet --bench line -- --relay "127.0.0.1:$port" "127.0.0.1:$server_port" <"$work/hold" &
    exec 9>"$work/hold"
fi
for _ in $(seq 600); do
    curl -sf --insecure "$scheme://127.0.0.1:$port/" >/dev/null && break
    sleep 0.1
done

# ---- one run: seconds, user + system seconds, peak memory in MiB ------------------------------------------------
timed() { /usr/bin/time -o "$work/time" -f '%e %U %S %M' "$@" >"$work/out" 2>"$work/err" || {
    say "failed: $*"; tail -5 "$work/err" >&2; exit 1; }; }

trust=
if line; then trust=$work/ca.pem; fi
run_tool() { # TOOL CORPUS DIR
    local lists=$work/corpus
    case $1 in
        exporter)
            (cd "$work" && env -i PATH="$PATH" HOME="$work" MAXAI_API_KEY=bench \
                MAXAI_API_URL="$scheme://127.0.0.1:$port/$2/v2" XDG_STATE_HOME="$work/state" \
                /usr/bin/time -o "$work/time" -f '%e %U %S %M' "$program" run "$lists/$2.csv" -o "$3" \
                --rate 1000000/1s --concurrency $at_once --progress none -q ${trust:+--ca-file "$work/ca.pem"} >"$work/out" 2>"$work/err") || {
                say "exporter failed"; tail -5 "$work/err" >&2; exit 1; } ;;
        curl) (cd "$3" && timed curl ${trust:+--cacert "$trust"} -sS -f -Z --parallel-max $at_once -K "$lists/$2.curl") ;;
        wget2) timed wget2 ${trust:+--ca-certificate="$trust"} -q --max-threads=$at_once --no-config -P "$3" -i "$lists/$2.urls" ;;
        aria2) timed aria2c ${trust:+--ca-certificate="$trust"} -q --no-conf -j $at_once -x 1 -s 1 --file-allocation=none -d "$3" -i "$lists/$2.urls" ;;
        rclone) timed rclone ${trust:+--ca-cert "$trust"} --config /dev/null -q copy --transfers $at_once --checkers $at_once \
            --http-url "$scheme://127.0.0.1:$port/$2/" :http: "$3" ;;
    esac
}

check() { # TOOL CORPUS DIR: every byte, by name
    local found=$3
    [ "$1" != exporter ] || found=$3/data
    find "$found" -type f -print0 | xargs -0 sha256sum |
        awk '{n = split($2, part, "/"); name = part[n]; sub(/\.[a-z]+$/, "", name); print $1, name}' | sort >"$work/got"
    sort "$work/corpus/$2.sums" | cmp - "$work/got" || { say "$1 brought other bytes"; exit 1; }
}

clear() { rm -rf "$1"; mkdir -p "$1"; sync; }

: >"$work/results"
for name in $corpora; do
    cat "$work/corpus/$name"/* >/dev/null # warm for all
    order=$tools
    for round in $(seq 0 "$rounds"); do
        for tool in $order; do
            clear "$work/dest"
            run_tool "$tool" "$name" "$work/dest"
            # until the bytes would survive a power cut, which exporter has waited for already
            began=$(date +%s%N); sync -f "$work/dest"; flushed=$((($(date +%s%N) - began) / 1000000))
            # the round before the first only warms up and is checked
            if [ "$round" = 0 ]; then check "$tool" "$name" "$work/dest"
            else echo "$name $tool $(cat "$work/time") $flushed" >>"$work/results"; fi
        done
        # a downloader's result still has to be hashed: its cost beside that of exporter
        clear "$work/dest"; run_tool curl "$name" "$work/dest"
        (cd "$work/dest" && timed sha256sum -b ./*)
        [ "$round" = 0 ] || echo "$name sha256sum $(cat "$work/time") 0" >>"$work/results"
        order="${order#* } ${order%% *}"
        say "$name: round $round of $rounds"
    done
done
clear "$work/dest"

python3 - "$work/results" "$rounds" "$at_once" "$program" "$marks" <<'PY'
import collections, datetime, os, platform, re, statistics, subprocess, sys
results, rounds, at_once, program, marks = sys.argv[1:6]
runs = collections.defaultdict(list)
for line in open(results):
    name, tool, *numbers = line.split()
    runs[name, tool].append([float(n) for n in numbers])
def version(*command):
    return re.search(r"\d+\.\d+(\.\d+)?", subprocess.run(command, capture_output=True, text=True).stdout).group()
asks = {"exporter": (program, "--version"), "curl": ("curl", "--version"), "wget2": ("wget2", "--version"),
        "aria2": ("aria2c", "--version"), "rclone": ("rclone", "version")}
versions = ", ".join(f"{tool} {version(*asks[tool])}" for tool in asks if any(tool == ran for _, ran in runs))
shapes = {"small": "10,000 x 64 KiB", "medium": "400 x 4 MiB", "large": "3 x 512 MiB",
          "far": "2,000 x 64 KiB, 80 ms away, TLS"}
volume = {"small": 10000 * 65536, "medium": 400 * 4194304, "large": 3 * 536870912,
          "far": 2000 * 65536}
does = {"exporter": "asks for each URL, hashes, checks, flushes, records", "curl": "downloads", "wget2": "downloads",
        "aria2": "downloads", "rclone": "lists, downloads, compares sizes"}
out = [f"Median of {rounds} rounds in turn, {at_once} connections each, {os.cpu_count()} cores shared with the server "
       f"({platform.system()} {platform.release()}), {datetime.date.today()}. "
       f"{versions}.", ""]
for name, shape in shapes.items():
    if (name, "exporter") not in runs: continue
    med = {tool: [statistics.median(column) for column in zip(*runs[name, tool])]
           for (corpus, tool) in runs if corpus == name}
    hashing = med.pop("sha256sum")
    base = med["exporter"][0]
    out += [f"**{shape}**", "", "| tool | seconds | spread | exporter takes | s until it is on the disk | CPU s "
            "| CPU s per GB | peak MiB | what it does |", "|---|---|---|---|---|---|---|---|---|"]
    for tool, (wall, user, system, peak, _) in sorted(med.items(), key=lambda item: item[1][0]):
        walls = [run[0] for run in runs[name, tool]]
        durable = statistics.median(run[0] + run[4] / 1000 for run in runs[name, tool])
        gb = volume[name] / 1e9
        out.append(f"| {tool} | {wall:.2f} | {min(walls):.2f}-{max(walls):.2f} | {base / wall:.2f} x "
                   f"| {durable:.2f} | {user + system:.2f} | {(user + system) / gb:.2f} | {peak / 1024:.0f} | {does[tool]} |")
    both = [a + b for a, b in zip(med["curl"], hashing)]
    out.append(f"| curl, then sha256sum | {both[0]:.2f} | | {base / both[0]:.2f} x | | {both[1] + both[2]:.2f} "
               f"| {(both[1] + both[2]) / (volume[name] / 1e9):.2f} | | downloads and hashes |")
    out.append("")
text = "\n".join(out)
print(text)
path = "doc/benchmarks.md"
begin, end = f"<!-- {marks}: begin -->", f"<!-- {marks}: end -->"
page = open(path).read() if os.path.exists(path) else f"# Benchmarks\n\n{begin}\n{end}\n"
head, _, rest = page.partition(begin)
_, _, tail = rest.partition(end)
open(path, "w").write(f"{head}{begin}\n{text}\n{end}{tail}")
PY
