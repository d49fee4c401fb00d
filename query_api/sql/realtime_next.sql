-- When the current visitors of these sites change next if nothing arrives: somebody's latest page view becomes five
-- minutes old, or one that lies in the future (clocks differ) comes to pass. Epoch milliseconds; 0 is never.
SELECT toUnixTimestamp64Milli(
    min(if(instant > {now:DateTime64(3, 'UTC')}, instant, instant + INTERVAL 5 MINUTE))) * (count() > 0) AS next_change
FROM
(
    SELECT max(ts) AS instant
    FROM events
    WHERE site_id IN {sites:Array(UInt32)} AND local_date >= toDate({now:DateTime64(3, 'UTC')}) - 2
        AND name = 'pageview'
        AND ts > {now:DateTime64(3, 'UTC')} - INTERVAL 5 MINUTE AND ts <= {now:DateTime64(3, 'UTC')}
    GROUP BY site_id, visitor_id

    UNION ALL

    SELECT min(ts) AS instant
    FROM events
    WHERE site_id IN {sites:Array(UInt32)} AND local_date >= toDate({now:DateTime64(3, 'UTC')}) - 2
        AND name = 'pageview' AND ts > {now:DateTime64(3, 'UTC')}
    HAVING count() > 0
)
