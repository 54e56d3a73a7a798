#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# podman stop of a database: PostgreSQL and Redis end by themselves, with 0 and all that they hold, and start again without a recovery.
# timeout: 1800
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=../e2e/podman-lib.sh
. "$(dirname "$0")/../e2e/podman-lib.sh"

bundle d net
end_of() { pod inspect --format '{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}' "$1"; }
logged() { pod logs "$1" 2>&1 | grep -cF "$2" || true; }

say "PostgreSQL"
sql() { podman exec --user postgres pg psql -h /tmp -p 5433 -Atqc "$1" postgres; }
answers() { sql 'select 1' >/dev/null 2>&1; }
# shellcheck disable=SC2016 # the container's shell
status 0 pod run -d --name pg --network none --user postgres --rootfs "$work/d/rootfs" /usr/lib/postgresql/15/bin/postgres \
	-D /var/lib/postgresql/15/main -c config_file=/etc/postgresql/15/main/postgresql.conf -c listen_addresses= -c port=5433 \
	-c unix_socket_directories=/tmp -c external_pid_file=/tmp/pg.pid -c fsync=on
wait_for 120 answers
sql 'create table t(n int primary key, v text)'
sql "insert into t select n, repeat('x', n) from generate_series(1, 2000) n"
# the client is at work when the signal comes: "smart" waits for it, and its rows are all there
podman exec --user postgres pg psql -h /tmp -p 5433 -Atqc "begin; insert into t select n, '' from generate_series(2001, 4000) n; select pg_sleep(30); commit" postgres \
	>"$work/client" 2>&1 &
client=$!
asleep() { [ "$(sql "select count(*) from pg_stat_activity where wait_event = 'PgSleep'")" = 1 ]; }
wait_for 60 asleep
status 0 pod stop -t 120 pg
wait "$client" || die "the client that was at work: $(cat "$work/client")"
ok "the client that was at work has its commit"
check "its end" "exited 0 false" "$(end_of pg)"
check "it says so" 1 "$(logged pg 'database system is shut down')"
status 0 pod start pg
wait_for 120 answers
check "no recovery" 0 "$(logged pg 'was not properly shut down')"
check "all rows" "4000 2001000" "$(sql 'select count(*), sum(length(v)) from t' | tr '|' ' ')"

say "killed instead"
sql "insert into t values (5000, 'committed')"
status 0 pod kill pg
await_exited pg 180
check "its end" "exited 137 false" "$(end_of pg)"
status 0 pod start pg
wait_for 120 answers
check "a recovery" 1 "$(logged pg 'was not properly shut down')"
check "what was committed" "4001 committed" "$(sql 'select count(*), max(v) filter (where n = 5000) from t' | tr '|' ' ')"
status 0 pod stop -t 120 pg
check "its end" "exited 0 false" "$(end_of pg)"
status 0 pod rm pg

say "Redis"
status 0 pod run -d --name r --network none --user redis --rootfs "$work/d/rootfs" redis-server --port 0 --unixsocket /tmp/redis --dir /var/lib/redis \
	--save '3600 1' --daemonize no
redis() { podman exec r redis-cli -s /tmp/redis "$@"; }
pong() { [ "$(redis ping 2>/dev/null)" = PONG ]; }
wait_for 120 pong
redis eval 'for i = 1, 5000 do redis.call("set", "k" .. i, i) end' 0 >/dev/null
status 0 pod stop -t 120 r
check "its end" "exited 0 false" "$(end_of r)"
check "it says so" 1 "$(logged r 'ready to exit')"
status 0 pod start r
wait_for 120 pong
check "all keys" "5000 5000" "$(redis dbsize) $(redis get k5000)"
status 0 pod stop -t 120 r
check "its end" "exited 0 false" "$(end_of r)"
status 0 pod rm r
done_testing
