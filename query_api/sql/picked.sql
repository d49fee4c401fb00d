-- Some rows of a list, picked by their keys.
SELECT $dimensions, $sums
FROM
(
    $groups
)
WHERE $keys
