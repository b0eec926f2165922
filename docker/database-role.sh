#!/bin/sh
# Gives the application its role in PostgreSQL, `taskwire`, which owns its database and is no superuser. Run at each `up`; changes
# nothing when that is done. A volume of an earlier version, whose superuser was `taskwire`, is changed over: nothing in it is lost.
# Settings: SECRETS_DIR (default /secrets) as secrets.sh makes it, SQL_DIR (default /sql) with drizzle/roles, and PGHOST, PGPORT.
set -eu
secrets=${SECRETS_DIR:-/secrets}
sql=${SQL_DIR:-/sql}
export PGHOST="${PGHOST:-postgres}" PGDATABASE=taskwire PGCONNECT_TIMEOUT=10

log_in_as() {
  export PGUSER="$1" PGPASSWORD="$2"
  psql --no-psqlrc --quiet --command 'select from pg_authid limit 0' >/dev/null 2>&1
}

password=$(cat "$secrets/superuser/password")
log_in_as postgres "$password" || log_in_as taskwire_superuser "$password" || log_in_as taskwire taskwire || {
  echo "database-role: cannot log in to PostgreSQL as its superuser. Were the secrets' volumes removed, and PostgreSQL's kept? See docs/operations.md." >&2
  exit 1
}

# All or nothing. The files are read by psql, so that no password is in a command line.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --single-transaction --file "$sql/role.sql" --file "$sql/ownership.sql" --file - <<SQL
\set superuser \`cat '$secrets/superuser/password'\`
\set application \`cat '$secrets/database/password'\`
alter role current_user password :'superuser';
alter role taskwire password :'application';
SQL
echo 'database-role: taskwire owns its database'
