-- Sessions with what is counted of them. `kept` and `held` are two counts in one number each, since a pass over the
-- flags costs more than a division: kept events in the range and, times 2^20, kept pageviews; quiet custom events,
-- times 2^20 pageviews, times 2^40 custom events that no bounce has.
SELECT
    *,
    begins AND $entered AS enters
FROM
(
    SELECT
        *,
        held = 1 OR bitShiftRight(held, 20) = 1 AS is_bounce,
        bitAnd(bitShiftRight(held, 20), 1048575) > 0 AS has_view
    FROM
    (
        SELECT
            *,
            arraySum(flag -> if(bitAnd(flag, 24) = 24, 1 + if(bitTest(flag, 1), 1048576, 0), 0), flags) AS kept,
            arraySum(
                flag -> if(bitTest(flag, 1), 1048576, if(bitTest(flag, 2), 1099511627776, bitAnd(flag, 1))),
                flags) AS held,
            bitTest(flags[1], 4) AND $holds AS begins,
            arrayLast((time, flag) -> bitTest(flag, 0), times, flags) - times[1] AS time_spent,
            arrayFirst(flag -> bitTest(flag, 1), flags) AS entry_flag,
            arrayLast(flag -> bitTest(flag, 1), flags) AS exit_flag
        FROM
        (
            $sessions
        )
    )
)
WHERE $conditions
