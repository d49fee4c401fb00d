-- The log partitions that a batch is of, in the order of `begins`; none in rows from when every batch was of all.
ALTER TABLE batches ADD COLUMN IF NOT EXISTS partitions Array(UInt16) AFTER _log;
