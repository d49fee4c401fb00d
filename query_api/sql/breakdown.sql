-- Figures by attributes of the session, whose values a number stands for.
$values
SELECT $dimensions, $names
FROM
(
    $figures
)
WHERE visitors > 0
