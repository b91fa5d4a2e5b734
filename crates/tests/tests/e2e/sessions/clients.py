"""Sessions through the Python client: prints one line per thing that worked; any exception fails the test."""

import concurrent.futures
import hashlib
import io
import os
import ssl
import sys
import tarfile
import time

import websocket
from kubernetes import client, config
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream
from kubernetes.stream.ws_client import RESIZE_CHANNEL

NS, MIB = sys.argv[1], int(sys.argv[2])
config.load_kube_config()
core = client.CoreV1Api()


def exec_in(pod, command, **kwargs):
    options = dict(stderr=True, stdin=False, stdout=True, tty=False)
    options.update(kwargs)
    return stream(core.connect_get_namespaced_pod_exec, pod, NS, command=command, **options)


def finish(session):
    out, err = [], []
    while session.is_open():
        session.update(timeout=5)
        out.append(session.read_stdout() if session.peek_stdout() else "")
        err.append(session.read_stderr() if session.peek_stderr() else "")
    return "".join(out), "".join(err), session.returncode


def execs():
    assert exec_in("shell-1", ["hostname"]).strip() == "shell-1"
    session = exec_in("shell-2", ["sh", "-c", "echo out; echo err >&2; exit 7"], _preload_content=False)
    out, err, code = finish(session)
    assert (out, err, code) == ("out\n", "err\n", 7), (out, err, code)
    session = exec_in("shell-1", ["cat"], stdin=True, _preload_content=False)
    session.write_stdin("a line\n")
    assert session.readline_stdout(timeout=10) == "a line"
    session.close()
    print("exec", flush=True)


def large():
    data = os.urandom(1 << 20)
    want = hashlib.sha256(data * MIB).hexdigest()
    command = ["sh", "-c", "head -c %d" % (MIB << 20)]
    session = exec_in("shell-2", command, stdin=True, _preload_content=False, binary=True)
    seen, sent, got = hashlib.sha256(), 0, 0
    while got < MIB << 20:
        if sent < MIB and got + (8 << 20) > sent << 20:
            session.write_stdin(data)
            sent += 1
        session.update(timeout=0 if sent < MIB else 5)
        if session.peek_stdout():
            piece = session.read_stdout()
            got += len(piece)
            seen.update(piece)
    assert seen.hexdigest() == want
    session.close()
    print("large", flush=True)


def terminal():
    command = ["sh", "-c", "read go; until stty size 2>&1 | grep -qx '44 133'; do sleep 0.1; done; stty size"]
    session = exec_in("shell-1", command, stdin=True, tty=True, _preload_content=False)
    session.write_channel(RESIZE_CHANNEL, '{"Width":133,"Height":44}')
    session.write_stdin("go\n")
    out, _, _ = finish(session)
    assert "44 133" in out, out
    print("terminal", flush=True)


def attach():
    session = stream(
        core.connect_get_namespaced_pod_attach, "reader", NS,
        stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False,
    )
    session.write_stdin("python\n")
    assert session.readline_stdout(timeout=10) == "got python"
    session.close()
    print("attach", flush=True)


