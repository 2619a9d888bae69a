-- Facts of the store as a whole: 'format' (the stored format of commits, 4 bytes, big endian) and 'salt' (32 bytes).
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Runs by a number of this store. The columns after `run` are null until the first row of the run is written.
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    run BLOB NOT NULL UNIQUE CHECK (length(run) = 16),
    flow TEXT,
    flow_hash BLOB,
    status TEXT,
    mark INTEGER,
    wake_at INTEGER,
    labels TEXT,
    started INTEGER,
    updated INTEGER,
    events INTEGER,
    in_doubt INTEGER,
    error TEXT
) STRICT;

-- Lists go newest first.
CREATE INDEX runs_newest ON runs (started, run) WHERE status IS NOT NULL;

-- What is not closed is found without walking over all that is.
CREATE INDEX runs_open ON runs (started, run)
    WHERE status NOT IN ('completed', 'failed', 'cancelled', 'compensated', 'compensation_failed');

-- The log, in the order in which it became durable. `run` is `runs.number`; it is no foreign key, because looking
-- it up costs on every commit what the writer knows anyway; `check` proves it instead.
CREATE TABLE commits (
    position INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    header BLOB NOT NULL,
    hash BLOB NOT NULL,
    payload BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX commits_by_run ON commits (run, seq);

-- Small blobs, compressed with zstd; `size` is that of the plain bytes.
CREATE TABLE blobs (
    address BLOB NOT NULL PRIMARY KEY CHECK (length(address) = 32),
    size INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
