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

fn conformed(mut value: Value) -> Value {
    decode::conform(&mut value, TYPE).expect("a pod");
    value
}

fn check(docs: &[Value], patch: &Value) {
    let ours: Result<Vec<Value>, _> = docs.iter().map(|d| patch::strategic(d, patch, TYPE)).collect();
    match (ours, kubectl(docs, patch)) {
        (Err(_), Err(_)) => {}
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{patch}");
            for ((ours, theirs), doc) in ours.into_iter().zip(theirs).zip(docs) {
                assert_eq!(conformed(ours), conformed(theirs), "\ndocument {doc}\npatch {patch}");
            }
        }
        (ours, theirs) => panic!("{patch}\nours {ours:?}\nkubectl {theirs:?}"),
    }
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
    ];
    for patch in patches {
        check(&docs, &patch);
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
