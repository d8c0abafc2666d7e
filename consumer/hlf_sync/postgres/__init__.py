"""The only owner of psycopg and of SQL: facts, ledger, circuit, halts, requests, migrations.
Decides nothing.
"""
