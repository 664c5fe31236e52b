#!/bin/bash
# article.sh: from a model in a local cache to answers over a table, without a network: register, plan, create a service, ask it
# by REST, Python and SQL (SQLite, and PostgreSQL where it is installed), suspend and resume, delete. Nothing is left behind, and
# nothing, of Tenon's or of its clients, has connected or sent anything beyond this machine (where strace is installed).
#
# TENON, TENON_PLUGINS: the program and its plugins. TENON_TEST_MODEL: a SmolLM2 GGUF; without it 77. TENON_SQLITE: the extension.
# TENON_POSTGRES, TENON_POSTGRES_FILES: the other one's module and extension files; empty: not built.
set -euo pipefail
source_root=$(cd "$(dirname "$0")/../.." && pwd)
here=$source_root/tests/e2e
if [ ! -f "${TENON_TEST_MODEL:-}" ]; then
    echo "TENON_TEST_MODEL names no model: skipped"
    exit 77
fi

# No network at all, where that may be had: a namespace with no device in it.
if [ -z "${ARTICLE_OFFLINE:-}" ]; then
    how=(unshare --net)
    [ "$(id -u)" = 0 ] || how=(unshare --map-current-user --net)
    if "${how[@]}" true 2>/dev/null; then
        ARTICLE_OFFLINE=1 exec "${how[@]}" "$0" "$@"
    fi
    echo "no namespace without a network here: going on with one"
fi

# All below is traced: the commands, the daemon, its engines, Python, the databases.
if [ -z "${ARTICLE_TRACED:-}" ] && command -v strace >/dev/null && strace -f -o /dev/null true 2>/dev/null; then
    python3 "$here/outbound.py" --check || { echo "article: a connect to the outside goes unseen" >&2 && exit 1; }
    calls=$(mktemp)
    code=0
    ARTICLE_TRACED=1 strace -f --seccomp-bpf -qq -e trace=connect,sendto,sendmsg,sendmmsg -o "$calls" "$0" "$@" || code=$?
    if [ "$code" = 0 ]; then
        python3 "$here/outbound.py" "$calls" || { echo "article: something has spoken to the outside" >&2 && code=1; }
    fi
    rm -f "$calls"
    exit "$code"
fi
[ -n "${ARTICLE_TRACED:-}" ] || echo "no strace here: nobody looks what is connected to"

folder=$(mktemp -d)
daemon=
finish() {
    [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null && wait "$daemon" || true; }
    rm -rf "$folder"
}
trap finish EXIT
number=0
step() {
    number=$((number + 1))
    printf '\nstep %d: %s\n' "$number" "$*"
}
now() { date +%s%N; }
# took NANOSECONDS-BEFORE [ROWS]: how long it has been since, and rows a second.
took() {
    python3 -c 'import sys
seconds = (int(sys.argv[2]) - int(sys.argv[1])) / 1e9
print(f"   {seconds:.1f} s" + (f", {int(sys.argv[3]) / seconds:.1f} rows/s" if sys.argv[3:] else ""))' "$1" "$(now)" "${@:2}"
}
fail() {
    echo "article: $*" >&2
    tail -5 "$folder/daemon.log" >&2 || true
    exit 1
}

cat >"$folder/daemon.ini" <<END
[server]
store = $folder/store
[registry]
path = $folder/registry
[plugins]
path = $TENON_PLUGINS
[http_frontend]
listen = unix:$folder/sock
[pool cpu]
host_memory = true
END
tenon() { "$TENON" "$@" --config "$folder/daemon.ini"; }
ask() { # PATH JSON
    curl --silent --show-error --fail-with-body --unix-socket "$folder/sock" "http://daemon$1" -H 'Content-Type: application/json' -d "$2"
}
engines() { pgrep -f "$folder/store/instances" || true; }

step "register the model, from a cache as Hugging Face keeps it"
python3 - "$folder/cache" "$TENON_TEST_MODEL" <<END
import sys
sys.path.insert(0, "$here")
from hf_cache import make_cache
make_cache(sys.argv[1], {"smollm2.gguf": open(sys.argv[2], "rb").read()}, org="HuggingFaceTB", name="SmolLM2-135M-Instruct")
END
tenon registry log smollm2 "$folder/cache/models--HuggingFaceTB--SmolLM2-135M-Instruct" --alias prod --metric perplexity=9.38
tenon registry verify smollm2 --deep

step "does it fit?"
tenon plan registry:smollm2:prod --pool cpu --max-model-len 1024 || fail "it should fit"

step "a service, with one call"
"$TENON" daemon "$folder/daemon.ini" --stop-engines 2>"$folder/daemon.log" &
daemon=$!
for _ in $(seq 300); do
    grep -q "daemon is ready" "$folder/daemon.log" && break
    kill -0 "$daemon" 2>/dev/null || fail "the daemon has ended"
    sleep 0.1
