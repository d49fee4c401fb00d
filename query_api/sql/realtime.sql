-- Distinct visitors with a kept pageview in the last five minutes, each in the row of the latest one.
SELECT
    $latest,
    count() AS current_visitors
FROM
(
    SELECT argMax(tuple($dimensions), moment) AS latest
    FROM
    (
        $kept
    )
    WHERE is_view
    GROUP BY site_id, visitor_id
)
GROUP BY $dimensions
ORDER BY current_visitors DESC, $dimensions
