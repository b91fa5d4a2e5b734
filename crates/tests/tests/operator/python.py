"""The Python client with a kind of somebody's own: typed, dynamic and watching. Prints a line for each part that worked."""

import sys

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException
from kubernetes.dynamic import exceptions

NS, GROUP, MERGE = "default", "web.example.com", "application/merge-patch+json"
config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()
custom = client.CustomObjectsApi()
resources = dynamic.DynamicClient(client.ApiClient()).resources


def refused(kind, call, *args, **kwargs):
    """The error of a call that must fail."""
    try:
        answer = call(*args, **kwargs)
    except kind as error:
        return error
    raise AssertionError("it was taken: %s" % answer)


def config_map(name, **data):
    metadata = client.V1ObjectMeta(name=name, labels={"by": "python"})
    return client.V1ConfigMap(metadata=metadata, data=data)


def site(name, version="v1", **spec):
    return {"apiVersion": "%s/%s" % (GROUP, version), "kind": "Site", "metadata": {"name": name}, "spec": spec}


def typed():
    made = core.create_namespaced_config_map(NS, config_map("typed", a="1"))
    assert made.metadata.uid and made.data == {"a": "1"}, made
    merged = core.patch_namespaced_config_map("typed", NS, {"data": {"b": "2"}})
    assert merged.data == {"a": "1", "b": "2"}, merged
    patched = core.patch_namespaced_config_map("typed", NS, [{"op": "remove", "path": "/data/a"}])
    assert patched.data == {"b": "2"}, patched
    stale = refused(ApiException, core.replace_namespaced_config_map, "typed", NS, made)
    assert (stale.status, stale.reason) == (409, "Conflict"), stale
    found = core.list_namespaced_config_map(NS, label_selector="by=python", field_selector="metadata.name=typed")
    assert [item.metadata.name for item in found.items] == ["typed"], found
    assert core.delete_namespaced_config_map("typed", NS).status == "Success"
    assert refused(ApiException, core.read_namespaced_config_map, "typed", NS).status == 404
    print("typed", flush=True)


def custom_objects():
    made = custom.create_namespaced_custom_object(GROUP, "v1", NS, "sites", site("custom", page="hello"))
    assert made["spec"] == {"page": "hello", "replicas": 2, "tier": "Small"}, made
    scale = custom.get_namespaced_custom_object_scale(GROUP, "v1", NS, "sites", "custom")
    assert scale["kind"] == "Scale" and scale["spec"]["replicas"] == 2, scale
    old = custom.list_namespaced_custom_object(GROUP, "v1alpha1", NS, "sites")
    assert [item["spec"]["text"] for item in old["items"]] == ["hello"], old
    status = {"status": {"ready": 1}, "spec": {"page": "not with the status"}}
    args = (GROUP, "v1", NS, "sites", "custom")
    said = custom.patch_namespaced_custom_object_status(*args, status)
    assert (said["status"]["ready"], said["spec"]["page"]) == (1, "hello"), said
    custom.delete_namespaced_custom_object(*args)
    print("custom", flush=True)


def by_discovery():
    sites = resources.get(api_version=GROUP + "/v1", kind="Site")
    old = resources.get(api_version=GROUP + "/v1alpha1", kind="Site")
    assert sites.namespaced and "st" in sites.short_names, sites
    made = sites.create(namespace=NS, body=site("dynamic", page="hello"))
    assert (made.spec.replicas, made.metadata.generation) == (2, 1), made
    strategic = refused(exceptions.DynamicApiError, sites.patch, namespace=NS, name="dynamic", body={"spec": {}})
    assert strategic.status == 415, strategic
    body = {"spec": {"page": "good bye"}}
    changed = sites.patch(namespace=NS, name="dynamic", body=body, content_type=MERGE)
    assert (changed.spec.page, changed.metadata.generation) == ("good bye", 2), changed
    assert old.get(namespace=NS, name="dynamic").spec.text == "good bye"
    applied = sites.server_side_apply(
        namespace=NS, body=site("dynamic", page="applied"), field_manager="python", force_conflicts=True
    )
    managers = {(entry.manager, entry.operation) for entry in applied.metadata.managedFields}
    assert applied.spec.page == "applied" and ("python", "Apply") in managers, managers
    taken = refused(exceptions.ConflictError, sites.create, namespace=NS, body=site("dynamic", page="again"))
    assert taken.summary().endswith('sites.web.example.com "dynamic" already exists'), taken.summary()
    banned = refused(exceptions.BadRequestError, sites.create, namespace=NS, body=site("no", page="lorem"))
    assert 'admission webhook \\"validate.web.example.com\\" denied the request' in banned.body, banned.body
    refused(exceptions.UnprocessibleEntityError, sites.create, namespace=NS, body=site("no", page=""))
    sites.delete(namespace=NS, name="dynamic")
    refused(exceptions.NotFoundError, sites.get, namespace=NS, name="dynamic")
    print("dynamic", flush=True)


def watching():
    since = core.list_namespaced_config_map(NS).metadata.resource_version
    core.create_namespaced_config_map(NS, config_map("watched", a="1"))
    core.patch_namespaced_config_map("watched", NS, {"data": {"a": "2"}})
    core.delete_namespaced_config_map("watched", NS)
    seen, watcher = [], watch.Watch()
    options = {"resource_version": since, "label_selector": "by=python", "timeout_seconds": 20}
    for event in watcher.stream(core.list_namespaced_config_map, NS, **options):
        seen.append((event["type"], event["object"].data["a"]))
        if len(seen) == 3:
            watcher.stop()
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")], seen
    sites = resources.get(api_version=GROUP + "/v1", kind="Site")
    old = resources.get(api_version=GROUP + "/v1alpha1", kind="Site")
    since = sites.get(namespace=NS).metadata.resourceVersion
    sites.create(namespace=NS, body=site("watched", page="hello"))
    sites.delete(namespace=NS, name="watched")
    seen = []
    for event in old.watch(namespace=NS, resource_version=since, timeout=20):
        seen.append((event["type"], event["object"].spec.text))
        if len(seen) == 2:
            break
    assert seen == [("ADDED", "hello"), ("DELETED", "hello")], seen
    print("watch", flush=True)


typed()
custom_objects()
by_discovery()
watching()
