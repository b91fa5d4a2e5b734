use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use super::*;
use crate::kinds;
use crate::table::TypeTable;

mod upstream;

/// Every document, made once for all tests.
fn documents() -> &'static HashMap<String, Value> {
    static ALL: OnceLock<HashMap<String, Value>> = OnceLock::new();
    ALL.get_or_init(|| {
        let generator = Generator::new(Arc::new(Kinds::builtin()));
        let decoded = |bytes: Vec<u8>| serde_json::from_slice(&bytes).expect("JSON");
        let third = v3_paths(&Kinds::builtin()).into_iter().map(|path| {
            let document = decoded(generator.v3(&path, Form::Json).expect("listed"));
            (path, document)
        });
        third.chain([("v2".to_owned(), decoded(generator.v2(Form::Json)))]).collect()
    })
}

fn document(path: &str) -> &'static Value {
    documents().get(path).unwrap_or_else(|| panic!("{path} is not served"))
}

fn v3_schema(path: &str, name: &str) -> &'static Value {
    &document(path)["components"]["schemas"][name]
}

/// A property without its description, which is asserted to be there.
fn bare(property: &Value) -> Value {
    let mut property = property.clone();
    let text = property.as_object_mut().and_then(|p| p.remove("description"));
    assert!(text.is_some_and(|t| t.as_str().is_some_and(|t| t.len() > 10)), "{property}");
    property
}

