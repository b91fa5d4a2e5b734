#!/usr/bin/env python3
"""A tour of Gantry's gRPC API: create, get, list, watch from a revision, patch, errors, and a command in a container.

Make the message classes once, beside this file or anywhere on PYTHONPATH:

    pip install grpcio grpcio-status grpcio-tools
    python -m grpc_tools.protoc -I crates/proto/proto --python_out=. --grpc_python_out=. gantry/v1/gantry.proto

Then:

    python tour.py --server HOST:PORT --ca ca.crt --token TOKEN tour
    python tour.py --server HOST:PORT --ca ca.crt --cert me.crt --key me.key exec default/web -- ls /
"""

import argparse
import json
import queue
import sys
import threading

import grpc
from gantry.v1 import gantry_pb2 as pb
from gantry.v1 import gantry_pb2_grpc as services
from grpc_status import rpc_status

CONFIG_MAPS = pb.Resource(group="", version="v1", resource="configmaps")
# Every call has a deadline; the server cancels it then.
SECONDS = 30


def read(path):
    with open(path, "rb") as file:
        return file.read()


def connect(args):
    """TLS with the cluster's CA; the caller is a client certificate or a bearer token."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=read(args.ca),
        private_key=read(args.key) if args.key else None,
        certificate_chain=read(args.cert) if args.cert else None,
    )
    if args.token:
        bearer = grpc.access_token_call_credentials(args.token)
        credentials = grpc.composite_channel_credentials(credentials, bearer)
    # The part before the slash is the field manager that changes are ascribed to.
    return grpc.secure_channel(args.server, credentials, options=[("grpc.primary_user_agent", "tour/1")])


def status_of(error):
    """The Kubernetes Status behind a failed call; None when the call did not reach the server."""
    details = rpc_status.from_call(error)
    for detail in details.details if details else ():
        failure = pb.Failure()
        if detail.Unpack(failure):
            return json.loads(failure.status)
    return None


def tour(channel, namespace):
    objects = services.ObjectsStub(channel)
    name = "tour-python"
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"example": "tour"}},
        "data": {"color": "green"},
    }

    reply = objects.Create(
        pb.CreateRequest(resource=CONFIG_MAPS, namespace=namespace, object=json.dumps(config_map).encode()),
        timeout=SECONDS,
    )
    created = json.loads(reply.object)
    print("created", created["metadata"]["name"], *reply.warnings)

    reply = objects.Get(pb.GetRequest(resource=CONFIG_MAPS, namespace=namespace, name=name), timeout=SECONDS)
    print("read", json.loads(reply.object)["data"])

    # Page by page: the first chunk of a page has the list's metadata, all chunks have items.
    items, token, revision = [], "", ""
    while True:
        request = pb.ListRequest(resource=CONFIG_MAPS, namespace=namespace, limit=500)
        setattr(request, "continue", token)  # a word of the language
        head = None
        for chunk in objects.List(request, timeout=SECONDS):
            head = head or json.loads(chunk.list)["metadata"]
            items.extend(json.loads(item) for item in chunk.items)
        revision, token = head["resourceVersion"], head.get("continue", "")
        if not token:
            break
    print("listed", sorted(item["metadata"]["name"] for item in items))

    # From the list's revision on nothing is missed, however long it takes to get here.
    watch = objects.Watch(
        pb.WatchRequest(
            resource=CONFIG_MAPS, namespace=namespace, label_selector="example=tour", resource_version=revision
        ),
        timeout=SECONDS,
    )
    patch = {"data": {"color": "blue"}}
    objects.Patch(
        pb.PatchRequest(
            resource=CONFIG_MAPS,
            namespace=namespace,
            name=name,
            type=pb.PATCH_TYPE_MERGE,
            patch=json.dumps(patch).encode(),
        ),
        timeout=SECONDS,
    )
    event = next(event for batch in watch for event in batch.events)
    print("watched", pb.EventType.Name(event.type), json.loads(event.object)["data"])
    watch.cancel()

    objects.Delete(pb.DeleteRequest(resource=CONFIG_MAPS, namespace=namespace, name=name), timeout=SECONDS)
    try:
        objects.Get(pb.GetRequest(resource=CONFIG_MAPS, namespace=namespace, name=name), timeout=SECONDS)
    except grpc.RpcError as error:
        status = status_of(error)
        print("failed", error.code().name, status["code"], status["reason"], status["message"])


def execute(channel, target, command):
    """Runs a command; its input and output pass through. Returns its exit code."""
    namespace, pod = target.split("/", 1)
    request = pb.ExecRequest(namespace=namespace, pod=pod, command=command, stdin=True, stdout=True, stderr=True)
    frames = queue.Queue(maxsize=8)
    frames.put(pb.SessionFrame(open=pb.OpenSession(exec=request)))
    answers = services.SessionsStub(channel).Open(iter(frames.get, None))

    def feed():
        while data := sys.stdin.buffer.read1(65536):
            frames.put(pb.SessionFrame(data=data))
        frames.put(pb.SessionFrame(end=pb.SessionEnd()))

    for answer in answers:
        kind = answer.WhichOneof("frame")
        if kind == "hello":
            # The node has accepted; before it, the call fails with a Status.
            threading.Thread(target=feed, daemon=True).start()
        elif kind == "data":
            sys.stdout.buffer.write(answer.data)
        elif kind == "stderr":
            sys.stderr.buffer.write(answer.stderr)
        elif kind == "status":
            sys.stdout.flush()
            return exit_code(json.loads(answer.status))
    return 1


def exit_code(status):
    """0 for Success; the cause ExitCode of a command that ended otherwise."""
    if status.get("status") == "Success":
        return 0
    for cause in status.get("details", {}).get("causes", []):
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    print(status.get("message"), file=sys.stderr)
    return 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True, help="host:port of an API server")
    parser.add_argument("--ca", required=True, help="the CA of its certificate")
    parser.add_argument("--token", help="bearer token")
    parser.add_argument("--cert", help="client certificate")
    parser.add_argument("--key", help="its key")
    parser.add_argument("--namespace", default="default")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("tour")
    execs = verbs.add_parser("exec")
    execs.add_argument("pod", metavar="NAMESPACE/POD")
    execs.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    with connect(args) as channel:
        try:
            if args.verb == "exec":
                command = args.command[1:] if args.command[:1] == ["--"] else args.command
                sys.exit(execute(channel, args.pod, command))
            tour(channel, args.namespace)
        except grpc.RpcError as error:
            sys.exit(f"{error.code().name}: {error.details()}")


if __name__ == "__main__":
    main()
