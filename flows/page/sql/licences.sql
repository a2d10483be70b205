-- Licences as their authors declare them.
SELECT base, coalesce(nullif(licence, ''), '(none declared)') AS licence, count(*) AS seen,
       count(*) FILTER (admitted) AS admitted,
       count(*) FILTER (EXISTS (FROM best b WHERE b.base = a.base AND b.adapter = a.adapter)) AS chosen
FROM adapters a GROUP BY ALL ORDER BY base, seen DESC, licence
