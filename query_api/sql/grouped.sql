-- Kept events by attributes of the event.
SELECT
    $dimensions
    sum(visitors) AS visitors,
    sum(pageviews) AS pageviews,
    sum(events) AS events
FROM
(
    SELECT
        site_id,
        $dimensions
        uniqExact(visitor_id) AS visitors,
        countIf(is_view) AS pageviews,
        count() AS events
    FROM
    (
        $kept
    )
    GROUP BY $dimensions site_id
)
$groups
