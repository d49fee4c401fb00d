-- Figures of the numbered pages that need sessions: time and scroll depth of their views in the range, entries, exits
-- and bounces of the sessions that start in it. Of each record c0 holds the number of its page times 2^40 (0 is none of
-- them), its scroll_depth + 1 times 2^32, and its engaged_ms.
--
-- A session gives a list of figures, each one number: the page times 2^54, the kind times 2^51, and the value.
-- Kinds: 0 a view's time, 1 the same of the session's first view of the page, 2 an entry (1 is a bounce), 3 an exit,
-- 4 the deepest scroll of the page.
SELECT
    toUInt16(bitShiftRight(figure, 51)) AS page_and_kind,
    count() AS figures,
    sum(bitAnd(figure, 2251799813685247)) AS value
FROM
(
    SELECT
        arrayPushBack(arrayPushBack(arrayConcat(plain_figures, engaged_figures), entry), exit) AS session_figures
    FROM
    (
        SELECT
            if(begins, arrayFirst((column, flag) -> bitTest(flag, 1), c0, flags), 0) AS entry_column,
            if(begins, arrayLast((column, flag) -> bitTest(flag, 1), c0, flags), 0) AS exit_column,
            bitShiftLeft(bitShiftRight(entry_column, 40), 54) + bitShiftLeft(toUInt64(2), 51) + is_bounce AS entry,
            bitShiftLeft(bitShiftRight(exit_column, 40), 54) + bitShiftLeft(toUInt64(3), 51) AS exit,
            arrayExists(flag -> NOT bitTest(flag, 0), flags) AS has_engagement,
            -- Without engagement a view lasts until the next event. Page and gap in one number sort cheaply.
            arraySort(arrayFilter(
                view -> view > 0,
                arrayMap(
                    (column, flag, time, time_after) -> if(
                        column >= 1099511627776 AND bitAnd(flag, 26) = 26 AND NOT has_engagement,
                        bitShiftLeft(bitShiftRight(column, 40), 54) + toUInt64(greatest(time_after, time) - time),
                        0),
                    c0, flags, times, arrayShiftLeft(times, 1)))) AS plain_views,
            arrayMap(
                (view, view_before) ->
                    view + if(bitShiftRight(view, 54) != bitShiftRight(view_before, 54), 2251799813685248, 0),
                plain_views, arrayShiftRight(plain_views, 1)) AS plain_figures,
            -- What follows is empty for sessions without engagement.
            if(has_engagement, length(flags), 0) AS size,
            arrayResize(flags, size) AS engaged_flags,
            arrayResize(times, size) AS engaged_times,
            arrayShiftLeft(
                arrayReverseFill(
                    time -> time > 0,
                    arrayMap((time, flag) -> if(bitTest(flag, 0), time, 0), engaged_times, engaged_flags)),
                1) AS times_after,
            -- Sorted by page, engagement follows the latest earlier view of its page: a piece is a view and what
            -- follows it of the same page. Engagement with no view before it follows another page's, or none.
            arraySort(
                record -> (record.1, record.5),
                arrayFilter(
                    record -> record.1 > 0 AND bitAnd(record.2, 2050) > 0,
                    arrayMap(
                        (column, flag, time, time_after, place) -> (
                            bitShiftRight(column, 40),
                            flag,
                            if(bitTest(flag, 0), if(time_after > 0, time_after - time, 0), toInt64(toUInt32(column))),
                            if(bitTest(flag, 0), 0, toUInt8(bitShiftRight(column, 32))),
                            place),
                        arrayResize(c0, size), engaged_flags, engaged_times, times_after,
                        arrayEnumerate(engaged_flags)))) AS records,
            arrayMap(
                piece -> (
                    piece[1].1,
                    toUInt64(if(arrayExists(record -> record.1 = piece[1].1 AND NOT bitTest(record.2, 1), piece),
                        arraySum(record -> if(record.1 = piece[1].1 AND NOT bitTest(record.2, 1), record.3, 0), piece),
                        piece[1].3)),
                    arrayMax(record -> if(record.1 = piece[1].1, record.4, 0), piece)),
                arrayFilter(
                    piece -> bitAnd(piece[1].2, 26) = 26,
                    arraySplit(record -> bitTest(record.2, 1), records))) AS engaged_views,
            arraySplit((view, page_step) -> page_step != 0, engaged_views, arrayDifference(engaged_views.1)) AS pages,
            arrayConcat(
                arrayMap(views -> bitShiftLeft(views[1].1, 54) + bitShiftLeft(toUInt64(1), 51) + arraySum(views.2), pages),
                arrayMap(
                    views -> bitShiftLeft(views[1].1, 54) + bitShiftLeft(toUInt64(4), 51) + toUInt64(arrayMax(views.3) - 1),
                    arrayFilter(views -> arrayMax(views.3) > 0, pages))) AS engaged_figures
        FROM
        (
            $visits
        )
    )
)
ARRAY JOIN session_figures AS figure
WHERE figure >= 18014398509481984
GROUP BY page_and_kind
