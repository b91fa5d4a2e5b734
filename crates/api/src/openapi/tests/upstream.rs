//! Version 2 as a whole against upstream's, by hashes: of what the clients that are generated from it know of its operations, and of
//! the types of its fields.

use sha2::{Digest as _, Sha256};

use super::*;

/// Operations by their tag: how many there are, and a hash of them. Of the Python client 36.0.3, which is made from the document of
/// Kubernetes 1.36; it has no operations that watch. The media types of CBOR, of which the feature is off, are left out.
const OPERATIONS: &[(&str, usize, &str)] = &[
    ("admissionregistration", 1, "8647d16b3a59cdde"),
    ("admissionregistration_v1", 46, "432bc2c62481520a"),
    ("apiextensions", 1, "f98b91ce32c79b79"),
    ("apiextensions_v1", 11, "fad84f32ea9bbed7"),
    ("apiregistration", 1, "0848d4cb04e69211"),
    ("apiregistration_v1", 11, "c51ccd4b59854e7e"),
    ("apis", 1, "753c0dca0e2765cb"),
    ("apps", 1, "41ee6a9da062e235"),
    ("apps_v1", 62, "b57b547ae530727f"),
    ("authentication", 1, "723666a8cd2d4cad"),
    ("authentication_v1", 3, "a13920a527f40ba8"),
    ("authorization", 1, "3ffd94696d537c06"),
    ("authorization_v1", 5, "7d21517e08b4474f"),
    ("autoscaling", 1, "094a9b29976ee0d5"),
    ("autoscaling_v1", 12, "3e173e668f1ed673"),
    ("autoscaling_v2", 12, "cf3efa768cf4db96"),
    ("batch", 1, "55374e94b13db70d"),
    ("batch_v1", 23, "bd2e8e06333fcfe8"),
    ("certificates", 1, "08761d84672d57e5"),
    ("certificates_v1", 14, "f0973ee1c0505c20"),
    ("coordination", 1, "92ed4750f4139e39"),
    ("coordination_v1", 9, "f1790f2cf1ce0162"),
    ("core", 1, "01d2dc1262fd48c3"),
    ("core_v1", 206, "385b33c52b4d773d"),
    ("discovery", 1, "a79fd388528d738f"),
    ("discovery_v1", 9, "6ed11729a6ed1d84"),
    ("events", 1, "9f4c0743fa3dc1ed"),
    ("events_v1", 9, "021875a9a2adf24a"),
    ("flowcontrol_apiserver", 1, "db57279716054f98"),
    ("flowcontrol_apiserver_v1", 21, "26ec12009df2df0e"),
    ("networking", 1, "3616bfe851f8df44"),
    ("networking_v1", 44, "5149dca42cdc3a39"),
    ("node", 1, "81053c68300e6f2e"),
    ("node_v1", 8, "ddc2ef405098fca6"),
    ("policy", 1, "db9d00fb5cc0767a"),
    ("policy_v1", 12, "922cfa4360924f95"),
    ("rbac_authorization", 1, "959226e5ce28e28b"),
    ("rbac_authorization_v1", 31, "e6124f9eb5383607"),
    ("resource", 1, "c1c4be3be639ef21"),
    ("resource_v1", 34, "adbcd2425c594dc9"),
    ("scheduling", 1, "2cbfeb20fb4c0db3"),
    ("scheduling_v1", 8, "e30e4a8e3c226a23"),
    ("storage", 1, "58daeb62ffffb05d"),
    ("storage_v1", 47, "735a6a0105407077"),
    ("version", 1, "32ab619fe08cac4e"),
];

/// Definitions by their package: how many lines they and their fields are, and a hash of these. Of crate k8s-openapi 0.29 (its schemas
/// of Kubernetes 1.36), which has no lists of kinds and words of its own for the types in [`OTHERWISE`].
const DEFINITIONS: &[(&str, usize, &str)] = &[
    ("io.k8s.api.admissionregistration.v1", 148, "8a03f8f58e9edda3"),
    ("io.k8s.api.apps.v1", 150, "98f745cea49b54f4"),
    ("io.k8s.api.authentication.v1", 44, "6f0afc43d0b59017"),
    ("io.k8s.api.authorization.v1", 73, "9cee161dc567648f"),
    ("io.k8s.api.autoscaling.v1", 32, "774d0055f36f6db3"),
    ("io.k8s.api.autoscaling.v2", 101, "922a95e3d32a14ec"),
    ("io.k8s.api.batch.v1", 85, "0ba1426da9737a53"),
    ("io.k8s.api.certificates.v1", 25, "38875c7dfa361a8a"),
    ("io.k8s.api.coordination.v1", 13, "6ab86f41ba9db25a"),
    ("io.k8s.api.core.v1", 1164, "59e0d80e77f0b01a"),
    ("io.k8s.api.discovery.v1", 32, "b7c81792bf203699"),
    ("io.k8s.api.events.v1", 21, "8b827074bd41be65"),
    ("io.k8s.api.flowcontrol.v1", 81, "2c9f014e108188d4"),
    ("io.k8s.api.networking.v1", 107, "897bed46af8613ec"),
    ("io.k8s.api.node.v1", 12, "5a09aa58871757ce"),
    ("io.k8s.api.policy.v1", 24, "51b87bac23b0e23f"),
    ("io.k8s.api.rbac.v1", 40, "ec32f5572fe31d0c"),
    ("io.k8s.api.resource.v1", 184, "b27e9dbfb013e353"),
    ("io.k8s.api.scheduling.v1", 8, "fe7c986485cf6f14"),
    ("io.k8s.api.storage.v1", 81, "bbce053153f6d1af"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", 131, "0afa12502f441788"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1", 131, "f58557a0d1febbe9"),
    ("io.k8s.apimachinery.pkg.runtime", 1, "f57542656ca98d3e"),
    ("io.k8s.apimachinery.pkg.version", 14, "a0512d994bf9bf32"),
    ("io.k8s.kube-aggregator.pkg.apis.apiregistration.v1", 26, "a82c057ebc1c5c77"),
];
const OTHERWISE: &[&str] = &[
    "IntOrString",
    "JSON",
    "JSONSchemaPropsOrArray",
    "JSONSchemaPropsOrBool",
    "JSONSchemaPropsOrStringArray",
    "Quantity",
    "WatchEvent",
];

