-- The last snapshot of each run, compressed with zstd; `size` is that of the plain bytes. What is missing here is
-- made again from the log.
CREATE TABLE snapshots (
    run INTEGER PRIMARY KEY REFERENCES runs (number) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    size INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
