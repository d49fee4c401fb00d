-- Figures of sessions and of their kept events in the range, by a number and the site where there are several.
SELECT
    $number
    uniqExactIf(visitor_id, kept > 0) AS visitors,
    sum(intDiv(kept, 1048576)) AS pageviews,
    sum(kept % 1048576) AS events,
    countIf(begins) AS sessions,
    sumIf(time_spent, begins) AS duration,
    countIf(enters) AS entered,
    countIf(enters AND is_bounce) AS bounces
FROM
(
    $visits
)
$groups_of_site
