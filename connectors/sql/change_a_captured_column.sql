-- Another type for a captured column of the application, while everything runs: an example to copy, with the one statement in the middle replaced.
--
--     psql -v ON_ERROR_STOP=1 -f change_a_captured_column.sql
--
-- ALTER TABLE … TYPE is refused by PostgreSQL while the facts view, the publication's column list or its row filter holds the column ("cannot alter type
-- of a column used by a view or rule", "… used by a publication WHERE clause"). So: take the table out, change it, put all back. One transaction, under
-- a lock: no commit comes in between, so the stream misses nothing. The workers wait for the view meanwhile, and go on by themselves.

BEGIN;
-- An ALTER TABLE that waits blocks all who come after it. Rather give up, and run the file again at a quieter time.
SET LOCAL lock_timeout = '5s';
LOCK TABLE app.mentor, app.certification IN ACCESS EXCLUSIVE MODE;
ALTER PUBLICATION hlf_mentor_pub DROP TABLE app.mentor, app.certification;
DROP VIEW hlf_sync.mentor_facts;

-- The change itself.
ALTER TABLE app.mentor ALTER COLUMN status TYPE varchar(40);

-- Puts view, rights, identities and publication back, refuses a type that cannot be captured, and commits all of it (its own BEGIN only warns).
\ir 02_source.sql
