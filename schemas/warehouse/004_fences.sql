-- Who took over which log partition, each time with a higher epoch: inserts of everybody before are refused. An owner is
-- one takeover of one process. Never deleted: one row a takeover.
CREATE TABLE IF NOT EXISTS fences
(
    _log UInt16,
    _partition UInt16,
    epoch UInt64,
    owner String,
    taken DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
ORDER BY (_log, _partition, epoch, owner)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, old_parts_lifetime = 120,
    max_suspicious_broken_parts_bytes = 1099511627776, concurrent_part_removal_threshold = 100000;
