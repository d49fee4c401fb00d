-- Every figure is a sum over sites; visitors of different sites are different.
SELECT $figures
FROM
(
    $of_sites
)
$groups
