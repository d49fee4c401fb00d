-- Kept events by attributes of the event.
SELECT
    $dimensions
    sum(visitors) AS visitors,
    sum(pageviews) AS pageviews,
    sum(events) AS events
FROM
(
    SELECT
        $dimensions
        uniqExact(visitor_id) AS visitors,
        countIf(is_view) AS pageviews,
        count() AS events
    FROM
    (
        $kept
    )
    $groups_of_site
)
$groups
