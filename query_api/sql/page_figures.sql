-- Figures of the numbered pages that need sessions: time and scroll depth of their views in the range, entries, exits
-- and bounces of the sessions that start in it. A record holds, after its position, the page's number (0 is none of
-- them), engaged_ms and scroll_depth.
--
-- Sorted by page and time, engagement follows the latest earlier view of its page: a piece is a view and what belongs
-- to it. Engagement with no view before it follows the view of another page, or none, and falls away.
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
        arrayFilter(
            figure -> figure.1 > 0,
            arrayConcat(
                arrayMap(
                    views -> (views[1].1, arraySum(views.2), 1, greatest(arrayMax(views.3), 0), arrayMax(views.3) >= 0, 0, 0, 0),
                    arraySplit((view, page, page_before) -> page != page_before, views, views.1, arrayShiftRight(views.1, 1))),
                if(begins AND view_count > 0,
                    [(entry_page, 0, 0, 0, 0, 1, 0, is_bounce), (exit_page, 0, 0, 0, 0, 0, 1, 0)],
                    []))) AS figures
    FROM
    (
        SELECT
            begins,
            is_bounce,
            view_count,
            arrayFirst(record -> bitTest(record.2, 1), visit).4 AS entry_page,
            arrayLast(record -> bitTest(record.2, 1), visit).4 AS exit_page,
            arrayPushBack(arrayPopFront(arrayDifference(arrayMap(mark -> intDiv(mark, 65536), marks))), 0) AS gaps,
            arrayFilter(
                (item, record) -> bitTest(record.2, 1) AND record.4 > 0,
                arrayMap((record, gap) -> (record.4, record.2, record.3, toInt64(gap), toInt16(-1)), visit, gaps),
                visit) AS view_items,
            arrayMap(
                record -> (record.4, record.2, record.3, toInt64(record.5), record.6),
                arrayFilter(record -> NOT bitTest(record.2, 0) AND record.4 > 0, run)) AS engagement_items,
            arraySort(item -> (item.1, intDiv(item.2, 65536), item.3), arrayConcat(view_items, engagement_items)) AS items,
            arrayFilter(
                view -> view.4,
                arrayMap(
                    piece -> (
                        piece[1].1,
                        if(arrayExists(item -> item.1 = piece[1].1 AND NOT bitTest(item.2, 1), piece),
                            arraySum(item -> if(item.1 = piece[1].1 AND NOT bitTest(item.2, 1), item.4, 0), piece),
                            piece[1].4),
                        arrayMax(item -> if(item.1 = piece[1].1, item.5, -1), piece),
                        bitAnd(piece[1].2, 26) = 26),
                    arraySplit(item -> bitTest(item.2, 1), items))) AS views
        FROM
        (
            $visits
        )
    )
)
ARRAY JOIN figures AS figure
GROUP BY page
