-- Parts that were merged stay for two minutes (embedded the default is 0): if the merged part turns out broken (a power
-- cut before the system wrote it down, a full disk), they stand in for it. However big it is: 1 GiB is the default.
ALTER TABLE events MODIFY SETTING old_parts_lifetime = 120, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE marks MODIFY SETTING old_parts_lifetime = 120, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE receipts MODIFY SETTING old_parts_lifetime = 120, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE duplicates MODIFY SETTING old_parts_lifetime = 120, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE dead_letters MODIFY SETTING old_parts_lifetime = 120, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE batches MODIFY SETTING old_parts_lifetime = 120, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE erased MODIFY SETTING old_parts_lifetime = 120, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE erasing MODIFY SETTING old_parts_lifetime = 120, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE migrations MODIFY SETTING old_parts_lifetime = 120, max_suspicious_broken_parts_bytes = 1099511627776;
