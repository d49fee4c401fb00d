-- Some rows of a list, picked by their keys.
SELECT *
FROM
(
    $groups
)
WHERE $keys
