-- The forks of a run, which stays as long as they do.
CREATE INDEX runs_of_fork ON runs (parent) WHERE parent IS NOT NULL;