#[test]
fn schemas_are_upstreams() {
    let pod = &v3_schema("apis/apps/v1", "io.k8s.api.core.v1.PodSpec")["properties"];
    assert_eq!(
        bare(&pod["containers"]),
        json!({"type": "array", "items": {"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}], "default": {}},
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name"})
    );
    assert_eq!(pod["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert_eq!(
        bare(&pod["nodeSelector"]),
        json!({"type": "object", "additionalProperties": {"type": "string", "default": ""}, "x-kubernetes-map-type": "atomic"})
    );
    let volume = &v3_schema("api/v1", "io.k8s.api.core.v1.PersistentVolumeSpec")["properties"];
    assert_eq!(volume["claimRef"]["x-kubernetes-map-type"], "granular");
    let container = v3_schema("api/v1", "io.k8s.api.core.v1.Container");
    assert_eq!(bare(&container["properties"]["name"]), json!({"type": "string", "default": ""}));
    assert_eq!(bare(&container["properties"]["image"]), json!({"type": "string"}));
    assert_eq!(
        bare(&v3_schema("api/v1", "io.k8s.api.core.v1.ResourceRequirements")["properties"]["limits"]),
        json!({"type": "object", "additionalProperties": {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity"}})
    );
    assert_eq!(
        bare(v3_schema("api/v1", "io.k8s.apimachinery.pkg.api.resource.Quantity")),
        json!({"oneOf": [{"type": "string"}, {"type": "number"}]})
    );
    let deployment = v3_schema("apis/apps/v1", "io.k8s.api.apps.v1.Deployment");
    assert_eq!(
        bare(&deployment["properties"]["metadata"]),
        json!({"allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}], "default": {}})
    );
    assert_eq!(
        deployment["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
    let spec = v3_schema("apis/apps/v1", "io.k8s.api.apps.v1.DeploymentSpec");
    assert_eq!(spec["required"], json!(["selector", "template"]));
    let options = v3_schema("apis/apps/v1", "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
    let beta = json!({"group": "policy", "version": "v1beta1", "kind": "DeleteOptions"});
    assert!(options["x-kubernetes-group-version-kind"].as_array().is_some_and(|kinds| kinds.contains(&beta)));
    assert_eq!(
        bare(&spec["properties"]["strategy"]),
        json!({"allOf": [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy"}], "default": {},
            "x-kubernetes-patch-strategy": "retainKeys"})
    );
    assert_eq!(
        v3_schema("api/v1", "io.k8s.api.core.v1.SeccompProfile")["x-kubernetes-unions"][0]["discriminator"],
        "type"
    );
}

#[test]
fn version_3_states_the_zeros_that_go_writes() {
    let check = |path: &str, name: &str, field: &str, expected: Option<Value>| {
        assert_eq!(v3_schema(path, name)["properties"][field].get("default"), expected.as_ref(), "{name} {field}");
    };
    let core =
        |name: &str, field: &str, expected| check("api/v1", &format!("io.k8s.api.core.v1.{name}"), field, expected);
    core("Container", "resources", Some(json!({})));
    core("Container", "securityContext", None);
    core("PodTemplateSpec", "spec", Some(json!({})));
    core("LocalObjectReference", "name", Some(json!("")));
    core("ContainerRestartRule", "action", None);
    core("ServicePort", "protocol", Some(json!("TCP")));
    core("ServicePort", "port", Some(json!(0)));
    core("ServicePort", "targetPort", None);
    let apps = |name: &str, field: &str, expected| {
        check("apis/apps/v1", &format!("io.k8s.api.apps.v1.{name}"), field, expected);
    };
    apps("DeploymentSpec", "template", Some(json!({})));
    apps("DeploymentSpec", "selector", None);
    apps("StatefulSetSpec", "serviceName", Some(json!("")));
}

#[test]
fn enumerated_fields_say_what_they_may_hold() {
    let restart = json!(["Always", "Never", "OnFailure"]);
    let modes = json!(["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]);
    let v2 = |name: &str| &document("v2")["definitions"][format!("io.k8s.api.core.v1.{name}")]["properties"];
    let v3 = |name: &str| &v3_schema("api/v1", &format!("io.k8s.api.core.v1.{name}"))["properties"];
    for policy in [&v2("PodSpec")["restartPolicy"], &v3("PodSpec")["restartPolicy"]] {
        assert_eq!(bare(policy), json!({"type": "string", "enum": restart}));
        let text = policy["description"].as_str().unwrap_or_default();
        let end = "\n\nPossible enum values:\n - `\"Always\"`\n - `\"Never\"`\n - `\"OnFailure\"`";
        assert!(text.ends_with(end), "{text}");
    }
    let (second, third) =
        (&v2("PersistentVolumeClaimSpec")["accessModes"], &v3("PersistentVolumeClaimSpec")["accessModes"]);
    assert_eq!(second["items"], json!({"type": "string", "enum": modes}));
    assert_eq!(third["items"], json!({"type": "string", "default": "", "enum": modes}));
    assert!(!third["description"].as_str().is_none_or(|text| text.contains("Possible")), "items say it");
    let statuses = &v3("PersistentVolumeClaimStatus")["allocatedResourceStatuses"];
    assert_eq!(statuses["additionalProperties"]["enum"][2], "NodeResizeInProgress");
    assert_eq!(statuses["x-kubernetes-map-type"], "granular");
}

#[test]
fn version_2_has_its_own_forms() {
    let definitions = &document("v2")["definitions"];
    assert_eq!(
        bare(&definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]),
        json!({"type": "string", "format": "int-or-string"})
    );
    assert_eq!(
        bare(&definitions["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"]),
        json!({"$ref": "#/definitions/io.k8s.api.apps.v1.DeploymentStrategy", "x-kubernetes-patch-strategy": "retainKeys"})
    );
    assert_eq!(
        bare(&definitions["io.k8s.api.core.v1.ServicePort"]["properties"]["port"]),
        json!({"type": "integer", "format": "int32"})
    );
    assert_eq!(
        bare(&definitions["io.k8s.api.core.v1.ServicePort"]["properties"]["protocol"]),
        json!({"type": "string", "enum": ["SCTP", "TCP", "UDP"]})
    );
    assert_eq!(bare(&definitions["io.k8s.api.core.v1.Container"]["properties"]["name"]), json!({"type": "string"}));
    let patch = &document("v2")["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(names(&patch["parameters"])[0], "body");
    assert!(patch["consumes"].as_array().is_some_and(|c| c.contains(&json!("application/apply-patch+yaml"))));
}

fn names(parameters: &Value) -> Vec<&str> {
    parameters.as_array().into_iter().flatten().filter_map(|p| resolved(p)["name"].as_str()).collect()
}

/// A parameter, where it is shared the one that is referred to.
fn resolved(parameter: &Value) -> &Value {
    let shared = parameter["$ref"].as_str().and_then(|r| r.strip_prefix(shared::PARAMETERS));
    shared.map_or(parameter, |name| document("v2")["parameters"].get(name).expect("there"))
}

#[test]
fn operations_say_what_they_take_and_give() {
    let paths = &document("api/v1")["paths"];
    let pod = &paths["/api/v1/namespaces/{namespace}/pods/{name}"];
    assert_eq!(names(&pod["parameters"]), ["name", "namespace", "pretty"]);
    let patch = &pod["patch"];
    assert_eq!(names(&patch["parameters"]), ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert_eq!(patch["x-kubernetes-group-version-kind"], json!({"group": "", "version": "v1", "kind": "Pod"}));
    let forms: Vec<&String> = patch["requestBody"]["content"].as_object().expect("a map").keys().collect();
    assert_eq!(
        forms,
        [
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json"
        ]
    );
    let second = &document("v2")["paths"]["/api/v1/namespaces/{namespace}/pods"];
    assert_eq!(second["post"]["consumes"], json!(["*/*"]));
    assert_eq!(second["get"]["produces"][2], "application/vnd.kubernetes.protobuf");
    assert!(names(&second["delete"]["parameters"]).contains(&"shardSelector"));
    assert!(paths["/api/v1/namespaces"].get("delete").is_none(), "namespaces have no deletecollection");
    let binding = &paths["/api/v1/namespaces/{namespace}/pods/{name}/binding"];
    assert!(names(&binding["parameters"]).contains(&"fieldValidation"), "all of a lone operation stands at the path");
    assert!(binding["post"]["responses"].get("201").is_some());
}

#[test]
fn operations_are_named_as_upstream_names_them() {
    let check = |document_path: &str, path: &str, method: &str, id: &str, action: &str| {
        let operation = &document(document_path)["paths"][path][method];
        assert_eq!(
            (&operation["operationId"], &operation["x-kubernetes-action"]),
            (&json!(id), &json!(action)),
            "{path}"
        );
    };
    let pods = "/api/v1/namespaces/{namespace}/pods";
    check("api/v1", "/api/v1/pods", "get", "listCoreV1PodForAllNamespaces", "list");
    check("api/v1", pods, "delete", "deleteCoreV1CollectionNamespacedPod", "deletecollection");
    check("api/v1", pods, "post", "createCoreV1NamespacedPod", "post");
    check("api/v1", &format!("{pods}/{{name}}/status"), "get", "readCoreV1NamespacedPodStatus", "get");
    check("api/v1", &format!("{pods}/{{name}}/log"), "get", "readCoreV1NamespacedPodLog", "get");
    check("api/v1", "/api/v1/watch/pods", "get", "watchCoreV1PodListForAllNamespaces", "watchlist");
    check("api/v1", "/api/v1/watch/nodes/{name}", "get", "watchCoreV1Node", "watch");
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}";
    check("apis/rbac.authorization.k8s.io/v1", roles, "put", "replaceRbacAuthorizationV1ClusterRole", "put");
    let scale = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale";
    check("apis/apps/v1", scale, "patch", "patchAppsV1NamespacedDeploymentScale", "patch");
    assert_eq!(document("apis/apps/v1")["paths"][scale]["get"]["x-kubernetes-group-version-kind"]["kind"], "Scale");
    assert_eq!(document("apis/apps/v1")["paths"]["/apis/apps/v1/"]["get"]["operationId"], "getAppsV1APIResources");
    assert_eq!(document("apis/apps/v1")["paths"][scale]["get"]["tags"], json!(["apps_v1"]));
}

#[test]
fn streams_are_connections() {
    let sub = |name, kind, verbs: &[&'static str]| kinds::Subresource {
        name,
        group: "",
        version: "v1",
        kind,
        verbs: verbs.to_vec(),
        foreign: false,
    };
    let pod = kinds::by_kind("", "v1", "Pod").expect("served");
    let pod = pod.with_subresources(vec![
        sub("exec", "PodExecOptions", &["create", "get"]),
        sub("log", "Pod", &["get"]),
        sub("proxy", "PodProxyOptions", &["create", "delete", "get", "patch", "update"]),
    ]);
    let (descriptions, shared) = (Descriptions::unpack(), Shared::default());
    let writer = Writer { style: Style::V3, descriptions: &descriptions, shared: &shared };
    let items: HashMap<String, Value> =
        paths::of_kind(&pod).iter().map(|item| (item.path.clone(), item.value(&writer))).collect();
    let one = "/api/v1/namespaces/{namespace}/pods/{name}";
    let exec = &items[&format!("{one}/exec")];
    assert_eq!(exec["post"]["operationId"], "connectCoreV1PostNamespacedPodExec");
    assert_eq!(exec["get"]["x-kubernetes-action"], "connect");
    assert_eq!(
        exec["get"]["x-kubernetes-group-version-kind"],
        json!({"group": "", "version": "v1", "kind": "PodExecOptions"})
    );
    assert_eq!(
        names(&exec["parameters"]),
        ["command", "container", "name", "namespace", "stderr", "stdin", "stdout", "tty"]
    );
    assert_eq!(exec["post"].get("requestBody"), None);
    assert!(names(&items[&format!("{one}/log")]["parameters"]).contains(&"tailLines"));
    let below = &items[&format!("{one}/proxy/{{path}}")];
    assert_eq!(below["head"]["operationId"], "connectCoreV1HeadNamespacedPodProxyWithPath");
    assert_eq!(items[&format!("{one}/proxy")]["options"]["operationId"], "connectCoreV1OptionsNamespacedPodProxy");
    assert_eq!(below["put"]["responses"]["200"]["content"]["*/*"]["schema"], json!({"type": "string"}));
}

/// Operation ids are names of functions in generated clients: no two of a document may be the same.
#[test]
fn operation_ids_are_unique() {
    for (path, document) in documents() {
        let mut seen = BTreeSet::new();
        let items = document["paths"].as_object().expect("a map").values().filter_map(Value::as_object);
        let ids = items.flat_map(|item| item.values().filter_map(|o| o["operationId"].as_str()));
        for id in ids {
            assert!(seen.insert(id), "{path} has two operations {id}");
        }
    }
}

/// Every `$ref` in a document must lead somewhere.
fn check_references(at: &Value, document: &Value) {
    match at {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                let pointer = target.strip_prefix('#').expect("a local reference");
                assert!(document.pointer(pointer).is_some(), "{target}");
            }
            map.values().for_each(|v| check_references(v, document));
        }
        Value::Array(list) => list.iter().for_each(|v| check_references(v, document)),
        _ => {}
    }
}

/// The names of parameters hold a hash of all that is said of them: these are upstream's (api/openapi-spec/swagger.json).
#[test]
fn parameters_are_described_and_shared_as_upstreams() {
    let upstream = [
        "allowWatchBookmarks-HC2hJt-J",
        "body-2Y1dVQaQ",
        "body-78PwaGsr",
        "command-Py3eQybp",
        "container-1GeXxFDC",
        "container-_Q-EJ3nR",
        "container-i5dOmRiM",
        "continue-QfD61s0i",
        "fieldManager-7c6nTn1T",
        "fieldManager-Qy4HdaTW",
        "fieldSelector-xIcQKXFG",
        "follow-9OIXh_2R",
        "force-tOGGb0Yi",
        "gracePeriodSeconds--K5HaBOS",
        "insecureSkipTLSVerifyBackend-gM00jVbe",
        "labelSelector-5Zw57w4C",
        "limit-1NfNmdNH",
        "limitBytes-zwd1RXuc",
        "orphanDependents-uRB25kX5",
        "path-QCf0eosM",
        "path-oPbzgLUj",
        "path-rFDtV0x9",
        "ports-91KROJmm",
        "previous-1jxDPu3y",
        "propagationPolicy-6jk3prlO",
        "resourceVersion-5WAnf1kx",
        "resourceVersionMatch-t8XhRHeC",
        "sendInitialEvents-rLXlEK_k",
        "sinceSeconds-vE2NLdnP",
        "stderr-26jJhFUR",
        "timeoutSeconds-yvYezaOC",
        "watch-XNNPZGbK",
    ];
    let shared = document("v2")["parameters"].as_object().expect("a map");
    let missing: Vec<&str> = upstream.into_iter().filter(|name| !shared.contains_key(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not among {:?}", shared.keys().collect::<Vec<_>>());
    for (name, parameter) in shared.iter().filter(|(_, parameter)| parameter["in"] != "body") {
        assert!(parameter["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    assert!(document("api/v1")["components"].get("parameters").is_none(), "version 3 shares none");
}

#[test]
fn required_fields_are_in_the_order_of_the_structure() {
    let check = |name: &str, expected: &[&str]| {
        assert_eq!(document("v2")["definitions"][name]["required"], json!(expected), "{name}");
    };
    check("io.k8s.api.admissionregistration.v1.MatchCondition", &["name", "expression"]);
    check("io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent", &["type", "object"]);
    check("io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference", &["apiVersion", "kind", "name", "uid"]);
    let info = &v3_schema("version", "io.k8s.apimachinery.pkg.version.Info")["required"];
    assert_eq!((&info[0], &info[8]), (&json!("major"), &json!("platform")));
}

/// Upstream says of the paths that watch that they are deprecated in words only, and of version 3 nothing of who may ask.
#[test]
fn documents_say_no_more_than_upstreams() {
    let (second, third) = (document("v2"), document("apis/policy/v1"));
    assert!(second.get("security").is_some() && third.get("security").is_none());
    let watch = "/apis/policy/v1/watch/namespaces/{namespace}/poddisruptionbudgets/{name}";
    for document in [second, third] {
        assert!(document["paths"][watch]["get"].is_object());
        assert_eq!(document["paths"][watch]["get"].get("deprecated"), None);
    }
}

/// What Go leaves out when it writes a document again must not be there: clients compare both.
#[test]
fn documents_without_schemas_have_no_map_of_them() {
    let components = &document(".well-known/openid-configuration")["components"];
    assert_eq!((components.get("schemas"), components["securitySchemes"].is_object()), (None, true));
}

#[test]
fn references_resolve_and_hashes_differ() {
    let mut hashes = BTreeMap::new();
    for path in v3_paths(&Kinds::builtin()) {
        let value = document(&path);
        check_references(value, value);
        hashes.insert(path, hash(value.to_string().as_bytes()));
    }
    let different: BTreeSet<&String> = hashes.values().collect();
    assert_eq!(different.len(), hashes.len());
    let link = index(&hashes)["paths"]["api/v1"]["serverRelativeURL"].clone();
    assert_eq!(link, format!("/openapi/v3/api/v1?hash={}", hashes["api/v1"]));
    check_references(document("v2"), document("v2"));
    assert!(Generator::new(Arc::new(Kinds::builtin())).v3("apis/nope/v1", Form::Json).is_none());
}

/// The types that upstream itself leaves without descriptions of some fields.
const UNDESCRIBED: &[&str] = &[
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.ExternalDocumentation",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps",
    "io.k8s.api.certificates.v1.CertificateSigningRequest",
    "io.k8s.api.certificates.v1.CertificateSigningRequestList",
    "io.k8s.api.networking.v1.IngressRule",
    "io.k8s.apimachinery.pkg.apis.meta.v1.GroupResource",
    "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent",
    "io.k8s.apimachinery.pkg.version.Info",
    "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics",
    "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics",
];

#[test]
fn every_field_of_the_type_table_is_there_and_described() {
    let (descriptions, enums, zeros) = (Descriptions::unpack(), Enums::read(), Zeros::read());
    let gvks = Gvks::new(std::iter::empty());
    for style in [Style::V2, Style::V3] {
        let kinds = Kinds::builtin();
        let schemas =
            Schemas { style, kinds: &kinds, descriptions: &descriptions, enums: &enums, zeros: &zeros, gvks: &gvks };
        for ty in TypeTable::builtin().types() {
            let name = schema::schema_name(ty.name);
            let schema = schemas.of(ty.name);
            assert!(schema.get("description").is_some(), "{name} has no description");
            let properties = schema.get("properties").and_then(Value::as_object).map_or(0, Object::len);
            assert_eq!(properties, ty.fields.len(), "{name}");
            for field in ty.fields.keys() {
                let text = schema["properties"][field].get("description").and_then(Value::as_str);
                assert!(text.is_some() || UNDESCRIBED.contains(&name.as_str()), "{name} {field} has no description");
            }
        }
    }
}

#[test]
fn served_kinds_have_a_patch_that_checks_fields() {
    for kind in kinds::all().iter().filter(|k| k.supports("patch")) {
        let scope = if kind.namespaced { "namespaces/{namespace}/" } else { "" };
        let root = paths::root(kind.group, kind.version);
        let patch = &document(&root)["paths"][format!("/{root}/{scope}{}/{{name}}", kind.resource)]["patch"];
        assert!(names(&patch["parameters"]).contains(&"fieldValidation"), "{}", kind.resource);
        let schema = v3_schema(&root, &schema::schema_name(&kind.type_name));
        let gvk = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
        assert_eq!(patch["x-kubernetes-group-version-kind"], gvk);
        assert!(schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|all| all.contains(&gvk)));
    }
}

/// Length-delimited fields of a message, by number: enough to walk a document.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut found = Vec::new();
    let varint = |bytes: &mut &[u8]| {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let (byte, rest) = bytes.split_first().expect("a whole number");
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    };
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        assert_eq!(key & 7, 2, "only messages and texts are at this level");
        let length = usize::try_from(varint(&mut bytes)).expect("small");
        let (content, rest) = bytes.split_at(length);
        found.push((key >> 3, content));
        bytes = rest;
    }
    found
}

#[test]
fn protobuf_holds_the_same_paths_and_schemas() {
    let count = |bytes: &[u8], at: &[u64], field: u64| {
        let mut inner = bytes;
        for step in at {
            inner = fields(inner).into_iter().find(|(n, _)| n == step).expect("there").1;
        }
        fields(inner).into_iter().filter(|(n, _)| *n == field).count()
    };
    let size = |value: &Value| value.as_object().map_or(0, Object::len);
    let generator = Generator::new(Arc::new(Kinds::builtin()));
    let second = generator.v2(Form::Protobuf);
    assert_eq!(count(&second, &[8], 2), size(&document("v2")["paths"]));
    assert_eq!(count(&second, &[9], 1), size(&document("v2")["definitions"]));
    let third = generator.v3("api/v1", Form::Protobuf).expect("served");
    assert_eq!(count(&third, &[4], 1), size(&document("api/v1")["paths"]));
    assert_eq!(count(&third, &[5, 1], 1), size(&document("api/v1")["components"]["schemas"]));
}

/// With a custom kind whose `spec` has this schema.
fn with_custom(spec: &Value) -> Generator {
    let definition = json!({
        "spec": {"group": "example.com", "scope": "Namespaced", "versions": [{"name": "v1", "served": true,
            "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}]},
        "status": {"acceptedNames": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"}},
    });
    let definition = crate::custom::definition(&definition).expect("a whole definition");
    Generator::new(Arc::new(Kinds::with(vec![definition])))
}

#[test]
fn version_2_takes_out_of_custom_schemas_what_it_cannot_say() {
    let check = |spec: Value, expected: Value| {
        let document: Value = serde_json::from_slice(&with_custom(&spec).v2(Form::Json)).expect("JSON");
        assert_eq!(document["definitions"]["com.example.v1.Foo"]["properties"]["spec"], expected, "{spec}");
    };
    let text = || json!({"type": "string"});
    check(
        json!({"type": "object", "required": ["a", "b"], "properties": {"a": text(), "b": {"type": "string", "nullable": true}}}),
        json!({"type": "object", "required": ["a"], "properties": {"a": text(), "b": {}}}),
    );
    check(json!({"type": "array", "nullable": true, "items": text()}), json!({}));
    check(
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-embedded-resource": true}),
        json!({"x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-embedded-resource": true}),
    );
    let embedded = json!({"type": "object", "x-kubernetes-embedded-resource": true});
    let document = with_custom(&embedded).v3("apis/example.com/v1", Form::Json).expect("listed");
    let document: Value = serde_json::from_slice(&document).expect("JSON");
    let spec = &document["components"]["schemas"]["com.example.v1.Foo"]["properties"]["spec"];
    assert_eq!(spec["required"], json!(["kind", "apiVersion"]));
    assert!(spec["properties"]["metadata"].is_object());
}

#[test]
fn custom_kinds_have_upstreams_operations() {
    let document = with_custom(&json!({"type": "object"})).v3("apis/example.com/v1", Form::Json).expect("listed");
    let document: Value = serde_json::from_slice(&document).expect("JSON");
    let paths = document["paths"].as_object().expect("a map");
    assert!(!paths.keys().any(|path| path.contains("/watch/")));
    let (all, one) =
        ("/apis/example.com/v1/namespaces/{namespace}/foos", "/apis/example.com/v1/namespaces/{namespace}/foos/{name}");
    assert_eq!(paths[all]["delete"].get("requestBody"), None);
    assert_eq!(names(&paths[one]["patch"]["parameters"]), ["dryRun", "fieldManager", "fieldValidation"]);
    assert_eq!(paths[one]["patch"]["responses"].get("201"), None);
    let forms = |content: &Value| content["content"].as_object().map(|c| c.keys().cloned().collect::<Vec<_>>());
    let expected = Some(vec!["application/json".to_owned(), "application/yaml".to_owned()]);
    assert_eq!(forms(&paths[all]["get"]["responses"]["200"]), expected);
    assert_eq!(forms(&paths[one]["delete"]["requestBody"]), expected);
}

#[test]
fn custom_kinds_are_described_as_upstream_describes_them() {
    let generator = with_custom(&json!({"type": "object"}));
    let document = generator.v3("apis/example.com/v1", Form::Json).expect("listed");
    let document: Value = serde_json::from_slice(&document).expect("JSON");
    let check = |schema: &str, path: &str, start: &str| {
        let schema = &document["components"]["schemas"][schema];
        let text = if path.is_empty() { &schema["description"] } else { &schema["properties"][path]["description"] };
        assert!(text.as_str().is_some_and(|text| text.starts_with(start)), "{path}: {text}");
    };
    let conventions = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";
    check("com.example.v1.Foo", "apiVersion", "APIVersion defines the versioned schema");
    check("com.example.v1.Foo", "kind", "Kind is a string value");
    check("com.example.v1.Foo", "metadata", &format!("Standard object's metadata. More info: {conventions}#metadata"));
    check("com.example.v1.FooList", "", "FooList is a list of Foo");
    check("com.example.v1.FooList", "items", &format!("List of foos. More info: {conventions}"));
    check(
        "com.example.v1.FooList",
        "metadata",
        &format!("Standard list metadata. More info: {conventions}#types-kinds"),
    );
}