def copies():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in (("p/one", b"one"), ("p/a name", b"two")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
        link = tarfile.TarInfo("p/link")
        link.type, link.linkname = tarfile.SYMTYPE, "one"
        tar.addfile(link)
    size = len(packed.getvalue())
    command = ["sh", "-c", "head -c %d | tar xf - -C /tmp && cat '/tmp/p/a name' /tmp/p/link" % size]
    session = exec_in("shell-1", command, stdin=True, _preload_content=False)
    session.write_stdin(packed.getvalue())
    out, err, code = finish(session)
    assert (out, code) == ("twoone", 0), (out, err, code)
    session = exec_in("shell-1", ["tar", "cf", "-", "-C", "/tmp", "p"], _preload_content=False, binary=True)
    back = b""
    while session.is_open():
        session.update(timeout=5)
        if session.peek_stdout():
            back += session.read_stdout()
    with tarfile.open(fileobj=io.BytesIO(back)) as tar:
        assert tar.extractfile("p/a name").read() == b"two" and tar.getmember("p/link").linkname == "one"
    print("copies", flush=True)


def forward():
    def one(n):
        # A client each: the library swaps methods of its client while it connects.
        own = client.CoreV1Api(client.ApiClient())
        ports = portforward(own.connect_get_namespaced_pod_portforward, "server", NS, ports="8000")
        sock = ports.socket(8000)
        sock.sendall(b"GET /forwarded-%d HTTP/1.0\r\n\r\n" % n)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
        assert b"GET /forwarded-%d\n" % n in answer, answer
        assert ports.error(8000) is None

    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        list(pool.map(one, range(100)))
    print("forward", flush=True)


def logs():
    text = text_of(core.read_namespaced_pod_log("shell-1", NS, tail_lines=2, _preload_content=False))
    assert sorted(text.split("\n")) == ["", "first line of shell-1", "second line"], text
    # Several at once, each followed.
    pods = ("shell-1", "shell-2")
    follows = [core.read_namespaced_pod_log(pod, NS, follow=True, _preload_content=False).stream() for pod in pods]
    for pod, lines in zip(pods, follows):
        assert b"line" in next(lines), pod
    print("logs", flush=True)


def text_of(response):
    # The client's own conversion of text is broken in some releases: the bytes are what the server sent.
    return response.data.decode()


def proxy():
    for call, name in (
        (core.connect_get_namespaced_service_proxy_with_path, "server:web"),
        (core.connect_get_namespaced_pod_proxy_with_path, "server:8000"),
    ):
        # The client sends a slash within a parameter as %2F, and it arrives as that.
        text = text_of(call(name, NS, "from/python", _preload_content=False))
        assert text.startswith("GET /from%2Fpython"), text
    call = core.connect_post_namespaced_service_proxy_with_path
    text = text_of(call("server:web", NS, "posted", _preload_content=False))
    assert text.startswith("POST /posted"), text
    conf = client.Configuration.get_default_copy()
    url = conf.host.replace("https://", "wss://") + "/api/v1/namespaces/%s/services/server:web/proxy/ws" % NS
    options = {"ca_certs": conf.ssl_ca_cert, "certfile": conf.cert_file, "keyfile": conf.key_file}
    options["cert_reqs"] = ssl.CERT_REQUIRED
    for _ in range(3):
        socket = websocket.create_connection(url, sslopt=options, timeout=20)
        for text in ("hello", "x" * 5000):
            socket.send(text)
            assert socket.recv() == text
        socket.close()
    print("proxy", flush=True)


def debug():
    name = "python-patient"
    spec = {"containers": [{"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "36000"]}]}
    spec["terminationGracePeriodSeconds"] = 0
    core.create_namespaced_pod(NS, {"metadata": {"name": name}, "spec": spec})
    wait(lambda: core.read_namespaced_pod(name, NS).status.phase == "Running")
    added = {"name": "e", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "36000"], "targetContainerName": "c"}
    core.patch_namespaced_pod_ephemeralcontainers(name, NS, {"spec": {"ephemeralContainers": [added]}})

    def runs():
        found = core.read_namespaced_pod(name, NS).status.ephemeral_container_statuses
        return bool(found) and found[0].state.running is not None

    wait(runs)
    assert "sleep" in exec_in(name, ["ps"], container="e")
    core.delete_namespaced_pod(name, NS)
    print("debug", flush=True)


def top():
    metrics = client.CustomObjectsApi()
    nodes = metrics.list_cluster_custom_object("metrics.k8s.io", "v1beta1", "nodes")
    assert len(nodes["items"]) == 2 and "cpu" in nodes["items"][0]["usage"], nodes
    pods = metrics.list_namespaced_custom_object("metrics.k8s.io", "v1beta1", NS, "pods")
    assert "server" in [p["metadata"]["name"] for p in pods["items"]], pods
    print("top", flush=True)


def refused():
    for session in (
        lambda: exec_in("shell-1", ["true"], container="nothing"),
        lambda: exec_in("nobody", ["true"]),
    ):
        try:
            session()
        except (ApiException, AttributeError) as error:
            # Some releases of the client stumble over the refusal that they are about to raise.
            refusal = error if isinstance(error, ApiException) else error.__context__
            assert isinstance(refusal, ApiException) and refusal.status in (0, 400, 404), error
        else:
            raise AssertionError("it should have been refused")
    print("refused", flush=True)


def wait(check):
    for _ in range(300):
        if check():
            return
        time.sleep(0.1)
    raise AssertionError("not within 30 s")


for part in (execs, large, terminal, attach, copies, forward, logs, proxy, debug, top, refused):
    part()
