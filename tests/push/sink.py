"""A service that takes deliveries of a gateway's: a destination of type = "grpc". Of PyPI: grpcio; and what
grpcio-tools make of causeway/v1/sink.proto.

python3 sink.py HOST:PORT"""

import json
import sys
from concurrent import futures

import grpc
from causeway.v1 import sink_pb2, sink_pb2_grpc

seen = set()  # In a real service: in its database, written together with what is done.


def take(delivery):
    # It may come again, if an answer was lost: always under the same id.
    if delivery.id in seen:
        return
    order = json.loads(delivery.payload)
    print(f"{delivery.topic}: {order}")
    seen.add(delivery.id)


def answer(request):
    response = sink_pb2.DeliverResponse(sequence=request.sequence)
    try:
        take(request.delivery)
        response.delivered.SetInParent()
    except ValueError as why:
        # It never will be any better: to the dead letters.
        response.reject.reason = f"no JSON: {why}"
    except OSError as why:
        response.retry.reason = str(why)
    return response


class Sink(sink_pb2_grpc.SinkServicer):
    def Deliver(self, requests, context):
        for request in requests:
            yield answer(request)


# A call keeps a thread; while one is ended another begins.
server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
sink_pb2_grpc.add_SinkServicer_to_server(Sink(), server)
port = server.add_insecure_port(sys.argv[1])
server.start()
print(f"takes deliveries at port {port}")
server.wait_for_termination()
