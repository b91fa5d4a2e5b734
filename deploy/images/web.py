"""The demo's web front end: shows which pod answered and how often the page was asked for, counted in redis."""

import html
import http.server
import os
import socket
import socketserver

REDIS = (os.environ.get("REDIS_HOST", "redis"), int(os.environ.get("REDIS_PORT", "6379")))
POD = os.environ.get("POD_NAME", socket.gethostname())
NODE = os.environ.get("NODE_NAME", "?")

PAGE = """<!doctype html>
<title>Gantry demo</title>
<h1>Gantry demo</h1>
<p>Answered by pod <b id="pod">{pod}</b> on node <b>{node}</b>.</p>
<p>This page was asked for <b id="count">{count}</b> times, says redis.</p>
"""


def count():
    """Adds one to the counter in redis and returns it."""
    with socket.create_connection(REDIS, timeout=2) as connection:
        connection.sendall(b"*2\r\n$4\r\nINCR\r\n$6\r\nvisits\r\n")
        answer = connection.makefile("rb").readline()
    if not answer.startswith(b":"):
        raise OSError("redis answered %r" % answer)
    return int(answer[1:])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200, "ok\n", "text/plain")
        elif self.path == "/":
            try:
                page = PAGE.format(pod=html.escape(POD), node=html.escape(NODE), count=count())
                self.answer(200, page, "text/html; charset=utf-8")
            except OSError as error:
                self.answer(503, "%s: no counter: redis at %s:%d: %s\n" % (POD, *REDIS, error), "text/plain")
        else:
            self.answer(404, "only / and /healthz are here\n", "text/plain")

    def answer(self, status, text, kind):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        # Each request a new connection, so that a browser sees the pods take turns.
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *args):
        print("%s %s %s" % (POD, self.client_address[0], form % args), flush=True)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self):
        # HTTPServer would look up its own name in DNS first.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


if __name__ == "__main__":
    print("%s: serving on port 8080, counting in redis at %s:%d" % (POD, *REDIS), flush=True)
    Server(("", 8080), Handler).serve_forever()
