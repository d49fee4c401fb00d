-- Parts that were merged stay for eight minutes, as they do by default on a server (embedded the default is 0): if the
-- merged part turns out broken (power cut, full disk), they stand in for it. However big it is: 1 GiB is the default.
ALTER TABLE events MODIFY SETTING old_parts_lifetime = 480, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE marks MODIFY SETTING old_parts_lifetime = 480, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE receipts MODIFY SETTING old_parts_lifetime = 480, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE duplicates MODIFY SETTING old_parts_lifetime = 480, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE dead_letters MODIFY SETTING old_parts_lifetime = 480, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE batches MODIFY SETTING old_parts_lifetime = 480, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE erased MODIFY SETTING old_parts_lifetime = 480, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE erasing MODIFY SETTING old_parts_lifetime = 480, max_suspicious_broken_parts_bytes = 1099511627776;
ALTER TABLE migrations MODIFY SETTING old_parts_lifetime = 480, max_suspicious_broken_parts_bytes = 1099511627776;
