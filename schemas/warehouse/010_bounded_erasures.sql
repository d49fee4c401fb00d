-- An erasure takes rows below these positions of a log (by partition) and all rows of other logs: consumers in other
-- processes go on meanwhile. No positions: all rows.
ALTER TABLE erasing ADD COLUMN IF NOT EXISTS _log UInt16;
ALTER TABLE erasing ADD COLUMN IF NOT EXISTS positions Array(UInt64);
