-- Sessions: one row each, with their records in order. A run is a visitor's records of one local day with gaps of at
-- most thirty minutes; a session begins at the first counted event of a run. Its arrays reach up to the next session:
-- behind its own records there may be stray engagement of later runs, which is not counted and has no flag of belonging.
--
-- `times` are milliseconds from the midnight UTC before the local date, `flags` are those of flags.py.
--
-- A day's records are gathered into sixteen arrays, each of the visitors whose numbers begin alike (they lie together),
-- which costs half of grouping by visitor and bounds the memory. The table already lies in this order; days that
-- several parts share are sorted, by one number a record that holds visitor, time, position and flags.
--
-- What is counted of a session stands beside it: `kept` and `held` are two counts in one number each, since a pass over
-- the flags costs more than a division: kept events in the range and, times 2^20, kept pageviews; quiet custom events,
-- times 2^20 pageviews, times 2^40 custom events that no bounce has.
--
-- A SELECT in a SELECT costs the engine 2 ms before the first row, so steps share one; but where a name is used in the
-- SELECT that makes it, its expression is written out in full, so none is used there often.
SELECT
    site_id,
    local_date,
    visitor_id,
    times,
    flags$names,
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
    SELECT
        *,
        if(has_engagement,
            arrayMap(
                (run, run_before, place) -> run > 0 AND run != run_before OR place = 1,
                counted_runs, runs_before, arrayEnumerate(counted_runs)),
            arrayMap((begins, place) -> begins OR place = 1, breaks, arrayEnumerate(breaks))) AS starts,
        if(has_engagement,
            arrayMap(
                (flag, run, run_before) -> toUInt16(flag + if(NOT bitTest(flag, 0) AND run + 1 = run_before, 2048, 0)),
                flags_of_rows, runs, runs_before),
            flags_of_rows) AS day_flags
    FROM
    (
        SELECT
            *,
            arrayCumSum(breaks) AS runs,
            arrayMap((run, flag) -> if(bitTest(flag, 0), run + 1, 0), runs, flags_of_rows) AS counted_runs,
            arrayShiftRight(arrayFill(run -> run > 0, counted_runs), 1) AS runs_before
        FROM
        (
            SELECT
                *,
                if(is_unsorted,
                    arrayMap(key -> toUInt64(bitShiftRight(key, $visitor_bit)), keys),
                    found_visitors) AS visitors,
                if(is_unsorted,
                    arrayMap(key -> toUInt32(bitShiftRight(key, $time_bit)), keys),
                    found_times) AS day_times,
                if(is_unsorted, arrayMap(key -> toUInt16(key), keys), found_flags) AS flags_of_rows$ordered,
                arrayMap(
                    (visitor_step, time_step) -> visitor_step != 0 OR time_step > 1800000,
                    arrayDifference(visitors), arrayDifference(day_times)) AS breaks,
                arrayExists(flag -> NOT bitTest(flag, 0), flags_of_rows) AS has_engagement
            FROM
            (
                SELECT
                    *,
                    arrayMap(
                        (visitor, time, position, flag) ->
                            bitShiftLeft(to$wide(visitor), $visitor_bit)
                            + bitShiftLeft(to$wide(time), $time_bit)
                            + bitShiftLeft(to$wide(position), 16) + flag,
                        arrayResize(found_visitors, loose),
                        arrayResize(found_times, loose),
                        arrayResize(positions, loose),
                        arrayResize(found_flags, loose)) AS loose_keys,
                    arraySort(loose_keys) AS keys
                FROM
                (
                    SELECT
                        *,
                        arrayExists(
                            (visitor, visitor_before, time_step, position, position_before) ->
                                visitor < visitor_before OR visitor = visitor_before
                                AND (time_step < 0
                                    OR time_step = 0 AND position < position_before),
                            found_visitors, arrayShiftRight(found_visitors, 1),
                            arrayDifference(found_times),
                            positions, arrayShiftRight(positions, 1)) AS is_unsorted,
                        if(is_unsorted, length(found_visitors), 0) AS loose
                    FROM
                    (
                        SELECT
                            site_id,
                            local_date,
                            groupArray(visitor_id) AS found_visitors,
                            groupArray($time) AS found_times,
                            groupArray($flags) AS found_flags,
                            groupArray($position) AS positions$gathered
                        FROM events
                        WHERE $scope
                        GROUP BY site_id, local_date, toUInt8(bitShiftRight(visitor_id, 60))
                    )
                )
            )
        )
    )
)
ARRAY JOIN
    arrayFilter((visitor, begins) -> begins, visitors, starts) AS visitor_id,
    arraySplit((time, begins) -> begins, day_times, starts) AS times,
    arraySplit((flag, begins) -> begins, day_flags, starts) AS flags$picked
WHERE bitTest(flags[1], 0)
