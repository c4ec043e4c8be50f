"""Publishes one message once, however often it has to be sent. Of PyPI: grpcio, grpcio-status; and what
grpcio-tools make of causeway/v1/gateway.proto.

python3 publish_grpc.py HOST:PORT TOPIC ID PAYLOAD"""

import random
import sys
import time

import grpc
from causeway.v1 import gateway_pb2, gateway_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

GIVE_UP_AFTER = 9 * 60  # seconds; for dedup.window (10 min) the gateway knows an id again
LONGEST_PAUSE = 10  # seconds
# Without a word from the gateway: whether it has the message is unknown.
UNKNOWN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


def publish(stub, message):
    request = gateway_pb2.PublishRequest(message=message)
    end = time.monotonic() + GIVE_UP_AFTER
    pause = 0.1
    while True:
        try:
            return stub.Publish(request, timeout=60).receipt  # "duplicate": an earlier attempt had come through
        except grpc.RpcError as refusal:
            code, words = refusal.code(), refusal.details()
            reason, retry_after = details(refusal)
        if reason == "OUTCOME_PENDING":
            return words  # stored: it will be delivered
        if reason in ("DEAD_LETTERED", "DISCARDED"):
            sys.exit(f"held, not sent again: {words}")
        if retry_after is None and code not in UNKNOWN:
            sys.exit(f"refused for good, {code.name} {reason}: {words}")
        wait = (retry_after or 0) + random.uniform(0, pause)
        if time.monotonic() + wait > end:
            sys.exit("given up; whether it is stored is unknown")
        print(f"{code.name} {reason}: again in {wait:.1f} s", file=sys.stderr)
        time.sleep(wait)
        pause = min(2 * pause, LONGEST_PAUSE)


def details(refusal):
    """What it says for programs: why (google.rpc.ErrorInfo), and after how many seconds again (RetryInfo)."""
    reason, retry_after = "", None
    status = rpc_status.from_call(refusal)
    for detail in status.details if status else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return reason, retry_after


if __name__ == "__main__":
    target, topic, message_id, payload = sys.argv[1:]
    with grpc.insecure_channel(target) as channel:
        stub = gateway_pb2_grpc.GatewayStub(channel)
        message = gateway_pb2.Message(
            topic=topic, id=message_id, content_type="application/json", payload=payload.encode()
        )
        print(publish(stub, message))
