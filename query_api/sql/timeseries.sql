-- Visitors and pageviews by the bucket that holds the event, sessions by the bucket in which they start. A bucket is
-- named by its first instant (epoch milliseconds).
SELECT
    roundDown(toInt64(time) + (toInt64(local_date) - 1) * 86400000, $edges) AS start,
    uniqExactIf(visitor_id, bitTest(flag, 3)) AS visitors,
    countIf(bitAnd(flag, 10) = 10) AS pageviews,
    countIf(begins AND place = 1) AS sessions
FROM
(
    $visits
)
ARRAY JOIN times AS time, flags AS flag, arrayEnumerate(flags) AS place
WHERE bitTest(flag, 4)
$groups_of_site
