"""Takes mails from the queue `emails` and sends them: here, it prints them.

    pip install pika
    python worker.py                 # until it is interrupted
    python worker.py 3               # three, then it ends

AMQP_URL names another server.
"""

import json
import os
import sys

import pika


def send(mail: dict, kind: str) -> None:
    print(f"{kind} to {mail['to']}", flush=True)


def main() -> None:
    left = int(sys.argv[1]) if len(sys.argv) > 1 else None
    url = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.basic_qos(prefetch_count=10)

    # A mail may come twice, after a crash or a lost confirm, each time with the same message_id.
    # A real worker remembers those it has sent where it also remembers that it sent them.
    seen = set()
    for method, properties, body in channel.consume("emails"):
        if properties.message_id not in seen:
            seen.add(properties.message_id)
            send(json.loads(body), properties.headers["kind"])
            if left is not None:
                left -= 1
        # Only now: a worker that dies before leaves it in the queue.
        channel.basic_ack(method.delivery_tag)
        if left == 0:
            break
    channel.cancel()
    channel.connection.close()


if __name__ == "__main__":
    main()