/// Compares hashes of lines with those of upstream, and shows the lines that differ.
fn compare(found: BTreeMap<String, BTreeSet<String>>, upstream: &[(&str, usize, &str)]) {
    for (of, lines) in &found {
        let whole = lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        let hash: String = Sha256::digest(&whole).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let expected = upstream.iter().find(|(name, ..)| name == of);
        assert_eq!(expected, Some(&(of.as_str(), lines.len(), hash.as_str())), "is another:\n{whole}");
    }
    assert_eq!(found.len(), upstream.len());
}

/// `V1Pod` for a reference to `io.k8s.api.core.v1.Pod`, as the client calls it; the type of what is no object.
fn called(schema: Option<&Value>) -> String {
    let Some(schema) = schema else { return String::new() };
    let Some(name) = schema["$ref"].as_str() else { return schema["type"].as_str().unwrap_or_default().to_owned() };
    let mut parts = name.rsplit('.');
    let (kind, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{}{}{kind}", version[..1].to_ascii_uppercase(), &version[1..])
}

/// One operation: where it is, its name without group and version, its parameters, and what it takes and gives.
fn line(path: &str, item: &Value, method: &str) -> String {
    let operation = &item[method];
    let lists = [&item["parameters"], &operation["parameters"]].into_iter().filter_map(Value::as_array);
    let parameters: Vec<&Value> = lists.flatten().map(resolved).collect();
    let placed = |place: &str, line: &dyn Fn(&Value) -> String| {
        let found: BTreeSet<String> = parameters.iter().filter(|p| p["in"] == place).map(|p| line(p)).collect();
        found.into_iter().collect::<Vec<_>>().join(",")
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let tag = text(&operation["tags"][0]).replace('_', "");
    let id = text(&operation["operationId"]).to_ascii_lowercase().replacen(&tag.to_ascii_lowercase(), "", 1);
    let query = placed("query", &|p| format!("{}:{}", text(&p["name"]), text(&p["type"])));
    let names = placed("path", &|p| text(&p["name"]));
    let required = |p: &Value| if p["required"] == true { "!" } else { "" };
    let body = placed("body", &|p| format!("{}{}", called(p.get("schema")), required(p)));
    let gives: Vec<&str> = operation["produces"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let answers = operation["responses"].as_object().into_iter().flatten();
    let answers: Vec<String> = answers.map(|(code, a)| format!("{code}={}", called(a.get("schema")))).collect();
    format!("{method} {path} {id} {query} {names} {body} {} {}", gives.join(","), answers.join(","))
}

#[test]
fn operations_are_those_of_clients_that_are_generated_from_upstreams() {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, item) in document("v2")["paths"].as_object().expect("a map") {
        // The client's generator takes the last slash from two paths, which have it upstream, too.
        let unknown = path.contains("/watch/") || path.contains("metrics.k8s.io") || path.contains("openid");
        for (method, operation) in item.as_object().into_iter().flatten().filter(|(name, _)| *name != "parameters") {
            if !unknown {
                let tag = operation["tags"][0].as_str().expect("one");
                let snake = tag
                    .chars()
                    .flat_map(|c| c.is_ascii_uppercase().then_some('_').into_iter().chain([c.to_ascii_lowercase()]));
                found.entry(snake.collect()).or_default().insert(line(path, item, method));
            }
        }
    }
    compare(found, OPERATIONS);
}

/// `array[string]`, `object{integer:int32}`, or the definition that is referred to.
fn shape(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return name.trim_start_matches("#/definitions/").to_owned();
    }
    let mut shape = schema["type"].as_str().unwrap_or_default().to_owned();
    if let Some(format) = schema["format"].as_str() {
        shape += &format!(":{format}");
    }
    if let Some(items) = schema.get("items") {
        shape += &format!("[{}]", self::shape(items));
    }
    if let Some(values) = schema.get("additionalProperties") {
        shape += &format!("{{{}}}", self::shape(values));
    }
    shape
}

#[test]
fn fields_have_upstreams_types() {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, schema) in document("v2")["definitions"].as_object().expect("a map") {
        let (package, kind) = name.rsplit_once('.').expect("a package");
        let is_list = kind.ends_with("List") && schema["properties"].get("items").is_some();
        if is_list || OTHERWISE.contains(&kind) || package.contains(".metrics.") {
            continue;
        }
        let lines = found.entry(package.to_owned()).or_default();
        lines.insert(format!("{name} {}", shape(schema)));
        let fields = schema["properties"].as_object().into_iter().flatten();
        lines.extend(fields.map(|(field, of)| format!("{name} {field} {}", shape(of))));
    }
    compare(found, DEFINITIONS);
}
