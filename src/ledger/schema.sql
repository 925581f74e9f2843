-- The ledger's tables, version 2. Times are RFC 3339 in UTC, hashes are BLOBs of 32 bytes, sizes are bytes.
-- A row's state is never written down: the view `results` derives it, so that a run that begins, or one that
-- is killed, has nothing to reset.

-- One line for every run that was begun. The newest one is the run that `results` speaks of.
CREATE TABLE runs (
    id              INTEGER PRIMARY KEY,
    started_at      TEXT NOT NULL,
    finished_at     TEXT,                          -- NULL: still on, or killed
    seconds         REAL NOT NULL DEFAULT 0,
    manifest_sha256 TEXT NOT NULL,
    host            TEXT NOT NULL,
    user            TEXT NOT NULL,
    version         TEXT NOT NULL,                 -- of the program
    exit_code       INTEGER,
    stop_code       TEXT NOT NULL DEFAULT '',      -- error code behind `stop`, may be empty
    stop            TEXT,                          -- why rows were left untried
    bytes           INTEGER NOT NULL DEFAULT 0,    -- of images delivered by this run
    api_requests    INTEGER NOT NULL DEFAULT 0,
    api_429         INTEGER NOT NULL DEFAULT 0,
    retries         INTEGER NOT NULL DEFAULT 0,
    allowance_share REAL                           -- 0 to 1; NULL: no request
) STRICT;

-- The manifest whose rows are loaded: one line, id 1.
CREATE TABLE manifest (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    sha256      TEXT NOT NULL,
    reading     TEXT NOT NULL,                     -- delimiter and columns it was read with
    header      BLOB NOT NULL,                     -- its own columns, as a CSV line without end of line
    rows        INTEGER NOT NULL,
    bad         INTEGER NOT NULL
) STRICT;

