//! Strategic merge against upstream's own merge code: `kubectl patch --local`, which needs no server.

use std::io::Write as _;
use std::process::{Command, Stdio};

use gantry_api::{Value, decode, patch};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::present;

const TYPE: &str = "core/v1.Pod";

/// What kubectl makes of `docs` with `patch`, one result per document, or why it refuses.
pub(crate) fn kubectl(docs: &[Value], patch: &Value) -> Result<Vec<Value>, String> {
    let mut child = Command::new("kubectl")
        .args(["patch", "--local", "-f", "-", "--type", "strategic", "-o", "json", "-p", &patch.to_string()])
        .env("KUBECONFIG", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    let text: String = docs.iter().map(|d| format!("---\n{d}\n")).collect();
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("kubectl reads its input");
    let output = child.wait_with_output().expect("kubectl ends");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let printed = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    let mut results = Vec::new();
    for value in printed.map(|v| v.expect("kubectl prints JSON")) {
        match value.get("items").and_then(Value::as_array) {
            Some(items) => results.extend(items.iter().cloned()),
            None => results.push(value),
        }
    }
    Ok(results)
}

/// The value as a server takes it, and what it does not know in it: directives that were left are for the field validation to find.
pub(crate) fn conformed(mut value: Value, type_name: &str) -> Result<(Value, Vec<String>), String> {
    let unknown = decode::conform(&mut value, type_name).map_err(|status| status.message)?;
    Ok((value, unknown))
}

/// kubectl prints the error that a server would answer with.
pub(crate) fn check_type(docs: &[Value], patch: &Value, type_name: &str) {
    let ours: Result<Vec<Value>, _> = docs.iter().map(|d| patch::strategic(d, patch, type_name)).collect();
    match (ours, kubectl(docs, patch)) {
        (Err(ours), Err(theirs)) => {
            // Each document that is refused has a line.
            assert!(theirs.trim_start_matches("error: ").starts_with(ours.message.trim()), "{patch}: {ours}\n{theirs}");
        }
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{patch}");
            for ((ours, theirs), doc) in ours.into_iter().zip(theirs).zip(docs) {
                let (ours, theirs) = (conformed(ours, type_name), conformed(theirs, type_name));
                assert_eq!(ours, theirs, "\ndocument {doc}\npatch {patch}");
            }
        }
        (ours, theirs) => panic!("{patch}\nours {ours:?}\nkubectl {theirs:?}"),
    }
}

fn check(docs: &[Value], patch: &Value) {
    check_type(docs, patch, TYPE);
}

fn pod(name: &str, finalizers: &Value, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "finalizers": finalizers, "labels": {"a": "b", "c": "d"}}, "spec": spec})
}

