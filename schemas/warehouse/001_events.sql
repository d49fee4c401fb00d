-- One row an event: what the collector accepted and the consumer enriched. Raw events are the truth; every figure is a
-- function of them. No column is Nullable: empty text and zero mean "none".
-- Order: a visitor's local day lies together, in event time, then in log order.
CREATE TABLE IF NOT EXISTS events
(
    site_id UInt32,
    local_date Date,                     -- calendar date in the site's timezone when the event was received
    visitor_id UInt64,
    ts DateTime64(3, 'UTC'),             -- event time, skew-corrected
    _log UInt16,                         -- number of the log in the control plane
    _partition UInt16,
    _offset UInt64,                      -- position of the block in the log partition
    _place UInt32,                       -- place of the line in the block, from 0
    received DateTime64(3, 'UTC'),
    event_id UInt64 TTL toDateTime(received) + if(ingest, toIntervalDay(20000), toIntervalHour(48)),  -- 64-bit hash, 0 is none
    ingest Bool,
    name LowCardinality(String),         -- pageview, engagement or the custom event's name
    interactive Bool,
    identified Bool,                     -- visitor_id comes from user_id
    bot LowCardinality(String),          -- empty is a person, else ua, datacenter, spam-referrer, rule
    hostname LowCardinality(String),
    pathname String,
    title String,
    referrer String,                     -- URL without scheme, www., query and fragment
    referrer_source LowCardinality(String),
    channel LowCardinality(String),
    utm_source LowCardinality(String),
    utm_medium LowCardinality(String),
    utm_campaign LowCardinality(String),
    utm_content LowCardinality(String),
    utm_term LowCardinality(String),
    click_id LowCardinality(String),     -- the parameter's name (gclid, fbclid ...), never its value
    country LowCardinality(String),      -- ISO 3166-1 alpha-2
    region LowCardinality(String),
    city LowCardinality(String),
    device_type LowCardinality(String),
    browser LowCardinality(String),
    browser_version LowCardinality(String),
    os LowCardinality(String),
    os_version LowCardinality(String),
    language LowCardinality(String),
    screen LowCardinality(String),       -- screen class
    timezone LowCardinality(String),     -- the browser's
    engaged_ms UInt32,                   -- of engagement
    scroll_depth Int16,                  -- of engagement, 0..100; -1 is unknown
    revenue_amount Decimal(18, 4),
    revenue_currency LowCardinality(String),
    props Map(LowCardinality(String), String),
    INDEX received received TYPE minmax GRANULARITY 1,  -- for the ids of the last hour and for the ledger
    PROJECTION marks
    (
        SELECT _log, _partition, toYYYYMM(local_date), max((_offset, _place))
        GROUP BY _log, _partition, toYYYYMM(local_date)
    )
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(local_date)
ORDER BY (site_id, local_date, visitor_id, ts, _log, _partition, _offset, _place)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 0,
    lightweight_mutation_projection_mode = 'rebuild';

-- Takes rows of events and keeps nothing: to find out which rows of a refused insert the engine cannot read.
CREATE TABLE IF NOT EXISTS probe AS events ENGINE = Null;

-- The highest (offset, place) that has landed per log partition and month, where rows were deleted afterwards: whoever
-- deletes writes the mark first; the consumer takes the higher of this and the projection.
CREATE TABLE IF NOT EXISTS marks
(
    _log UInt16,
    _partition UInt16,
    month UInt32,                        -- toYYYYMM(local_date)
    _offset UInt64,
    _place UInt32
)
ENGINE = MergeTree
ORDER BY (_log, _partition, month)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What came in, from the headers of consumed blocks, keyed by position: a replay writes the same rows again and FINAL
-- shows one. An empty reason counts every received record, another reason those refused for it.
-- Written last of a batch: the highest _offset per partition says what has been consumed. Every consumed block has a
-- row (site 0 and no records where it counts nothing). Not partitioned, so that one insert is one part: all or nothing.
CREATE TABLE IF NOT EXISTS receipts
(
    site_id UInt32,
    hour DateTime('UTC'),                -- hour of receipt
    _log UInt16,
    _partition UInt16,
    _offset UInt64,
    reason LowCardinality(String),
    records UInt32
)
ENGINE = ReplacingMergeTree
ORDER BY (site_id, hour, _log, _partition, _offset, reason)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Events that were not stored because the same event id is stored at another position. Keyed by position.
CREATE TABLE IF NOT EXISTS duplicates
(
    site_id UInt32,
    hour DateTime('UTC'),                -- hour of receipt
    _log UInt16,
    _partition UInt16,
    _offset UInt64,
    _place UInt32
)
ENGINE = ReplacingMergeTree
ORDER BY (site_id, hour, _log, _partition, _offset, _place)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Lines that could not be read, keyed by position; the bytes stay in the log's dead partition at dead_offset.
-- A retried one was appended to the log again at (retry_partition, retry_offset): from the moment when that position
-- has been consumed it counts no more as dead-lettered.
CREATE TABLE IF NOT EXISTS dead_letters
(
    site_id UInt32,                      -- 0 is unknown
    hour DateTime('UTC'),                -- hour of receipt
    _log UInt16,
    _partition UInt16,
    _offset UInt64,
    _place UInt32,
    reason String,
    dead_offset UInt64,
    retried Bool,
    retry_partition UInt16,
    retry_offset UInt64,
    version UInt32
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (site_id, hour, _log, _partition, _offset, _place)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- A batch of several months, written before its first row: positions [begin, end) of every log partition in order. Its
-- months land one after the other, so after a crash among them exactly the same batch is made again.
CREATE TABLE IF NOT EXISTS batches
(
    _log UInt16,
    begins Array(UInt64),
    ends Array(UInt64),
    made DateTime('UTC') DEFAULT now()
)
ENGINE = MergeTree
ORDER BY (_log, made)
TTL made + INTERVAL 30 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Counts whose rows were deleted (retention, deletion of a site), per hour of receipt. Keyed by the erasure, so that a
-- repeated write changes nothing: read it with FINAL.
CREATE TABLE IF NOT EXISTS erased
(
    site_id UInt32,
    hour DateTime('UTC'),
    erasure UInt64,                      -- epoch milliseconds at which it began
    records UInt64,
    bots UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (site_id, hour, erasure)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Erasures under way, counted before the first row is deleted; what a crash leaves here is finished at the next start.
CREATE TABLE IF NOT EXISTS erasing
(
    erasure UInt64,
    site_id UInt32,
    month UInt32,                        -- toYYYYMM(local_date)
    hour DateTime('UTC'),
    records UInt64,
    bots UInt64
)
ENGINE = MergeTree
ORDER BY (erasure, site_id, month, hour)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
