"""Reads from PostgreSQL's catalogue what core/source_health judges: publication, tables, identities,
view. Called by `doctor` and by the leader's watch. Reads only, and no row of anybody's.
"""

from collections.abc import Mapping
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from hlf_sync.core.source_health import IDENTIFIED_BY, Publication, Shape, SourceTable, View

# Names are compared as text: to_regclass needs USAGE of the application's schema, which our role
# has not. The identity's columns come from the index that serves as one (indisreplident):
# relreplident stays 'i' after that index was dropped.
_READ = """
SELECT jsonb_build_object(
  'publication', (SELECT jsonb_build_object('oid', p.oid::bigint, 'all', p.puballtables OR EXISTS (
                             SELECT FROM pg_publication_namespace n WHERE n.pnpubid = p.oid),
                           'whole', p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AND NOT p.pubviaroot)
                    FROM pg_publication p WHERE p.pubname = %(publication)s),
  'published', (SELECT jsonb_agg(jsonb_build_array(schemaname || '.' || tablename, attnames::text[], coalesce(rowfilter, '')))
                  FROM pg_publication_tables WHERE pubname = %(publication)s),
  'tables', (SELECT jsonb_object_agg(n.nspname || '.' || t.relname, jsonb_build_array(
                      t.oid::bigint, t.relkind, t.relreplident, t.relrowsecurity,
                      ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                             WHERE i.indrelid = t.oid AND i.indisvalid
                               AND CASE t.relreplident WHEN 'i' THEN i.indisreplident WHEN 'd' THEN i.indisprimary ELSE false END),
                      (SELECT jsonb_object_agg(a.attname, format_type(a.atttypid, NULL)) FROM pg_attribute a
                        WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped)))
               FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
              WHERE n.nspname || '.' || t.relname = ANY (%(tables)s) AND t.relkind IN ('r', 'p', 'v', 'm', 'f')),
  'view', (SELECT jsonb_build_array(
                    (SELECT jsonb_object_agg(a.attname, format_type(a.atttypid, NULL)) FROM pg_attribute a
                      WHERE a.attrelid = v.oid AND a.attnum > 0 AND NOT a.attisdropped),
                    ARRAY(SELECT DISTINCT d.refobjid::bigint FROM pg_rewrite r
                            JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
                           WHERE r.ev_class = v.oid AND d.refobjid <> v.oid))
             FROM pg_class v JOIN pg_namespace n ON n.oid = v.relnamespace
            WHERE n.nspname = 'hlf_sync' AND v.relname = 'mentor_facts'))
"""


async def read_shape(connection: AsyncConnection[Any], publication: str) -> Shape:
    """What the catalogue says now."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(
        _READ.encode(), {"publication": publication, "tables": list(IDENTIFIED_BY)}
    )
    found = await cursor.fetchone()
    assert found is not None  # noqa: S101 - SELECT without FROM gives one row
    return _shape(found)


def _shape(found: Mapping[str, Any]) -> Shape:
    published = {
        name: (frozenset(columns or ()), row_filter)
        for name, columns, row_filter in found["published"] or ()
    }
    there = found["publication"]
    tables = {
        name: SourceTable(
            oid=oid,
            kind=kind,
            identity=identity,
            identified_by=frozenset(identified_by),
            columns=columns or {},
            has_row_security=has_row_security,
        )
        for name, (oid, kind, identity, has_row_security, identified_by, columns) in (
            found["tables"] or {}
        ).items()
    }
    view = found["view"]
    return Shape(
        publication=(
            Publication(there["oid"], there["all"], there["whole"], published) if there else None
        ),
        tables=tables,
        view=View(view[0] or {}, frozenset(view[1])) if view else None,
    )
