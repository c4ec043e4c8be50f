"""A service that takes webhooks, made of other people's parts: Python's http.server, the reference library of
Standard Webhooks, the SDK of CloudEvents.

    service.py FORM SECRET

It prints its port; then for each request what it read, a line of JSON, or "refused: WHY". It trusts nothing that isn't signed.
"""

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks import Webhook

FORM, SECRET = sys.argv[1:]


def read(headers, body):
    # Checks the signature and the time.
    Webhook(SECRET).verify(body, headers)
    told = {
        "webhook_id": headers["webhook-id"],
        "publisher_id": headers.get("causeway-publisher-id"),
        "type": headers.get("type"),
    }
    if FORM == "raw":
        told["data"] = base64.b64encode(body).decode()
        return told | {"topic": headers["causeway-topic"], "key": headers.get("causeway-key")}
    message = http.HTTPMessage(headers=headers, body=body)
    is_structured = headers["content-type"].startswith("application/cloudevents+json")
    assert is_structured == (FORM == "structured"), headers
    reader = http.from_structured if is_structured else http.from_binary
    event = reader(message, JSONFormat())
    data = event.get_data()
    data = data if isinstance(data, bytes) else (
        data.encode() if isinstance(data, str) else json.dumps(data).encode())
    told["data"] = base64.b64encode(data).decode()
    key = event.get_attributes().get("partitionkey")
    return told | {"topic": event.get_type(), "key": key, "id": event.get_id()}


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            line, status = json.dumps(read(headers, body)), 204
        except Exception as why:
            line, status = f"refused: {type(why).__name__}: {why}", 400
        print(line, flush=True)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
print(server.server_address[1], flush=True)
server.serve_forever()
