-- Sessions: one row each, with their records in order. A run is a visitor's records of one local day with gaps of at
-- most thirty minutes; a session begins at the first counted event of a run. Its arrays reach up to the next session:
-- behind its own records there may be stray engagement of later runs, which is not counted and does not `belong`.
--
-- `times` are milliseconds from the midnight UTC before the local date, `flags` are those of flags.py.
--
-- A day's records are gathered into arrays, which costs half of grouping by visitor. The table already lies in this
-- order, so arrays are sorted only on days that several parts share.
SELECT
    site_id,
    local_date,
    visitor_id,
    times,
    flags$names
FROM
(
    SELECT
        site_id,
        local_date,$ordered
        arrayMap(
            (visitor_step, time_step) -> visitor_step != 0 OR time_step > 1800000,
            arrayDifference(visitors), arrayDifference(day_times)) AS breaks,
        arrayMap((run, flag) -> if(bitTest(flag, 0), run + 1, 0), arrayCumSum(breaks), day_flags) AS counted_runs,
        arrayShiftRight(arrayFill(run -> run > 0, counted_runs), 1) AS runs_before,
        arrayMap(
            (begins, place) -> begins OR place = 1,
            if(arrayExists(flag -> NOT bitTest(flag, 0), day_flags),
                arrayMap((run, run_before) -> run > 0 AND run != run_before, counted_runs, runs_before),
                breaks),
            arrayEnumerate(breaks)) AS starts,
        arrayMap((run, run_before) -> run + 1 = run_before, arrayCumSum(breaks), runs_before) AS day_belongs
    FROM
    (
        SELECT
            site_id,
            local_date,
            groupArray(visitor_id) AS found_visitors,
            groupArray($time) AS found_times,
            groupArray($flags) AS found_flags,
            groupArray($position) AS positions,$gathered
            arrayExists(
                (visitor, visitor_before, time_step, position, position_before) ->
                    visitor < visitor_before OR visitor = visitor_before
                    AND (time_step < 0 OR time_step = 0 AND position < position_before),
                found_visitors, arrayShiftRight(found_visitors, 1),
                arrayDifference(found_times),
                positions, arrayShiftRight(positions, 1)) AS is_unsorted
        FROM events
        WHERE $scope
        GROUP BY site_id, local_date
    )
)
ARRAY JOIN
    arrayFilter((visitor, begins) -> begins, visitors, starts) AS visitor_id,
    arraySplit((time, begins) -> begins, day_times, starts) AS times,
    arraySplit((flag, begins) -> begins, day_flags, starts) AS flags$picked
WHERE bitTest(flags[1], 0)
