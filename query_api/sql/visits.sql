-- Sessions: one row each, with what is counted of it. A session is a run from its first counted event on; `visit`
-- holds its counted events. Conditions on sessions ($conditions) keep whole sessions.
SELECT
    site_id,
    local_date,
    run,
    arrayFilter((record, mark) -> bitTest(mark, 0), run, run.2) AS visit,
    visit.2 AS marks,
    visit[1] AS first,
    first.1 AS visitor_id,
    arrayCount(mark -> bitAnd(mark, 24) = 24, marks) AS kept_events,
    arrayCount(mark -> bitAnd(mark, 26) = 26, marks) AS kept_views,
    arrayCount(mark -> bitTest(mark, 1), marks) AS view_count,
    arrayFirst(mark -> bitTest(mark, 1), marks) AS entry_mark,
    arrayLast(mark -> bitTest(mark, 1), marks) AS exit_mark,
    bitTest(first.2, 4) AND arrayExists(mark -> bitTest(mark, 3), marks) AS begins,
    intDiv(marks[-1], 65536) - intDiv(first.2, 65536) AS time_spent,
    NOT arrayExists(mark -> bitTest(mark, 2), marks) AND (view_count = 1 OR view_count = 0 AND length(marks) = 1) AS is_bounce,
    begins AND $entered AS enters
FROM
(
    $runs
)
WHERE notEmpty(visit) AND $conditions