fn fixed_documents() -> Vec<Value> {
    vec![
        pod(
            "p0",
            &json!(["a", "b", "c"]),
            &json!({
                "containers": [
                    {"name": "a", "image": "1", "env": [{"name": "x", "value": "1"}, {"name": "y", "value": "2"}], "args": ["1", "2"],
                     "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 81, "protocol": "UDP"}]},
                    {"name": "b", "image": "2", "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
                ],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "m"}}],
                "tolerations": [{"key": "k", "operator": "Exists"}],
                "nodeSelector": {"d": "e"},
                "securityContext": {"runAsUser": 1},
            }),
        ),
        pod("p1", &json!(["z"]), &json!({"containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "0"}]})),
    ]
}

#[test]
fn every_directive_agrees_with_kubectl() {
    if !present() {
        return;
    }
    let docs = fixed_documents();
    let spec = |spec: Value| json!({"spec": spec});
    let patches = [
        spec(json!({"containers": [{"name": "b", "image": "3"}, {"name": "c", "image": "4"}]})),
        spec(json!({"containers": [{"name": "b", "$patch": "delete"}]})),
        spec(json!({"containers": [{"$patch": "replace"}, {"name": "c", "image": "4"}]})),
        spec(
            json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}], "containers": [{"name": "c", "image": "4"}]}),
        ),
        spec(json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]})),
        spec(
            json!({"containers": [{"name": "a", "image": "9", "env": [{"name": "y", "$patch": "delete"}, {"name": "z", "value": "3"}], "ports": [{"containerPort": 80, "name": "http"}]}]}),
        ),
        spec(json!({"containers": [{"name": "b", "args": ["9"], "volumeMounts": null}]})),
        spec(json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/a"}}]})),
        spec(json!({"volumes": [{"name": "v", "hostPath": {"path": "/a"}}]})),
        spec(
            json!({"tolerations": [{"key": "l"}], "nodeSelector": {"$patch": "replace", "f": "g"}, "securityContext": {"$patch": "delete"}}),
        ),
        spec(
            json!({"tolerations": null, "nodeSelector": {"d": null, "f": "g"}, "securityContext": {"runAsGroup": 2, "seLinuxOptions": {"level": null}}}),
        ),
        spec(json!({"$retainKeys": ["containers"], "containers": [{"name": "b", "image": "7"}]})),
        json!({"metadata": {"finalizers": ["d"], "labels": {"a": null, "x": "y"}}}),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"]}}),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"], "$setElementOrder/finalizers": ["c", "d"], "finalizers": ["d"]}}),
        json!({"metadata": {"$setElementOrder/finalizers": ["c", "a"]}}),
        spec(json!({"containers": [{"image": "x"}]})),
        spec(json!({"$patch": "nope"})),
        spec(json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "emptyDir": {}}]})),
        spec(json!({"$setElementOrder/containers": [{"name": "x"}], "containers": [{"name": "b", "image": "x"}]})),
        spec(json!({"$setElementOrder/containers": [], "containers": [{"name": "c"}]})),
        spec(
            json!({"containers": [{"name": "c", "env": [{"name": "x", "$patch": "delete"}], "$retainKeys": ["name", "env"]}]}),
        ),
        spec(
            json!({"dnsConfig": {"$retainKeys": ["options"], "options": [{"name": "a", "$patch": "delete"}, {"name": "b", "value": null}]}}),
        ),
        spec(json!({"affinity": {"$patch": "replace", "nodeAffinity": {}}, "hostname": {"$patch": "delete"}})),
        spec(json!({"$deleteFromPrimitiveList/hostname": "x", "$deleteFromPrimitiveList/nodeSelector": {"d": "f"}})),
        spec(json!({"$deleteFromPrimitiveList/nodeSelector": ["d"], "$deleteFromPrimitiveList/tolerations": null})),
        spec(json!({"$deleteFromPrimitiveList/containers": [{"name": "b", "image": "9"}]})),
        spec(json!({"containers": [{"name": "a", "$deleteFromPrimitiveList/args": ["1"]}]})),
        spec(json!({"containers": [{"name": "a", "$setElementOrder/args": ["2", "1"]}]})),
        spec(json!({"containers": [{"$patch": "replace"}]})),
        json!({"metadata": {"$retainKeys": ["labels", "finalizers"], "labels": {"$retainKeys": ["a"]}, "$setElementOrder/finalizers": ["b"]}}),
        json!({"metadata": {"$deleteFromPrimitiveList/annotations": ["b"], "annotations": {"x": null, "y": "z"}}}),
    ];
    for patch in patches {
        check(&docs, &patch);
    }
}

/// The words of each refusal are those of kubectl, and of a server. One document, for kubectl goes on to the next.
#[test]
fn every_refusal_agrees_with_kubectl() {
    if !present() {
        return;
    }
    let docs = &fixed_documents()[..1];
    let items = |list: Value| json!({"spec": {"containers": list}});
    let ordered =
        |order: Value, list: Value| json!({"spec": {"$setElementOrder/containers": order, "containers": list}});
    for patch in [
        json!({"spec": {"$deleteFromPrimitiveList": ["x"]}}),
        json!({"spec": {"$deleteFromPrimitiveList/tolerations": [{"key": "k"}]}}),
        json!({"spec": {"$setElementOrder": ["x"]}}),
        json!({"spec": {"$setElementOrder/nodeSelector": ["x"]}}),
        json!({"spec": {"$setElementOrder/hostname": ["x"]}}),
        json!({"spec": {"$setElementOrder/nothing": ["x"]}}),
        json!({"metadata": {"labels": {"$setElementOrder/nothing": ["x"]}}}),
        json!({"metadata": {"finalizers": [null]}}),
        json!({"metadata": {"finalizers": [["a"], 1, 1.5, true, {"b": 1}]}}),
        json!({"metadata": {"$retainKeys": "a"}}),
        json!({"metadata": {"$retainKeys": ["labels"], "finalizers": ["x"]}}),
        json!({"spec": {"securityContext": {"$patch": 1}}}),
        json!({"spec": {"securityContext": {"$patch": null}}}),
        json!({"spec": {"securityContext": {"$patch": "merge", "runAsUser": 4}}}),
        items(json!(["b"])),
        items(json!([{"$patch": "delete"}])),
        items(json!([{"$patch": 1.5, "name": "a"}])),
        items(json!([{"$patch": "merge", "name": "a"}])),
        items(json!([{"$patch": "replace", "name": "a"}, {"image": "x"}])),
        items(json!([{"name": "a", "env": [{"value": "x"}]}])),
        json!({"spec": {"$setElementOrder/containers": null}}),
        json!({"spec": {"$setElementOrder/containers": "x"}}),
        json!({"spec": {"$setElementOrder/containers": [1]}}),
        json!({"spec": {"$setElementOrder/containers": [{"nom": "x"}]}}),
        ordered(json!([{"name": "b"}]), json!(null)),
        ordered(json!([{"name": "b"}]), json!("b")),
        ordered(json!([{"name": "b"}]), json!([1])),
        ordered(json!([{"name": "b"}]), json!([{"nom": "b"}])),
        ordered(json!([{"nom": "b"}]), json!([{"name": "b"}])),
        ordered(json!([1]), json!([{"name": "b"}])),
        ordered(json!([{"name": "a"}, {"name": "b"}]), json!([{"name": "b"}, {"name": "a"}])),
    ] {
        assert!(patch::strategic(&docs[0], &patch, TYPE).is_err(), "{patch}");
        check(docs, &patch);
    }
    // What Go's types do not tell upstream cannot be merged.
    let request = |extra: Value| json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "c"}, "spec": {"extra": extra}});
    check_type(
        &[request(json!({"a": ["b"]}))],
        &json!({"spec": {"extra": {"a": ["c"]}}}),
        "certificates/v1.CertificateSigningRequest",
    );
    let revision = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "r"}, "data": {"a": {"b": 1}, "c": 1}});
    for data in [json!({"a": {"b": 2}}), json!({"a": null, "c": 2})] {
        check_type(std::slice::from_ref(&revision), &json!({"data": data}), "apps/v1.ControllerRevision");
    }
}

