-- Figures of the numbered pages that need sessions: time and scroll depth of their views in the range, entries, exits
-- and bounces of the sessions that start in it. Of each record c0 is the number of its page (0 is none of them), c1 its
-- engaged_ms, c2 its scroll_depth, c3 whether it belongs to the session.
--
-- Sorted by page, engagement follows the latest earlier view of its page: a piece is a view and what follows it of the
-- same page. Engagement with no view before it follows the view of another page, or none, and falls away.
SELECT
    figure.1 AS page,
    sum(figure.2) AS time,
    sum(figure.3) AS viewed,
    sum(figure.4) AS depth,
    sum(figure.5) AS deep,
    sum(figure.6) AS entries,
    sum(figure.7) AS exits,
    sum(figure.8) AS bounces
FROM
(
    SELECT
        arrayConcat(
            arrayMap(
                views -> (
                    views[1].1,
                    arraySum(views.2),
                    1,
                    greatest(arrayMax(views.3), 0),
                    toUInt8(arrayMax(views.3) >= 0),
                    0,
                    0,
                    toUInt8(0)),
                arraySplit((view, page_step) -> page_step != 0, views, arrayDifference(views.1))),
            if(begins AND has_view,
                [(entry_page, 0, 0, 0, 0, 1, 0, is_bounce), (exit_page, 0, 0, 0, 0, 0, 1, toUInt8(0))],
                [])) AS figures
    FROM
    (
        SELECT
            begins,
            has_view,
            is_bounce,
            arrayFirst((number, flag) -> bitTest(flag, 1), c0, flags) AS entry_page,
            arrayLast((number, flag) -> bitTest(flag, 1), c0, flags) AS exit_page,
            -- The time of the nearest counted event from each record on, and so after it; 0 is none.
            arrayMap((time, flag) -> if(bitTest(flag, 0), time, 0), times, flags) AS counted_times,
            arrayShiftLeft(arrayReverseFill(time -> time > 0, counted_times), 1) AS times_after,
            arraySort(
                record -> record.1,
                arrayFilter(
                    record -> record.1 > 0 AND (bitTest(record.2, 1) OR record.5 AND NOT bitTest(record.2, 0)),
                    arrayMap(
                        (number, flag, engaged, depth, belongs, time, time_after) -> (
                            number,
                            flag,
                            if(bitTest(flag, 0), if(time_after > 0, time_after - time, 0), toInt64(engaged)),
                            if(bitTest(flag, 0), toInt16(-1), depth),
                            belongs),
                        c0, flags, c1, c2, c3, times, times_after))) AS records,
            arrayMap(
                piece -> (
                    piece[1].1,
                    if(arrayExists(record -> record.1 = piece[1].1 AND NOT bitTest(record.2, 1), piece),
                        arraySum(record -> if(record.1 = piece[1].1 AND NOT bitTest(record.2, 1), record.3, 0), piece),
                        piece[1].3),
                    arrayMax(record -> if(record.1 = piece[1].1, record.4, -1), piece)),
                arrayFilter(
                    piece -> bitAnd(piece[1].2, 26) = 26,
                    arraySplit(record -> bitTest(record.2, 1), records))) AS views
        FROM
        (
            $visits
        )
    )
)
ARRAY JOIN figures AS figure
WHERE page > 0
GROUP BY page
