-- Kept events in the range, of the sessions that the conditions keep.
SELECT
    site_id,
    visitor_id,
    bitTest(record.2, 1) AS is_view$columns
FROM
(
    $visits
)
ARRAY JOIN arrayFilter((record, mark) -> bitAnd(mark, 24) = 24, visit, marks) AS record
