-- Kept events in the range, of the sessions that the conditions keep; `moment` is their order.
SELECT
    site_id,
    visitor_id,
    bitTest(flag, 1) AS is_view,
    (toInt64(time) + toInt64(local_date) * 86400000, position) AS moment$columns
FROM
(
    $visits
)
ARRAY JOIN times AS time, flags AS flag, c0 AS position$joined
WHERE bitAnd(flag, 24) = 24
