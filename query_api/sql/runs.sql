-- Runs: a visitor's records of one local day with gaps of at most thirty minutes; one row each, records in order.
--
-- A day's records are gathered into arrays, which costs half of grouping by visitor: the table already lies in this
-- order, so an array is sorted only on days that several parts share. A record is a tuple of visitor, mark, position
-- and the columns that the question needs ($columns). A mark is the time in the day (milliseconds from the midnight
-- UTC before the local date) times 65536, plus flags (marks.py).
SELECT
    site_id,
    local_date,
    arrayJoin(arraySplit((record, breaks) -> breaks, records, breaks)) AS run
FROM
(
    SELECT
        site_id,
        local_date,
        records,
        arrayMap(
            (visitor, visitor_before, mark, mark_before) ->
                visitor != visitor_before OR intDiv(mark, 65536) > intDiv(mark_before, 65536) + 1800000,
            records.1, arrayShiftRight(records.1, 1), records.2, arrayShiftRight(records.2, 1)) AS breaks
    FROM
    (
        SELECT
            site_id,
            local_date,
            groupArray(visitor_id) AS visitors,
            groupArray($mark) AS marks,
            groupArray($position) AS positions,
            arrayZip(visitors, marks, positions$columns) AS gathered,
            arrayExists(
                (visitor, visitor_before, mark, mark_before, position, position_before) ->
                    visitor < visitor_before OR visitor = visitor_before
                    AND (intDiv(mark, 65536) < intDiv(mark_before, 65536)
                        OR intDiv(mark, 65536) = intDiv(mark_before, 65536) AND position < position_before),
                visitors, arrayShiftRight(visitors, 1),
                marks, arrayShiftRight(marks, 1),
                positions, arrayShiftRight(positions, 1)) AS is_unsorted,
            if(is_unsorted,
                arraySort(record -> (record.1, intDiv(record.2, 65536), record.3), gathered),
                gathered) AS records
        FROM events
        WHERE $scope
        GROUP BY site_id, local_date
    )
)
