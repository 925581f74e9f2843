"""Makes an export folder with a ledger of a given shape and no images: browser_ledger.py SCHEMA OUT SHAPE."""

import hashlib
import os
import random
import sqlite3
import sys

CODES = [
    "bad_row", "bad_request", "unauthorized", "forbidden", "not_found", "rate_limited", "api_error", "storage_denied",
    "storage_missing", "storage_archived", "storage_error", "network", "timeout", "integrity", "not_an_image", "disk",
]  # fmt: skip
# organizations, rows, kinds of failures, failed rows, untried rows, minutes of the run
SHAPES = {
    "one": (1, 10, 0, 0, 0, 1),
    "three": (3, 5_000, 3, 37, 0, 6),
    "many": (400, 60_000, 16, 1_200, 900, 75),
    "million": (60, 1_000_000, 2, 3, 0, 1_000),
    "empty": (0, 0, 0, 0, 0, 0),
    "stopped": (12, 20_000, 1, 20, 15_000, 9),
}
CHECKS = ["length+etag-md5", "length+x-amz-checksum-sha256+etag-md5", "length", "length+image-end", ""]


def main(schema, out, shape):
    orgs, rows, kinds, failed, untried, minutes = SHAPES[shape]
    random.seed(shape)
    os.makedirs(os.path.join(out, ".exporter"), mode=0o700)
    ledger = sqlite3.connect(os.path.join(out, ".exporter/ledger.sqlite"))
    ledger.executescript(open(schema, encoding="utf-8").read() + "PRAGMA user_version = 2;")
    manifest = hashlib.sha256(shape.encode()).hexdigest()
    add_runs(ledger, shape, manifest, failed, untried, minutes)
    names = [f"{random.getrandbits(128):032x}" for _ in range(orgs)]
    names[:2] = [name[:8] + "-" + name[8:12] + "-4deb-986d-" + name[20:] for name in names[:2]]
    ledger.executemany("INSERT INTO orgs VALUES (?, ?, ?, ?)", [(n, name, name, name) for n, name in enumerate(names, 1)])
    ledger.execute("INSERT INTO manifest VALUES (1, ?, '', CAST('org,note,image' AS BLOB), ?, 0)", (manifest, rows))
    weights = [(n + 1) ** -0.8 for n in range(orgs)]
    owners = random.choices(range(1, orgs + 1), weights, k=rows) if orgs else []
    notes, images, lines = {}, [], []
    for seq, org in enumerate(owners, 1):
        note = notes.setdefault((org, seq // 400), len(notes) + 1)
        name, raw = f"i{seq}", f"o,n,i{seq}".encode()
        if seq <= failed:
            lines.append((seq, seq + 1, note, name, seq, raw, None, None, 7, 1, 8, CODES[1 + seq % min(kinds, 15)], "an error"))
        elif seq <= failed + untried:
            lines.append((seq, seq + 1, note, name, seq, raw, None, None, None, None, None, None, None))
        elif seq > failed + untried + 9 and seq % 50 == 0:
            lines.append((seq, seq + 1, note, name, seq, raw, failed + untried + 1, None) + (None,) * 5)
        else:
            size = int(random.lognormvariate(13.5, 1.6)) + 200
            run = 6 if seq % 3 == 0 else 7
            sha = hashlib.sha256(name.encode()).digest()
            images.append(
                (seq, note, name, seq, f"data/o/n/{name}.jpg", size, sha, random.choices(CHECKS, [60, 20, 10, 8, 2])[0], run)
            )
            lines.append((seq, seq + 1, note, name, seq, raw, None, seq, None, None, None, None, None))
    ledger.executemany(
        "INSERT INTO notes VALUES (?, ?, ?, ?, NULL)", [(n, org, f"n{n}", n) for (org, _), n in notes.items()]
    )
    ledger.executemany(
        "INSERT INTO images VALUES (?, ?, ?, ?, 1, ?, ?, ?, 'image/jpeg', '', NULL, ?, 1, '2026-03-02T08:01:00.000Z',"
        " '2026-03-02T08:01:00.000Z', ?, '')",
        images,
    )
    ledger.executemany(
        "INSERT INTO rows (seq, line, note, name, key, raw, first, image, run, failed, attempts, code, error)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        lines,
    )
    ledger.commit()


def add_runs(ledger, shape, manifest, failed, untried, minutes):
    for run in range(1, 8):
        stop = "the API refuses the key: the API at api.maxcare.ai answered 401" if untried and run == 7 else None
        code = 1 if stop else 3 if failed or run == 4 else 0
        ledger.execute(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?, 'archive-01', 'night', '0.1.0', ?, '', ?, ?, ?, ?, ?, 0.984)",
            (run, f"2026-03-0{run}T22:00:00.000Z", f"2026-03-0{run}T23:{min(minutes, 59):02}:31.500Z",
             minutes * 60 - 20.0, manifest, code, stop, 63 << 30, 990 * minutes, 12, 40),
        )  # fmt: skip
    for minute in range(minutes):
        tired = 0.4 if minute % 17 == 5 else 1
        requests = int(random.uniform(900, 995) * tired)
        ledger.execute(
            "INSERT INTO samples VALUES (7, ?, ?, ?, ?, ?, ?, 1000.0)",
            (minute, requests, 4 if tired < 1 else 0, int(requests * 0.97), requests * 1_500_000, 40),
        )
        if tired < 1:
            ledger.execute("INSERT INTO spans VALUES (7, 'wait', ?, ?)", (minute * 60_000, minute * 60_000 + 35_000))
    if minutes > 20:
        ledger.execute("INSERT INTO spans VALUES (7, 'outage', ?, ?)", (12 * 60_000, 15 * 60_000))


if __name__ == "__main__":
    main(*sys.argv[1:])
