#!/bin/sh
# Makes the passwords of docker-compose.yml at the first `up`, and keeps them from then on.
# Usage: secrets.sh [FOLDER]   FOLDER (default /secrets) holds one folder for each circle of services that may read a secret:
#   superuser/password         PostgreSQL's superuser: postgres, database-role
#   database/password, url     the application's role: database-role, and the roles of Taskwire
#   redis/password, url, redis.conf
# Each folder is a volume that only its circle mounts, so the files are readable for the different users in those containers.
set -eu
umask 022
cd "${1:-/secrets}"

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# A file is made whole or not at all, and one that is there stays.
keep() {
  [ -s "$1" ] && return
  printf '%s\n' "$2" >"$1.new"
  mv "$1.new" "$1"
}

mkdir -p superuser database redis
keep superuser/password "$(random)"
keep database/password "$(random)"
keep redis/password "$(random)"
keep database/url "postgres://taskwire:$(cat database/password)@postgres:5432/taskwire"
keep redis/url "redis://:$(cat redis/password)@redis:6379"
keep redis/redis.conf "requirepass $(cat redis/password)"
