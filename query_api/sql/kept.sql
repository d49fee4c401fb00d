-- Kept events in the range where no condition asks about sessions: each row for itself.
SELECT
    site_id,
    visitor_id,
    name = 'pageview' AS is_view$columns
FROM events
WHERE $scope AND $conditions
