"""The service that sends mails: the gateway posts them to it. Only Python's own library.

    python worker.py                 # on port 8090, until it is interrupted
    python worker.py 0 3             # on a free port, which it prints; three mails, then it ends
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# A mail may come twice, after a crash or a lost answer, each time with the same id.
seen: set[str] = set()


class Mailer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        mail = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.headers["webhook-id"] not in seen:
            print(f"{self.headers['kind']} to {mail['to']}", flush=True)
            seen.add(self.headers["webhook-id"])
        # Only now: until it has a 2xx the gateway keeps the mail, and posts it again.
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8090
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else None
    server = ThreadingHTTPServer(("127.0.0.1", port), Mailer)
    print(f"listening on {server.server_port}", flush=True)
    while wanted is None or len(seen) < wanted:
        server.timeout = 0.1
        server.handle_request()
