#!/bin/sh
# Runs once, when the volume is empty: an ordinary role and its database. The superuser passes through row-level
# security, so the bridge does not sign in as it; without a password, nobody can over the network.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$(cat /run/secrets/postgres_password)" <<'SQL'
CREATE ROLE bridge LOGIN PASSWORD :'password';
GRANT pg_checkpoint TO bridge;
CREATE DATABASE bridge OWNER bridge;
ALTER ROLE postgres PASSWORD NULL;
SQL