fn some<'a>(random: &mut StdRng, from: &[&'a str]) -> Vec<&'a str> {
    let mut picked: Vec<&str> = from.iter().copied().filter(|_| random.random_bool(0.6)).collect();
    picked.shuffle(random);
    picked
}

fn entries(
    random: &mut StdRng,
    names: &[&str],
    directives: bool,
    mut make: impl FnMut(&mut StdRng, &str) -> Value,
) -> Value {
    let mut list = Vec::new();
    for name in some(random, names) {
        if directives && random.random_bool(0.25) {
            list.push(json!({"name": name, "$patch": "delete"}));
        } else {
            list.push(make(random, name));
        }
    }
    Value::Array(list)
}

/// Containers a to d are in every document: kubectl keeps the directives inside an item that is new to a list as if they were data
/// (the server then drops them as unknown fields), which is no merge to agree with.
fn random_spec(random: &mut StdRng, directives: bool) -> Value {
    let mut names = if directives { some(random, &["a", "b", "c", "d"]) } else { vec!["a", "b", "c", "d"] };
    names.shuffle(random);
    let mut containers = Vec::new();
    for name in names {
        let env = entries(
            random,
            &["x", "y", "z"],
            directives,
            |random, name| json!({"name": name, "value": random.random_range(0..9).to_string()}),
        );
        let container = json!({"name": name, "image": random.random_range(0..9).to_string(), "env": env});
        let delete = directives && random.random_bool(0.25);
        containers.push(if delete { json!({"name": name, "$patch": "delete"}) } else { container });
    }
    if directives && random.random_bool(0.5) {
        containers.push(json!({"name": "e", "image": "new"}));
    }
    let containers = Value::Array(containers);
    let volumes = entries(random, &["v", "w"], directives, |_, name| json!({"name": name, "emptyDir": {}}));
    let mut spec = json!({"containers": containers, "volumes": volumes});
    if directives && random.random_bool(0.5) {
        let named = containers.as_array().into_iter().flatten().filter(|c| c.get("$patch").is_none());
        let mut order: Vec<Value> = named.map(|c| json!({"name": c["name"]})).collect();
        if random.random_bool(0.5) {
            order.insert(0, json!({"name": "f"}));
        }
        spec["$setElementOrder/containers"] = Value::Array(order);
    }
    spec
}

#[test]
fn random_patches_agree_with_kubectl() {
    if !present() {
        return;
    }
    for seed in 0..12 {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let docs: Vec<Value> = (0..8)
            .map(|n| {
                let finalizers = some(&mut random, &["a", "b", "c"]);
                pod(&format!("p{n}"), &json!(finalizers), &random_spec(&mut random, false))
            })
            .collect();
        let finalizers = some(&mut random, &["a", "d"]);
        let patch = json!({"metadata": {"finalizers": finalizers}, "spec": random_spec(&mut random, true)});
        check(&docs, &patch);
    }
}
