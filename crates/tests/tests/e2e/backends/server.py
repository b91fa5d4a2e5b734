"""What extends an API server, in one pod: admission webhooks, a conversion webhook, and an aggregated API of animals.

The aggregated API believes X-Remote-User only from a certificate that the API server's front proxy shows: it learns the
CA and the names from ConfigMap kube-system/extension-apiserver-authentication, as such servers do.
"""

import base64
import http.client
import http.server
import json
import os
import ssl
import threading

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/"
MAP = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
GROUP = "farm.example.com"
ROOT = "/apis/" + GROUP + "/v1"
VERBS = ["create", "delete", "get", "list"]
ANIMALS = {}
LOCK = threading.Lock()


def authentication():
    """Whom to believe."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
    context = ssl.create_default_context(cafile=ACCOUNT + "ca.crt")
    with open(ACCOUNT + "token") as file:
        headers = {"Authorization": "Bearer " + file.read()}
    connection = http.client.HTTPSConnection(host, port, timeout=10, context=context)
    connection.request("GET", MAP, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body
    return json.loads(body)["data"]


def admission(review, decide):
    request = review["request"]
    response = {"uid": request["uid"], "allowed": True}
    response.update(decide(request))
    return {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}


def mutate(request):
    patch = [{"op": "add", "path": "/data/colour", "value": "green"}]
    return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}


def validate(request):
    data = request["object"].get("data") or {}
    if "bad" not in data:
        return {"warnings": ["%s is %s" % (request["name"], data.get("colour"))]}
    message = "nothing bad in %s, %s" % (request["namespace"], request["userInfo"]["username"])
    return {"allowed": False, "status": {"code": 403, "message": message}}


def convert(review):
    """Version 1 has host and port, version 2 both as one text."""
    request = review["request"]
    for thing in request["objects"]:
        spec = thing["spec"]
        if request["desiredAPIVersion"].endswith("/v2"):
            thing["spec"] = {"where": "%s:%d" % (spec["host"], spec["port"])}
        else:
            host, port = spec["where"].rsplit(":", 1)
            thing["spec"] = {"host": host, "port": int(port)}
        thing["apiVersion"] = request["desiredAPIVersion"]
    response = {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": request["objects"]}
    return {"apiVersion": review["apiVersion"], "kind": "ConversionReview", "response": response}


def failure(code, reason, message):
    return code, {
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": message,
    }


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, code, body):
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def user(self):
        """Who asks; nobody unless the front proxy says so."""
        certificate = self.connection.getpeercert() or {}
        names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        if not set(names) & set(json.loads(TRUST["requestheader-allowed-names"])):
            return None
        name = self.headers.get(json.loads(TRUST["requestheader-username-headers"])[0])
        groups = self.headers.get_all(json.loads(TRUST["requestheader-group-headers"])[0], [])
        return {"user": name, "groups": groups} if name else None

    def any(self):
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        body = json.loads(text) if text else None
        path = self.path.split("?")[0]
        if path == "/mutate":
            self.reply(200, admission(body, mutate))
        elif path == "/validate":
            self.reply(200, admission(body, validate))
        elif path == "/convert":
            self.reply(200, convert(body))
        elif self.user() is None:
            self.reply(*failure(401, "Unauthorized", "the front proxy's certificate is missing"))
        elif path == ROOT:
            animals = {"name": "animals", "singularName": "animal", "namespaced": True, "kind": "Animal", "verbs": VERBS}
            lists = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP + "/v1", "resources": [animals]}
            self.reply(200, lists)
        elif path == ROOT + "/whoami":
            self.reply(200, self.user())
        elif path.startswith(ROOT + "/namespaces/"):
            with LOCK:
                self.reply(*self.animals(path[len(ROOT):].split("/")[2:], body))
        else:
            self.reply(*failure(404, "NotFound", "the server could not find the requested resource"))

    def animals(self, words, body):
        namespace, name = words[0], words[2] if len(words) > 2 else None
        here = ANIMALS.setdefault(namespace, {})
        if self.command == "POST":
            name = body["metadata"]["name"]
            body["metadata"].update({"namespace": namespace, "uid": "uid-" + name, "resourceVersion": "1"})
            body["metadata"]["annotations"] = {"made-by": self.user()["user"]}
            here[name] = body
            return 201, body
        if name is None:
            meta = {"resourceVersion": "1"}
            return 200, {"kind": "AnimalList", "apiVersion": GROUP + "/v1", "metadata": meta, "items": list(here.values())}
        if name not in here:
            return failure(404, "NotFound", 'animals.%s "%s" not found' % (GROUP, name))
        return 200, here.pop(name) if self.command == "DELETE" else here[name]

    do_GET = do_POST = do_DELETE = any

    def log_message(self, form, *args):
        print(form % args, flush=True)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def finish_request(self, request, client_address):
        """The handshake is this connection's own business: nobody else waits for it."""
        try:
            with CONTEXT.wrap_socket(request, server_side=True) as stream:
                super().finish_request(stream, client_address)
        except OSError as error:
            print("a connection ended:", error, flush=True)


TRUST = authentication()
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
CONTEXT.load_verify_locations(cadata=TRUST["requestheader-client-ca-file"])
CONTEXT.verify_mode = ssl.CERT_OPTIONAL
print("serving", flush=True)
Server(("", 8443), Handler).serve_forever()
