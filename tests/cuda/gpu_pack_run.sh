#!/bin/sh
# run [NAME...]: the tests of this folder (gpu_pack.py) on this machine's GPUs: a line for each, then the total; all, or those named.
# Output goes to logs, here or in the folder GPU_LOGS; a test has GPU_TEST_SECONDS (300), under compute-sanitizer three times that.
# Status 0: all passed that can run here; 77: there is no GPU.
# A test that a machine cannot run (a second device, compute-sanitizer) is named and counted; one that skips itself beside a GPU has
# failed. `run bench [ARG...]` measures instead.
cd "$(dirname "$0")" || exit 1
here=$(pwd)
logs=${GPU_LOGS:-$here/logs}
mkdir -p "$logs"
LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
TENON_PLUGINS=$here/plugins TENON_GOLDEN=$here/golden TENON_SAMPLER_VECTORS=$here/data/sampler_vectors.json
export LD_LIBRARY_PATH TENON_PLUGINS TENON_GOLDEN TENON_SAMPLER_VECTORS

bin/gpu_devices >"$logs/gpu_devices" 2>&1
status=$?
cat "$logs/gpu_devices"
[ $status = 0 ] || exit $status
devices=$(grep -c '^device' "$logs/gpu_devices")
if [ "$1" = bench ]; then
    shift
    limits=$(bin/gpu_kernels limits) || exit 1
    IFS='
' # the words of device_limits come a line each
    # shellcheck disable=SC2086
    exec bin/bench_device --plugins "$TENON_PLUGINS" $limits "$@"
fi
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
passed=0 failed=0 not_run=0 wanted=" $* "

while read -r name needs tool program arguments; do
    case "$wanted" in "  " | *" $name "*) ;; *) continue ;; esac
    if [ "$devices" -lt "$needs" ]; then
        echo "not run  $name: it needs $needs devices"
        not_run=$((not_run + 1))
        continue
    fi
    seconds=${GPU_TEST_SECONDS:-300} command=
    if [ "$tool" != none ]; then
        if [ -z "$sanitizer" ]; then
            echo "not run  $name: compute-sanitizer is not here"
            not_run=$((not_run + 1))
            continue
        fi
        command="$sanitizer --tool $tool --error-exitcode 1"
        seconds=$((3 * seconds))
    fi
    command -v timeout >/dev/null && command="timeout $seconds $command"
    begin=$(date +%s)
    # shellcheck disable=SC2086 # words on purpose
    $command "bin/$program" $arguments >"$logs/$name" 2>&1 </dev/null
    status=$?
    took="$(($(date +%s) - begin)) s"
    if [ $status = 0 ]; then
        echo "ok       $name ($took)"
        passed=$((passed + 1))
    else
        echo "FAILED   $name ($took): status $status"
        tail -n 15 "$logs/$name" | sed 's/^/         /'
        failed=$((failed + 1))
    fi
done <tests
echo "$passed passed, $failed failed, $not_run not run"
[ $failed = 0 ] && [ $passed -gt 0 ]
