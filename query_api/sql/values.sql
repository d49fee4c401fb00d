-- All values of a column in these days, by bytes: their places stand for them, since numbers are gathered into arrays
-- ten times as fast as texts.
(SELECT arraySort(groupArray(toString(value))) FROM (SELECT DISTINCT $column AS value FROM events WHERE $scope))
