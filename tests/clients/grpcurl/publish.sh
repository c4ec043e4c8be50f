#!/usr/bin/env bash
# Publishes one message once, however often it has to be sent. Nothing beside bash and grpcurl, which asks the
# gateway itself (reflection) what its messages look like.
#
#   publish.sh HOST:PORT TOPIC ID PAYLOAD       (TOPIC and ID without quotes or backslashes)
set -u
target=$1 topic=$2 id=$3 payload=$4
give_up_after=540                         # seconds; for dedup.window (10 min) the gateway knows an id again
pause=100 longest_pause=10000             # milliseconds
request="{\"message\": {\"topic\": \"$topic\", \"id\": \"$id\", \"contentType\": \"application/json\",
    \"payload\": \"$(printf %s "$payload" | base64 | tr -d '\n')\"}}"

while :; do
    # Its exit status is 64 and the code of the refusal; less is its own trouble: not connected, cut off.
    answer=$(grpcurl -plaintext -max-time 60 -format-error -d "$request" "$target" \
        causeway.v1.Gateway/Publish 2>&1)
    code=$?
    reason=$(sed -n 's/.*"reason": *"\([A-Z_]*\)".*/\1/p' <<<"$answer")
    retry_after=$(sed -n 's/.*"retryDelay": *"\([0-9]*\).*/\1/p' <<<"$answer")
    case $code/$reason in
    0/* | */OUTCOME_PENDING)              # "duplicate": true: an earlier attempt had come through
        echo "$answer" && exit 0 ;;
    */DEAD_LETTERED | */DISCARDED)
        echo "held, not sent again: $answer" >&2 && exit 1 ;;
    65/* | 66/* | 68/* | 77/* | 78/*) ;;  # CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE
    *)
        if ((code > 64)) && [ -z "$retry_after" ]; then
            echo "refused for good: $answer" >&2 && exit 1
        fi ;;
    esac
    wait=$((1000 * ${retry_after:-0} + (RANDOM * 32768 + RANDOM) % pause))
    if ((SECONDS + wait / 1000 > give_up_after)); then
        echo 'given up; whether it is stored is unknown' >&2 && exit 1
    fi
    echo "$code ${reason:-$answer}: again in $wait ms" >&2
    sleep "$((wait / 1000)).$(printf %03d $((wait % 1000)))"
    pause=$((2 * pause < longest_pause ? 2 * pause : longest_pause))
done
