#!/bin/sh
# http_tls.sh SERVER: serves the HTTP front end over TLS with a fresh certificate and asks it with curl: a chat, a stream, a
# body beyond the limit sent from a pipe, and plain HTTP to the TLS port; the deprecated versions of TLS are not spoken. Skipped (77)
# without openssl or curl.
set -eu
server=$1
command -v openssl >/dev/null && command -v curl >/dev/null || exit 77
dir=$(mktemp -d)
trap 'kill $pid 2>/dev/null || true; rm -rf "$dir"' EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null

mkfifo "$dir/stdin"
"$server" "tls_cert=$dir/cert.pem" "tls_key=$dir/key.pem" <"$dir/stdin" >"$dir/address" &
pid=$!
exec 3>"$dir/stdin" # the server runs until this closes
tries=0
while ! grep -q . "$dir/address"; do
    sleep 0.1
    tries=$((tries + 1))
    [ $tries -lt 600 ] || { echo "the server did not start"; exit 1; }
done
address=$(cat "$dir/address")
case $address in https://*) ;; *) echo "address '$address' is not https"; exit 1 ;; esac

ask() {
    curl -sS --max-time 60 --cacert "$dir/cert.pem" -H 'Content-Type: application/json' "$@"
}
body='{"messages":[{"role":"user","content":"Hi"}]'
ask "$address/v1/chat/completions" -d "$body}" | grep -q '"content":"Hello"'
ask "$address/v1/chat/completions" -d "$body,\"stream\":true}" | tail -n 2 | grep -q 'data: \[DONE\]'
status=$(head -c 20000000 /dev/zero | tr '\0' ' ' | ask "$address/tokenize" -d @- -o /dev/null -w '%{http_code}')
[ "$status" = 413 ] || { echo "a body of 20 MB gave $status"; exit 1; }
status=$(head -c 20000000 /dev/zero | tr '\0' ' ' |
    ask "$address/tokenize" -H 'Transfer-Encoding: chunked' -H 'Expect:' -d @- -o /dev/null -w '%{http_code}')
[ "$status" = 413 ] || { echo "a chunked body of 20 MB gave $status"; exit 1; }
if curl -sS --max-time 20 "http://${address#https://}/health" >/dev/null 2>&1; then
    echo "plain HTTP was answered on the TLS port"
    exit 1
fi
# RFC 8996. The client's own security level is lowered, lest it be what refuses.
for version in tls1 tls1_1 tls1_2 tls1_3; do
    spoken=$(openssl s_client -connect "${address#https://}" -$version -cipher 'ALL:@SECLEVEL=0' </dev/null 2>/dev/null |
        grep -c '^New, TLS' || true)
    case $version in tls1 | tls1_1) wanted=0 ;; *) wanted=1 ;; esac
    [ "$spoken" = $wanted ] || { echo "$version: spoken $spoken times, not $wanted"; exit 1; }
done
ask "$address/health" | grep -q alive
exec 3>&-
wait $pid
