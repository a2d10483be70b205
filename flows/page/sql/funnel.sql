-- From seen to chosen, adapters by base.
SELECT base, count(*) AS seen, count(*) FILTER (downloaded) AS downloaded, count(*) FILTER (admitted) AS admitted,
       (SELECT count(DISTINCT adapter) FROM scores s WHERE s.base = a.base AND adapter <> '') AS scored,
       (SELECT count(DISTINCT adapter) FROM best b WHERE b.base = a.base AND adapter <> '') AS chosen
FROM adapters a GROUP BY base ORDER BY base