-- Folders that an id owns. `folded` is the lower-cased segment: no two orgs share it.
CREATE TABLE orgs (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    segment TEXT NOT NULL,
    folded  TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE notes (
    id      INTEGER PRIMARY KEY,
    org     INTEGER NOT NULL REFERENCES orgs,
    name    TEXT NOT NULL,
    key     INTEGER NOT NULL,                      -- 64-bit hash of org and folded segment
    segment TEXT                                   -- NULL: as layout::segment makes it
) STRICT;
-- with the name: ids that differ in case only share a key
CREATE INDEX notes_name ON notes (key, name);

-- What is delivered, over all manifests.
CREATE TABLE images (
    id           INTEGER PRIMARY KEY,
    note         INTEGER NOT NULL REFERENCES notes,
    name         TEXT NOT NULL,
    key          INTEGER NOT NULL,                 -- 64-bit hash of org, note and folded segment
    delivered    INTEGER NOT NULL,                 -- 0: it was, but has to be fetched again
    path         TEXT NOT NULL,                    -- relative to the export folder
    bytes        INTEGER NOT NULL,
    sha256       BLOB NOT NULL,
    content_type TEXT NOT NULL,
    etag         TEXT NOT NULL,                    -- as received
    object       BLOB,                             -- SHA-256 of the object's address without its signature
    checked_by   TEXT NOT NULL,                    -- joined by '+'
    attempts     INTEGER NOT NULL,
    stored_at    TEXT NOT NULL,
    checked_at   TEXT NOT NULL,                    -- last time its file was checked; delivery counts
    run          INTEGER NOT NULL REFERENCES runs,
    warning      TEXT NOT NULL
) STRICT;
CREATE INDEX images_name ON images (key, name);

-- The rows of the loaded manifest, in its order. A bad row has only seq and line here.
CREATE TABLE rows (
    seq      INTEGER PRIMARY KEY,
    line     INTEGER NOT NULL,
    note     INTEGER REFERENCES notes,
    name     TEXT,
    key      INTEGER,
    wanted   BLOB,                                 -- hash that the manifest asks for
    raw      BLOB,                                 -- its own columns, as a CSV line without end of line
    first    INTEGER,                              -- duplicate of that row
    image    INTEGER REFERENCES images,
    segment  TEXT,                                 -- NULL: as layout::segment makes it
    run      INTEGER,                              -- run that wrote what follows
    failed   INTEGER,                              -- 1 given up, 0 left untried
    attempts INTEGER,
    code     TEXT,
    error    TEXT,
    trace_id TEXT
) STRICT;

CREATE TABLE bad_rows (
    seq    INTEGER PRIMARY KEY REFERENCES rows,
    org    TEXT NOT NULL,                          -- ids as far as they could be read
    note   TEXT NOT NULL,
    image  TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;

-- Begun downloads, so that a later try or run can go on with them.
CREATE TABLE parts (
    note    INTEGER NOT NULL REFERENCES notes,
    name    TEXT NOT NULL,
    file    TEXT NOT NULL,                         -- in `.exporter` of the export folder
    etag    TEXT NOT NULL,                         -- the version that the bytes belong to
    object  BLOB NOT NULL,                         -- SHA-256 of the object's address without its signature
    length  INTEGER NOT NULL,                      -- of the whole object
    durable INTEGER NOT NULL,                      -- bytes that would survive a power cut
    sha256  BLOB NOT NULL,                         -- their hash
    PRIMARY KEY (note, name)
) STRICT, WITHOUT ROWID;

-- One line for every row of the manifest, with the state it is in.
CREATE VIEW results AS
SELECT
    r.seq, r.line,
    coalesce(o.name, b.org) AS org, coalesce(n.name, b.note) AS note, coalesce(r.name, b.image) AS image,
    r.note AS note_id, n.org AS org_id,
    CASE
        WHEN b.seq IS NOT NULL THEN 'failed'
        WHEN r.first IS NOT NULL THEN 'duplicate'
        WHEN i.delivered = 1 THEN iif(i.run = c.id, 'stored', 'skipped')
        WHEN r.run = c.id AND r.failed = 1 THEN 'failed'
        ELSE 'untried'
    END AS state,
    iif(i.delivered = 1, i.id, NULL) AS image_id,
    iif(i.delivered = 1, i.path, NULL) AS path,
    iif(i.delivered = 1, i.bytes, NULL) AS bytes,
    iif(i.delivered = 1, i.sha256, NULL) AS sha256,
    iif(i.delivered = 1, i.content_type, NULL) AS content_type,
    iif(i.delivered = 1, i.etag, NULL) AS etag,
    iif(i.delivered = 1, i.object, NULL) AS object,
    iif(i.delivered = 1, i.checked_by, NULL) AS checked_by,
    iif(i.delivered = 1, i.stored_at, NULL) AS stored_at,
    iif(i.delivered = 1, i.warning, NULL) AS warning,
    CASE
        WHEN r.first IS NOT NULL OR b.seq IS NOT NULL THEN 0
        WHEN i.delivered = 1 THEN iif(i.run = c.id, i.attempts, 0)
        WHEN r.run = c.id THEN r.attempts
        ELSE 0
    END AS attempts,
    -- a row that was never reached has no code, and says why the run stopped
    CASE
        WHEN b.seq IS NOT NULL THEN 'bad_row'
        WHEN r.first IS NOT NULL OR i.delivered = 1 THEN ''
        WHEN r.run = c.id THEN r.code
        ELSE ''
    END AS error_code,
    CASE
        WHEN b.seq IS NOT NULL THEN b.reason
        WHEN r.first IS NOT NULL OR i.delivered = 1 THEN ''
        WHEN r.run = c.id THEN r.error
        ELSE coalesce(c.stop, 'the run ended before this row was reached')
    END AS error,
    iif(r.first IS NULL AND coalesce(i.delivered, 0) = 0 AND r.run = c.id, r.trace_id, '') AS trace_id,
    r.raw, r.first
FROM rows r
CROSS JOIN (SELECT * FROM runs ORDER BY id DESC LIMIT 1) c
LEFT JOIN bad_rows b ON r.note IS NULL AND b.seq = r.seq
LEFT JOIN rows f ON f.seq = r.first
LEFT JOIN images i ON i.id = coalesce(r.image, f.image)
LEFT JOIN notes n ON n.id = r.note
LEFT JOIN orgs o ON o.id = n.org;

-- Since version 2: an earlier ledger is given what follows when it is opened for writing.

-- Which export the ledger belongs to: one line, id 1. A ledger outside the export folder has a copy of `export`
-- there, in `.exporter/export-id`.
CREATE TABLE identity (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    export TEXT NOT NULL,                          -- random, 32 hex digits
    folder TEXT NOT NULL                           -- its path in the newest run; empty if the ledger is in it
) STRICT;
INSERT INTO identity SELECT 1, lower(hex(randomblob(16))), '';

-- The shard whose rows the ledger has, if it is not that of a whole export: one line, id 1.
CREATE TABLE shard (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    number  INTEGER NOT NULL,                      -- from 1
    shards  INTEGER NOT NULL                       -- how many there are
) STRICT;

-- Runs of shards, copied by a merge.
CREATE TABLE shard_runs (
    run    INTEGER PRIMARY KEY REFERENCES runs,
    shard  INTEGER NOT NULL,                       -- its number; 0: the merge itself
    number INTEGER NOT NULL                        -- of the run in the shard's own ledger
) STRICT;

-- Names that files in `data/` are about to get or to lose. A name leaves the table when its image is recorded, or its
-- file is gone; what a killed run leaves here is cleared by the next run.
CREATE TABLE intents (
    path   TEXT PRIMARY KEY,                       -- relative to the export folder
    sha256 BLOB NOT NULL                           -- of the file that is meant
) STRICT, WITHOUT ROWID;

-- Images that the loaded manifest does not ask for, and the newest manifest that did. An image that is asked for again
-- keeps its line until the next manifest: only a line without a row counts.
CREATE TABLE unasked (
    image           INTEGER PRIMARY KEY REFERENCES images,
    manifest_sha256 TEXT NOT NULL                  -- empty: not known
) STRICT;
-- of images that became unasked before there was this table, the manifest that delivered them is known
INSERT INTO unasked
SELECT i.id, coalesce(c.manifest_sha256, '') FROM images i LEFT JOIN runs c ON c.id = i.run
WHERE NOT EXISTS (SELECT 1 FROM rows r WHERE r.key = i.key AND r.note = i.note AND r.name = i.name);

-- What is odd about the loaded manifest, in sentences: each run of it repeats them.
CREATE TABLE manifest_warnings (
    id   INTEGER PRIMARY KEY,
    what TEXT NOT NULL
) STRICT;

-- The lines of `receipts.jsonl`, each written here before it is appended there.
CREATE TABLE receipts (
    id   INTEGER PRIMARY KEY,
    run  INTEGER NOT NULL,                         -- newest run when it was written
    line TEXT NOT NULL                             -- without its end; empty in the first: runs before it have none
) STRICT;
INSERT INTO receipts SELECT 0, coalesce(max(id), 0), '' FROM runs;

-- What a run did in each minute since it started.
CREATE TABLE samples (
    run         INTEGER NOT NULL REFERENCES runs,
    minute      INTEGER NOT NULL,                  -- from 0
    requests    INTEGER NOT NULL,                  -- sent to the API
    answers_429 INTEGER NOT NULL,
    images      INTEGER NOT NULL,                  -- delivered
    bytes       INTEGER NOT NULL,                  -- of these
    in_flight   INTEGER NOT NULL,                  -- most images at a time
    allowance   REAL NOT NULL,                     -- requests a minute that were allowed
    PRIMARY KEY (run, minute)
) STRICT, WITHOUT ROWID;

-- Times in which a run could not go on as it would.
CREATE TABLE spans (
    run   INTEGER NOT NULL REFERENCES runs,
    what  TEXT NOT NULL,                           -- 'outage', or 'wait' that a 429 asked for
    began INTEGER NOT NULL,                        -- milliseconds since the run started
    ended INTEGER NOT NULL,
    PRIMARY KEY (run, what, began)
) STRICT, WITHOUT ROWID;

-- How many images a run keeps in flight, and what its rows wait for: one line a run, as of its last counters.
CREATE TABLE pace (
    run         INTEGER PRIMARY KEY REFERENCES runs,
    concurrency INTEGER NOT NULL,                  -- images that may be in flight
    downloading INTEGER NOT NULL,
    asking      INTEGER NOT NULL,                  -- wait for the API's answer
    waiting     INTEGER NOT NULL,                  -- wait for the allowance
    queued      INTEGER NOT NULL,                  -- not asked for yet: the line is busy, or a service is out
    ready       INTEGER NOT NULL                   -- have a URL, wait for a place in flight
) STRICT;
