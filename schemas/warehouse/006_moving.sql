-- Rows of `events` that are about to become duplicates (ingest/copies.py): written before the first of them moves,
-- deleted when all are there. Until then these rows stand for it: the ledger counts them as duplicates and leaves their
-- positions out of what is stored. What a crash leaves here is finished by the next look for copies.
CREATE TABLE IF NOT EXISTS moving
(
    site_id UInt32,
    local_date Date,                     -- of the row, to find it by
    hour DateTime('UTC'),                -- hour of receipt
    _log UInt16,
    _partition UInt16,
    _offset UInt64,
    _place UInt32
)
ENGINE = MergeTree
ORDER BY (site_id, hour, _log, _partition, _offset, _place)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, old_parts_lifetime = 120,
    max_suspicious_broken_parts_bytes = 1099511627776, concurrent_part_removal_threshold = 100000;
