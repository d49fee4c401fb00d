-- One thread removes parts that were merged: above a hundred of them the engine took 128 threads for that, and kept them
-- (15 MiB). They come by hundreds, since they stay for two minutes.
ALTER TABLE events MODIFY SETTING concurrent_part_removal_threshold = 100000;
ALTER TABLE marks MODIFY SETTING concurrent_part_removal_threshold = 100000;
ALTER TABLE receipts MODIFY SETTING concurrent_part_removal_threshold = 100000;
ALTER TABLE duplicates MODIFY SETTING concurrent_part_removal_threshold = 100000;
ALTER TABLE dead_letters MODIFY SETTING concurrent_part_removal_threshold = 100000;
ALTER TABLE batches MODIFY SETTING concurrent_part_removal_threshold = 100000;
ALTER TABLE erased MODIFY SETTING concurrent_part_removal_threshold = 100000;
ALTER TABLE erasing MODIFY SETTING concurrent_part_removal_threshold = 100000;
ALTER TABLE migrations MODIFY SETTING concurrent_part_removal_threshold = 100000;
