-- The sessions that are asked for, and whether each is a bounce, has a view, and enters where it is asked for.
SELECT
    *,
    held = 1 OR bitShiftRight(held, 20) = 1 AS is_bounce,
    bitAnd(bitShiftRight(held, 20), 1048575) > 0 AS has_view,
    begins AND $entered AS enters
FROM
(
    $sessions
)
WHERE $conditions
