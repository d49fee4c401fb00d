-- Visitors and pageviews by the bucket that holds the event, sessions by the bucket in which they start. A bucket is
-- named by its first instant (epoch milliseconds).
SELECT
    start,
    sum(visitors) AS visitors,
    sum(pageviews) AS pageviews,
    sum(sessions) AS sessions
FROM
(
    SELECT
        site_id,
        roundDown(moment, $edges) AS start,
        uniqExactIf(visitor_id, bitAnd(mark, 24) = 24) AS visitors,
        countIf(bitAnd(mark, 26) = 26) AS pageviews,
        countIf(begins AND place = 1) AS sessions
    FROM
    (
        SELECT
            site_id,
            visitor_id,
            begins,
            mark,
            place,
            toInt64(intDiv(mark, 65536)) + (toInt64(local_date) - 1) * 86400000 AS moment
        FROM
        (
            $visits
        )
        ARRAY JOIN marks AS mark, arrayEnumerate(marks) AS place
        WHERE bitTest(mark, 4)
    )
    GROUP BY site_id, start
)
GROUP BY start
