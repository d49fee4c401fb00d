-- One page of a list: ranked, after the last row of the page before, with the number of all rows.
SELECT *
FROM
(
    SELECT $dimensions, $sums, count() OVER () AS total
    FROM
    (
        $groups
    )
)
WHERE $after
ORDER BY $rank DESC, $dimensions
LIMIT $limit
