# SPDX-License-Identifier: Apache-2.0
"""sqlite3 in memory: tables, indexes, joins, a sort, deletes, and the engine's own check."""

SCRIPT = """
PRAGMA cache_size = -1000000;
PRAGMA temp_store = MEMORY;
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, town INTEGER, born INTEGER, note TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, person INTEGER, item INTEGER, price INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO person SELECT i, 'name-' || (i * 7919 % 1000003), i * 31 % 997, 1900 + i * 17 % 120,
    hex(i * 2654435761 % 4294967296) || printf('%.*c', 300 + i % 500, 'x') FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
INSERT INTO orders SELECT i, 1 + i * 7919 % 60000, i * 104729 % 5003, i * 13 % 9973 FROM n;
CREATE INDEX person_name ON person(name);
CREATE INDEX person_town ON person(town, born);
CREATE INDEX orders_person ON orders(person, item);
CREATE INDEX orders_item ON orders(item, price);
SELECT town, count(*), sum(price), max(item) FROM person JOIN orders ON orders.person = person.id
    GROUP BY town ORDER BY sum(price) DESC, town LIMIT 50;
SELECT a.name, b.name FROM person a JOIN person b ON b.town = a.town AND b.born = a.born
    WHERE a.id < b.id ORDER BY a.name, b.name LIMIT 100;
DELETE FROM orders WHERE item % 3 = 0;
UPDATE person SET note = note || '-changed' WHERE id % 5 = 0;
SELECT count(*), sum(length(note)) FROM person;
SELECT item, count(*), sum(price) FROM orders GROUP BY item ORDER BY 3 DESC, 1 LIMIT 50;
PRAGMA integrity_check;
"""


def test(case):
    script = case.file("script.sql", SCRIPT)
    case.compare([case.need("sqlite3"), "-batch", ":memory:", ".read " + script])
