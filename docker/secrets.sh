#!/bin/sh
# Makes the passwords of docker-compose.yml at the first `up`, and keeps them from then on. To change one, delete its file `password`, and run
# this again: a new one is made, and `url` and `redis.conf` are written from it. docs/operations.md says how.
# Usage: secrets.sh [FOLDER]   FOLDER (default /secrets) holds one folder for each circle of services that may read a secret:
#   superuser/password         PostgreSQL's superuser: postgres, database-role
#   database/password, url     the application's role: database-role, and the roles of Taskwire
#   redis/password, url, redis.conf
# Each folder is a volume that only its circle mounts, so the files are readable for the different users in those containers.
set -eu
umask 022
cd "${1:-/secrets}"

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# A file is written whole or not at all.
write() {
  printf '%s\n' "$2" >"$1.new"
  mv "$1.new" "$1"
}

# One that is there stays.
keep() {
  [ -s "$1" ] || write "$1" "$2"
}

# A new password, with a URL of its own: the old URL goes first, so that a crash in between leaves none with an old password.
password() {
  [ -s "$1/password" ] && return
  rm -f "$1/url"
  write "$1/password" "$(random)"
}

mkdir -p superuser database redis
password superuser
password database
password redis
keep database/url "postgres://taskwire:$(cat database/password)@postgres:5432/taskwire"
keep redis/url "redis://:$(cat redis/password)@redis:6379"
# Each time: what Redis asks for is what the file `password` says. Quotes and backslashes are escaped, for a password that was written by hand.
write redis/redis.conf "requirepass \"$(sed 's/[\\"]/\\&/g' redis/password)\""
