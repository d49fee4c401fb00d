-- Figures of sessions and of their kept events in the range, by attributes of the session or for all of them.
-- Every figure is a sum over sites; visitors of different sites are different.
$values
SELECT
    $dimensions
    sum(visitors) AS visitors,
    sum(pageviews) AS pageviews,
    sum(events) AS events,
    sum(sessions) AS sessions,
    sum(duration) AS duration,
    sum(entered) AS entered,
    sum(bounces) AS bounces
FROM
(
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
)
$groups
