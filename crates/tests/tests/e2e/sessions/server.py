"""A server for the tests of sessions: TCP echo on 7000, HTTP and WebSocket on 8000."""

import base64
import hashlib
import http.server
import socketserver
import threading

PAGE = '<html><body><a href="/next">next</a><img src="/img.png"><a href="http://example.com/far">far</a></body></html>'


class Echo(socketserver.BaseRequestHandler):
    """Reads to the end, then sends all of it back: only a half-close that arrives lets a client see an answer."""

    def handle(self):
        whole = b""
        while True:
            piece = self.request.recv(65536)
            if not piece:
                break
            whole += piece
        self.request.sendall(whole)


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, text, kind="text/plain", **headers):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        if self.path.startswith("/redirect"):
            self.reply(302, "", Location="/elsewhere")
        elif self.path.startswith("/away"):
            self.reply(302, "", Location="http://example.com/away")
        elif self.path.startswith("/html"):
            self.reply(200, PAGE, "text/html")
        elif self.headers.get("Upgrade", "").lower() == "websocket":
            self.websocket()
        else:
            seen = "".join("%s: %s\n" % item for item in self.headers.items())
            self.reply(200, "%s %s\n%s\n%s" % (self.command, self.path, seen, body))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = any

    def websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] & 15 == 8:
                break
            length = head[1] & 127
            if length == 126:
                length = int.from_bytes(self.rfile.read(2), "big")
            mask = self.rfile.read(4)
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(length)))
            frame = bytes([head[0]]) + (bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big"))
            self.wfile.write(frame + data)
            self.wfile.flush()
        self.close_connection = True

    def log_message(self, form, *args):
        print(form % args, flush=True)


class Threads(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256


threading.Thread(target=Threads(("", 7000), Echo).serve_forever, daemon=True).start()
print("serving", flush=True)
Threads(("", 8000), Web).serve_forever()
