-- Keys that the same call has in several runs. `output` is null while the call is under way or in doubt; then nobody
-- else may make it. From `until` on a row counts no more, and a later group sweeps it out.
CREATE TABLE keys (
    key BLOB NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    run BLOB NOT NULL CHECK (length(run) = 16),
    step TEXT NOT NULL,
    seq INTEGER,
    output BLOB,
    truncated INTEGER,
    at INTEGER,
    until INTEGER
) STRICT;

CREATE INDEX keys_until ON keys (until) WHERE until IS NOT NULL;
