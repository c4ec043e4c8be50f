"""Publishes one message once, however often it has to be sent. Nothing beside Python 3.

python3 publish.py URL TOPIC ID PAYLOAD"""

import json
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

GIVE_UP_AFTER = 9 * 60  # seconds; for dedup.window (10 min) the gateway knows an id again
LONGEST_PAUSE = 10  # seconds
AGAIN = {None, 408, 500, 502, 503}  # None: no answer
HELD = {"dead-lettered", "discarded"}


def publish(url, topic, message_id, payload):
    path = "/".join(urllib.parse.quote(level, safe="") for level in topic.split("/"))
    headers = {"Idempotency-Key": message_id, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/topics/{path}", payload, headers)
    end = time.monotonic() + GIVE_UP_AFTER
    pause = 0.1
    while True:
        status, answer, retry_after = attempt(request)
        kind = answer.get("type", "").rpartition(":")[2]
        if status in (200, 202) or kind == "outcome-pending":
            return answer  # "duplicate": an earlier attempt had come through
        if kind in HELD:
            sys.exit(f"held, not sent again: {answer['detail']}")
        if status not in AGAIN:
            sys.exit(f"refused for good, {status} {kind}: {answer.get('detail')}")
        wait = retry_after + random.uniform(0, pause)
        if time.monotonic() + wait > end:
            sys.exit("given up; whether it is stored is unknown")
        print(f"{status or 'no answer'} {kind}: again in {wait:.1f} s", file=sys.stderr)
        time.sleep(wait)
        pause = min(2 * pause, LONGEST_PAUSE)


def attempt(request):
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response), 0
    except urllib.error.HTTPError as refusal:
        is_problem = refusal.headers.get_content_type() == "application/problem+json"
        answer = json.load(refusal) if is_problem else {}
        return refusal.code, answer, int(refusal.headers.get("Retry-After", 0))
    except (OSError, ValueError) as trouble:  # not connected, cut off, timed out
        return None, {"detail": str(trouble)}, 0


if __name__ == "__main__":
    url, topic, message_id, payload = sys.argv[1:]
    print(json.dumps(publish(url, topic, message_id, payload.encode())))
