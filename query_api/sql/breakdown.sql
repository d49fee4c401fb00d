-- Figures by attributes of the session, whose values a number stands for. Every figure is a sum over sites; visitors of
-- different sites are different.
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
    $figures
)
GROUP BY s0
HAVING visitors > 0
