-- What the warehouse says of the records received in [start, end), by site and UTC hour of receipt.
-- Only what lies before the consumed positions of the log counts; the rest is in flight, whatever has landed of it.
-- Rows in `moving` are on their way from `events` to `duplicates` (ingest/copies.py) and count as duplicates already,
-- wherever they are found. Mostly there are none, and then nothing of that costs anything.
-- `positions` holds the next record to read of each partition of `log`; other logs are wholly consumed.
WITH
(
    SELECT CAST((groupArray(site_id * 1000000 + month), groupArray(positions)), 'Map(UInt64, Array(UInt64))')
    FROM (SELECT DISTINCT site_id, month, positions FROM erasing WHERE _log = {log:UInt16} AND notEmpty(positions))
) AS bounds
SELECT site_id, toUInt32(hour) AS hour, kind, reason, sum(records) AS records
FROM
(
    SELECT site_id, hour, if(reason = '', 'received', 'refused') AS kind, reason, toUInt64(records) AS records
    FROM receipts FINAL
    WHERE site_id IN {sites:Array(UInt32)} AND hour >= {start:DateTime('UTC')} AND hour < {end:DateTime('UTC')}
        AND (_log != {log:UInt16} OR _offset < {positions:Array(UInt64)}[_partition + 1])

    UNION ALL

    SELECT site_id, toStartOfHour(toDateTime(received, 'UTC')), if(bot = '', 'stored', 'bots') AS kind, '', count()
    FROM events
    WHERE site_id IN {sites:Array(UInt32)} AND received >= {start:DateTime('UTC')} AND received < {end:DateTime('UTC')}
        AND (_log != {log:UInt16} OR _offset < {positions:Array(UInt64)}[_partition + 1])
        -- An erasure under way takes rows below its positions; what lands above them meanwhile is stored.
        AND ((site_id, toYYYYMM(local_date)) NOT IN (SELECT site_id, month FROM erasing)
            OR (_log = {log:UInt16} AND mapContains(bounds, site_id * 1000000 + toYYYYMM(local_date))
                AND _offset >= bounds[site_id * 1000000 + toYYYYMM(local_date)][_partition + 1]))
        AND (_log, _partition, _offset, _place) NOT IN (SELECT _log, _partition, _offset, _place FROM moving)
    GROUP BY ALL

    UNION ALL

    SELECT site_id, hour, 'duplicate', '', count()
    FROM duplicates FINAL
    WHERE site_id IN {sites:Array(UInt32)} AND hour >= {start:DateTime('UTC')} AND hour < {end:DateTime('UTC')}
        AND (_log != {log:UInt16} OR _offset < {positions:Array(UInt64)}[_partition + 1])
    GROUP BY ALL

    UNION ALL

    SELECT site_id, hour, 'duplicate', '', uniqExact((_log, _partition, _offset, _place))
    FROM moving
    WHERE site_id IN {sites:Array(UInt32)} AND hour >= {start:DateTime('UTC')} AND hour < {end:DateTime('UTC')}
        AND (_log != {log:UInt16} OR _offset < {positions:Array(UInt64)}[_partition + 1])
        AND (_log, _partition, _offset, _place) NOT IN
        (
            SELECT _log, _partition, _offset, _place FROM duplicates
            WHERE site_id IN (SELECT site_id FROM moving) AND hour IN (SELECT hour FROM moving)
        )
    GROUP BY ALL

    UNION ALL

    SELECT site_id, hour, 'dead_lettered', '', count()
    FROM dead_letters FINAL
    WHERE site_id IN {sites:Array(UInt32)} AND hour >= {start:DateTime('UTC')} AND hour < {end:DateTime('UTC')}
        AND NOT (retried
            AND (_log != {log:UInt16} OR retry_offset < {positions:Array(UInt64)}[retry_partition + 1]))
        AND (_log != {log:UInt16} OR _offset < {positions:Array(UInt64)}[_partition + 1])
    GROUP BY ALL

    UNION ALL

    SELECT site_id, hour, 'erased', '', sum(records) + sum(bots)
    FROM erased FINAL
    WHERE site_id IN {sites:Array(UInt32)} AND hour >= {start:DateTime('UTC')} AND hour < {end:DateTime('UTC')}
    GROUP BY ALL

    UNION ALL

    -- An erasure under way: its counts stand for its rows, whether they are still there or not.
    SELECT site_id, hour, 'erased', '', sum(records) + sum(bots)
    FROM erasing
    WHERE site_id IN {sites:Array(UInt32)} AND hour >= {start:DateTime('UTC')} AND hour < {end:DateTime('UTC')}
        AND erasure NOT IN (SELECT erasure FROM erased)
    GROUP BY ALL
)
GROUP BY site_id, hour, kind, reason