done
begin=$(now)
tenon service create chat --model smollm2:prod --pool cpu --set max_model_len=1024 --set max_num_seqs=32
took "$begin"
tenon service list
[ "$(tenon service list --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["services"][0]["state"])')" = READY ] ||
    fail "the service is not READY"

step "ask it by REST"
ask /v1/chat/completions '{"model": "chat", "max_tokens": 12, "temperature": 0, "messages": [{"role": "user", "content": "What is the capital of France?"}]}' |
    tee "$folder/answer"
echo
grep -q Paris "$folder/answer" || fail "no Paris in the answer"

step "ask it from Python: sdk/python/examples/article.py"
PYTHONPATH=$source_root/sdk/python python3 "$source_root/sdk/python/examples/article.py" "$TENON_TEST_MODEL" "unix:$folder/sock" cpu

# A table of 1,000 rows, of which row 500 is longer than the context.
rows="WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 1000)
    INSERT INTO product SELECT id, CASE id WHEN 500 THEN \$LONG ELSE 'a thing of ' || id || ' parts' END FROM n;"
counts="SELECT count(value), count(error), max(CASE WHEN error IS NOT NULL THEN key END) FROM answer;"
options='{"max_tokens": 4, "temperature": 0}'

if [ -n "${TENON_SQLITE:-}" ]; then
    step "1,000 rows of a table in SQLite"
    begin=$(now)
    sqlite3 "$folder/shop.db" >"$folder/counts" <<END
.load ${TENON_SQLITE%.so}
SELECT llm_server('unix:$folder/sock') IS NULL;
CREATE TABLE product(id INTEGER PRIMARY KEY, name TEXT);
${rows/\$LONG/printf(\'%.*c\', 9000, \'x\')}
CREATE TABLE answer AS SELECT * FROM llm_map('chat', 'SELECT id, ''Name it: '' || name FROM product', '$options');
$counts
SELECT llm_complete('chat', 'What is the capital of France?', '{"max_tokens": 12, "temperature": 0}');
END
    echo "   answers|errors|the row that failed, as it must: it is longer than the context; then one question:"
    tail -n +2 "$folder/counts"
    took "$begin" 1000
    grep -qx '999|1|500' "$folder/counts" || fail "SQLite: not 999 answers and one row's error"
    grep -q Paris "$folder/counts" || fail "SQLite: no Paris in the answer"
fi

if [ -n "${TENON_POSTGRES:-}" ] && command -v pg_config >/dev/null; then
    step "1,000 rows of a table in PostgreSQL"
    chmod 711 "$folder" && chmod 666 "$folder/sock"
    PYTHONPATH=$here python3 - >"$folder/counts" <<END || fail "PostgreSQL"
import time
from postgres_server import PostgresServer
with PostgresServer("$TENON_POSTGRES", """$TENON_POSTGRES_FILES""".split(), {"tenon.server": "unix:$folder/sock"}) as server:
    begin = time.monotonic()
    code, rows, complaints = server.try_sql("""CREATE EXTENSION tenon;
CREATE TABLE product(id integer PRIMARY KEY, name text);
${rows/\$LONG/repeat(\'x\', 9000)}
CREATE TABLE answer AS SELECT * FROM llm_map('chat', 'SELECT id, ''Name it: '' || name FROM product', '$options');
$counts""")
    seconds = time.monotonic() - begin
    print("   answers, errors, the row that failed, as it must:", rows[-1] if rows else "", complaints)
    print(f"   {seconds:.1f} s, {1000 / seconds:.1f} rows/s")
    if code:
        raise SystemExit(code)
END
    cat "$folder/counts"
    grep -q "('999', '1', '500')" "$folder/counts" || fail "PostgreSQL: not 999 answers and one row's error"
fi

step "suspend, and the next request resumes"
tenon service suspend chat
[ -z "$(engines)" ] || fail "engines are left: $(engines)"
begin=$(now)
ask /v1/completions '{"model": "chat", "prompt": "The capital of France is", "max_tokens": 4, "temperature": 0}' | grep -q Paris ||
    fail "no Paris after the resume"
took "$begin"
[ -n "$(engines)" ] || fail "no engine after the resume"

step "delete, and nothing is left"
tenon service delete chat
[ -z "$(engines)" ] || fail "engines are left: $(engines)"
[ -z "$(ls "$folder/store/instances")" ] || fail "instances are left: $(ls "$folder/store/instances")"
tenon registry rm smollm2
tenon registry gc
[ -z "$(find "$folder/registry/blobs" -type f)" ] || fail "blobs are left"
kill "$daemon" && wait "$daemon" || fail "the daemon did not stop in order"
daemon=
printf '\ndone: %d steps\n' "$number"
