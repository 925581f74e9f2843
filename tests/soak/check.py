#!/usr/bin/env python3
"""Holds an export folder against its ledger: each image that is delivered there must be on the disk with its bytes.

check.py OUT            by the ledger, read from a copy as the next run would find it
check.py --report OUT   by report.csv
Prints `delivered N false M`; exits with 1 where M is not 0.
"""
import csv
import hashlib
import os
import shutil
import sqlite3
import sys
import tempfile


def of_ledger(out):
    state = os.path.join(out, ".exporter")
    with tempfile.TemporaryDirectory() as copy:
        for name in ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-journal"):
            path = os.path.join(state, name)
            if os.path.exists(path):
                shutil.copy(path, copy)
        ledger = os.path.join(copy, "ledger.sqlite")
        if not os.path.exists(ledger) or os.path.getsize(ledger) == 0:
            return []
        connection = sqlite3.connect(ledger)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",), "the ledger is damaged"
        try:
            return connection.execute("SELECT path, hex(sha256) FROM images WHERE delivered = 1").fetchall()
        except sqlite3.OperationalError:
            return []  # cut before its tables were made


def of_report(out):
    with open(os.path.join(out, "report.csv"), newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["state"] in ("stored", "skipped")]
    return [(row["path"], row["sha256"]) for row in rows]


def false(out, path, sha256):
    try:
        with open(os.path.join(out, path), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest() != sha256.lower()
    except OSError:
        return True


report = sys.argv[1] == "--report"
folder = sys.argv[-1]
delivered = of_report(folder) if report else of_ledger(folder)
wrong = [path for path, sha256 in delivered if false(folder, path, sha256)]
print(f"delivered {len(delivered)} false {len(wrong)}")
for path in wrong[:5]:
    print("false:", path, file=sys.stderr)
sys.exit(bool(wrong))
