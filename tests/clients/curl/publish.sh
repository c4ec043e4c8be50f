#!/usr/bin/env bash
# Publishes one message once, however often it has to be sent. Nothing beside bash and curl.
#
#   publish.sh URL TOPIC ID PAYLOAD       (the topic percent-encoded, but for its slashes)
set -u
url=$1 topic=$2 id=$3 payload=$4
give_up_after=540                         # seconds; for dedup.window (10 min) the gateway knows an id again
pause=100 longest_pause=10000             # milliseconds
folder=$(mktemp -d) && trap 'rm -r "$folder"' EXIT

while :; do
    status=$(curl --silent --max-time 60 --output "$folder/body" --dump-header "$folder/head" \
        --write-out '%{http_code}' --header "Idempotency-Key: $id" \
        --header 'Content-Type: application/json' --data-binary "$payload" "$url/v1/topics/$topic") || status=000
    kind=$(sed -n 's/.*"type":"urn:causeway:problem:\([a-z-]*\)".*/\1/p' "$folder/body" 2>/dev/null)
    case $status/$kind in
    200/* | 202/* | */outcome-pending)    # "duplicate":true: an earlier attempt had come through
        cat "$folder/body" && exit 0 ;;
    */dead-lettered | */discarded)
        echo "held, not sent again: $(cat "$folder/body")" >&2 && exit 1 ;;
    000/* | 408/* | 500/* | 502/* | 503/*) ;;   # 000: no answer
    *)
        echo "refused for good: $(cat "$folder/body")" >&2 && exit 1 ;;
    esac
    retry_after=$(sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9]*\).*/\1/p' "$folder/head" 2>/dev/null)
    wait=$((1000 * ${retry_after:-0} + (RANDOM * 32768 + RANDOM) % pause))
    if ((SECONDS + wait / 1000 > give_up_after)); then
        echo 'given up; whether it is stored is unknown' >&2 && exit 1
    fi
    echo "$status $kind: again in $wait ms" >&2
    rm -f "$folder"/*
    sleep "$((wait / 1000)).$(printf %03d $((wait % 1000)))"
    pause=$((2 * pause < longest_pause ? 2 * pause : longest_pause))
done
