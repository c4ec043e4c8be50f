"""A web service's part: it posts a mail and goes on. Only Python's own library.

    python service.py ann@example.org bob@example.org

GATEWAY names another gateway than http://127.0.0.1:8080.
"""

import json
import os
import sys
import urllib.request

GATEWAY = os.environ.get("GATEWAY", "http://127.0.0.1:8080")


def post(kind: str, mail: dict, key: str) -> dict:
    """`key` makes it one mail however often it is posted: after a time-out, simply post it again."""
    request = urllib.request.Request(
        f"{GATEWAY}/v1/topics/emails/{kind}",
        data=json.dumps(mail).encode(),
        headers={"content-type": "application/json", "idempotency-key": key},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


if __name__ == "__main__":
    for to in sys.argv[1:]:
        receipt = post("welcome", {"to": to}, f"welcome-{to}")
        print(receipt["state"], to, flush=True)
