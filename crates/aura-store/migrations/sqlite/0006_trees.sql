-- Runs that belong together: the run that started it, the one at the top of its tree, the one that goes on in its place.
ALTER TABLE runs ADD COLUMN parent_run BLOB;
ALTER TABLE runs ADD COLUMN root BLOB;
ALTER TABLE runs ADD COLUMN next BLOB;

-- The children of a run, and the tree below one.
CREATE INDEX runs_of_parent ON runs (parent_run, started, run) WHERE parent_run IS NOT NULL;
CREATE INDEX runs_of_root ON runs (root, started, run) WHERE root IS NOT NULL;
