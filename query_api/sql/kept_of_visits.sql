-- Kept events in the range, of the sessions that the conditions keep; `moment` is their order.
SELECT
    site_id,
    visitor_id,
    bitTest(record.2, 1) AS is_view,
    (toInt64(intDiv(record.2, 65536)) + toInt64(local_date) * 86400000, record.3) AS moment$columns
FROM
(
    $visits
)
ARRAY JOIN arrayFilter((record, mark) -> bitAnd(mark, 24) = 24, visit, marks) AS record
