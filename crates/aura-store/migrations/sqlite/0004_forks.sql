-- Where a run left another: `parent` is the number of that run, `cut` the last event that both share. Null for a run
-- that shares nothing. Its own commits begin after `cut`.
ALTER TABLE runs ADD COLUMN parent INTEGER;
ALTER TABLE runs ADD COLUMN cut INTEGER;
