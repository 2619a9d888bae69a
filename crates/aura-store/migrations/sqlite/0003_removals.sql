-- What was removed of the store, by whom and when; `kept` is the JSON text of the limits that it was asked for.
CREATE TABLE removals (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    kept TEXT NOT NULL,
    runs INTEGER NOT NULL,
    events INTEGER NOT NULL,
    blobs INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;

-- Since when it is known that nothing names a blob; null while something does, or nobody has looked.
ALTER TABLE blobs ADD COLUMN orphan_since INTEGER;
