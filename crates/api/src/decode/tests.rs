mod every_kind;
mod k8s_pb;
mod protobuf_attacks;

use serde_json::json;

use super::*;
use crate::Value;

#[test]
fn numbers_are_read_as_they_were_written() {
    for number in [6.666_666_666_666_667e78, 0.1, 5e-324, f64::MAX] {
        let body = json!({"data": number}).to_string();
        assert_eq!(json(body.as_bytes(), true).expect("JSON").0["data"], number);
    }
}

#[test]
fn complaints_stand_in_the_order_of_the_body() {
    let body = br#"{"spec": {"x": 1, "replicas": 2, "replicas": 3, "list": [{"a": 1, "b": 2}]}, "metadata": {"m": 1}}"#;
    let texts = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<String>>();
    let given = texts(&[
        "duplicate field \"spec.replicas\"",
        "elsewhere",
        "unknown field \"metadata.m\"",
        "unknown field \"spec.list[0].b\"",
        "unknown field \"spec.x\"",
    ]);
    let expected = texts(&[
        "unknown field \"spec.x\"",
        "duplicate field \"spec.replicas\"",
        "unknown field \"spec.list[0].b\"",
        "unknown field \"metadata.m\"",
        "elsewhere",
    ]);
    assert_eq!(in_order(body, given), expected);
}

#[test]
fn duplicate_keys_are_named() {
    let check = |text: &str, expected: &[&str]| {
        let (_, found) = json(text.as_bytes(), true).expect("JSON");
        assert_eq!(found, expected, "{text}");
    };
    check(r#"{"a":1,"b":{"c":1}}"#, &[]);
    check(r#"{"a":1,"a":2,"b":[{"c":1,"c":2}]}"#, &["duplicate field \"a\"", "duplicate field \"b[0].c\""]);
    let (value, found) = json(br#"{"a":1,"a":2}"#, false).expect("JSON");
    assert_eq!((value, found), (json!({"a": 2}), vec![]));
}

#[test]
fn attack_duplicate_keys_do_not_repeat_long_paths_without_bound() {
    let again = r#""a":1,"#.repeat(90_000);
    let deep = format!(r#"{{"{}":{{{again}"a":1}}}}"#, "k".repeat(1 << 20));
    let (_, found) = json(deep.as_bytes(), true).expect("JSON");
    assert_eq!(found.len(), 1);
    assert!(found[0].len() < 1200 && found[0].ends_with("kk...\""), "{}", found[0].len());
    let each: Vec<String> = (0..20_000).map(|n| format!(r#""k{n}":1,"k{n}":2"#)).collect();
    let (value, found) = json(format!("{{{}}}", each.join(",")).as_bytes(), true).expect("JSON");
    assert_eq!((found.len(), value["k19999"].as_i64()), (100, Some(2)));
    assert_eq!(found[99], "duplicate field \"k99\"");
}

#[test]
fn bad_json_says_why() {
    let check = |text: &str, part: &str| {
        let status = json(text.as_bytes(), true).expect_err("bad");
        assert_eq!(status.code, 400);
        assert!(status.message.contains(part), "{}", status.message);
    };
    check("{", "unexpected end of JSON input");
    check("{}x", "invalid character 'x' after top-level value");
    check(&("[".repeat(200) + &"]".repeat(200)), "exceeded max depth");
}

#[test]
fn yaml_reads_as_kubectl_does() {
    let check = |text: &str, expected: Value| assert_eq!(yaml(text.as_bytes()).expect("YAML").0, expected, "{text}");
    check("a: 0644\nb: 8.0\nc: yes\nd: 'yes'\n", json!({"a": 420, "b": 8, "c": true, "d": "yes"}));
    check("x: &a {k: v}\ny: *a\n", json!({"x": {"k": "v"}, "y": {"k": "v"}}));
    let documents = yaml_documents("---\na: 1\n---\n---\nb: 2\n").expect("YAML");
    assert_eq!(documents, [json!({"a": 1}), json!({"b": 2})]);
}

#[test]
fn bad_yaml_says_where() {
    let check = |text: &str, parts: &[&str]| {
        let message = yaml(text.as_bytes()).expect_err("bad").message;
        for part in parts {
            assert!(message.contains(part), "{message}");
        }
    };
    check("a: 1\n  b: 2\n", &["line 2", "column"]);
    check("a: 1\na: 2\n", &["duplicate mapping key: a not allowed here at line 2, column 1"]);
    check("a: *x\n", &["line 1, column 4"]);
    check("a: 1\n---\nb: 2\n", &["only single YAML document", "line 3"]);
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..9 {
        let list = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{list}]\n"));
    }
    assert!(yaml(bomb.as_bytes()).is_err());
}

#[test]
fn unknown_fields_are_pruned_and_named() {
    let mut pod =
        json!({"kind": "Pod", "apiVersion": "v1", "spec": {"containers": [{"name": "a", "imag": "b"}], "foo": {}}});
    let unknown = conform(&mut pod, "core/v1.Pod").expect("conforms");
    assert_eq!(unknown, ["unknown field \"spec.foo\"", "unknown field \"spec.containers[0].imag\""]);
    assert_eq!(pod, json!({"kind": "Pod", "apiVersion": "v1", "spec": {"containers": [{"name": "a"}]}}));
    assert_eq!(suggest("core/v1.Pod", &unknown[1]), Some("image"));
    assert_eq!(suggest("core/v1.Pod", &unknown[0]), None);
    assert_eq!(nearest("imag", ["name", "image", "tty"]), Some("image"));
    assert_eq!(nearest("relicas", ["replicas", "selector"]), Some("replicas"));
    assert_eq!(nearest("xyz", ["replicas", "selector"]), None);
}

#[test]
fn attack_unknown_fields_do_not_repeat_long_paths_without_bound() {
    let unknown: Vec<Value> = (0..100_000).map(|_| json!({"x": 1})).collect();
    let mut pod = json!({"kind": "Pod", "apiVersion": "v1", "y": 1, "spec": {"containers": unknown.clone(), "z": 1}});
    let found = conform(&mut pod, "core/v1.Pod").expect("conforms");
    assert_eq!(found.len(), 100);
    assert_eq!(
        found[..3],
        ["unknown field \"y\"", "unknown field \"spec.z\"", "unknown field \"spec.containers[0].x\""]
    );
    assert_eq!(pod["spec"]["containers"][99_999], json!({}));
    let key = "k".repeat(1 << 20);
    let mut claim = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {key.clone(): 1},
        "spec": {"containers": [{"name": "a", key: unknown}]}});
    let found = conform(&mut claim, "core/v1.Pod").expect("conforms");
    assert!(found.iter().all(|text| text.len() < 1200), "{}", found[0].len());
}

#[test]
fn wrong_types_are_refused_in_upstreams_words() {
    let check = |mut object: Value, why: &str| {
        let status = conform(&mut object, "apps/v1.Deployment").expect_err("wrong");
        assert_eq!(status.message, format!("Deployment in version \"v1\" cannot be handled as a Deployment: {why}"));
        assert_eq!(status.code, 400);
    };
    let container = |c: Value| json!({"spec": {"template": {"spec": {"containers": [c]}}}});
    check(
        json!({"spec": {"replicas": "x"}}),
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
    );
    check(
        json!({"spec": {"replicas": 1.5}}),
        "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
    );
    check(
        json!({"spec": []}),
        "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec",
    );
    check(
        json!({"metadata": {"labels": {"a": 1}}}),
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
    );
    check(
        container(json!({"resources": {"limits": {"cpu": "1 core"}}})),
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    );
    check(json!(1), "json: cannot unmarshal number into Go value of type v1.Deployment");
}

#[test]
fn wrong_types_are_refused_by_the_names_that_go_has_for_them() {
    let check = |ty: &str, mut object: Value, why: &str| {
        let message = conform(&mut object, ty).expect_err("wrong").message;
        let (_, said) = message.split_once(": json: cannot unmarshal ").expect("Go's words");
        assert_eq!(said, why);
    };
    let pod = |spec: Value| json!({"spec": spec});
    check(
        "core/v1.Pod",
        pod(json!({"restartPolicy": 1})),
        "number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy",
    );
    check(
        "core/v1.Pod",
        pod(json!({"overhead": []})),
        "array into Go struct field PodSpec.spec.overhead of type v1.ResourceList",
    );
    check(
        "core/v1.Pod",
        pod(json!({"nodeName": 1})),
        "number into Go struct field PodSpec.spec.nodeName of type string",
    );
    let service = |families: Value| json!({"spec": {"ipFamilies": families}});
    check(
        "core/v1.Service",
        service(json!("IPv4")),
        "string into Go struct field ServiceSpec.spec.ipFamilies of type []v1.IPFamily",
    );
    check(
        "core/v1.Service",
        service(json!([4])),
        "number into Go struct field ServiceSpec.spec.ipFamilies of type v1.IPFamily",
    );
    let review = |extra: Value| json!({"spec": {"extra": extra}});
    let at = "Go struct field SubjectAccessReviewSpec.spec.extra of type";
    let ty = "authorization/v1.SubjectAccessReview";
    check(ty, review(json!([])), &format!("array into {at} map[string]v1.ExtraValue"));
    check(ty, review(json!({"a": "b"})), &format!("string into {at} v1.ExtraValue"));
    check(ty, review(json!({"a": [1]})), &format!("number into {at} string"));
    check(
        "core/v1.Pod",
        json!({"metadata": {"uid": {}}}),
        "object into Go struct field ObjectMeta.metadata.uid of type types.UID",
    );
}

#[test]
fn values_take_their_canonical_form() {
    let check = |ty: &str, mut given: Value, expected: Value| {
        assert_eq!(conform(&mut given, ty), Ok(vec![]));
        assert_eq!(given, expected);
        assert_eq!(conform(&mut given, ty), Ok(vec![]));
        assert_eq!(given, expected, "a second time");
    };
    check(
        "core/v1.Container",
        json!({"name": "", "stdin": false, "env": [], "resources": {"limits": {"cpu": "1000m", "memory": 1024}}}),
        json!({"name": "", "resources": {"limits": {"cpu": "1", "memory": "1024"}}}),
    );
    check(
        "core/v1.SecurityContext",
        json!({"privileged": false, "runAsUser": 0}),
        json!({"privileged": false, "runAsUser": 0}),
    );
    check(
        "meta/v1.ObjectMeta",
        json!({"creationTimestamp": null, "labels": {"a": null}, "deletionTimestamp": "2026-01-02T03:04:05.9+01:00", "annotations": {}}),
        json!({"labels": {"a": ""}, "deletionTimestamp": "2026-01-02T02:04:05Z"}),
    );
    check(
        "coordination/v1.LeaseSpec",
        json!({"renewTime": "2026-01-02T03:04:05Z", "holderIdentity": ""}),
        json!({"renewTime": "2026-01-02T03:04:05.000000Z", "holderIdentity": ""}),
    );
    check("core/v1.Secret", json!({"data": {"a": "YWJj\n", "b": ""}}), json!({"data": {"a": "YWJj", "b": ""}}));
    check("core/v1.Volume", json!({"name": "a", "emptyDir": {}}), json!({"name": "a", "emptyDir": {}}));
    check(
        "apps/v1.ControllerRevision",
        json!({"revision": 0, "data": {"a": null}}),
        json!({"revision": 0, "data": {"a": null}}),
    );
    printed_where_nobody_has_set_them(&check);
    let mut secret = json!({"data": {"a": "YWJ"}});
    assert!(
        conform(&mut secret, "core/v1.Secret")
            .expect_err("bad")
            .message
            .ends_with("illegal base64 data at input byte 0")
    );
}

/// What Go has no way to leave out.
fn printed_where_nobody_has_set_them(check: &dyn Fn(&str, Value, Value)) {
    let claim = json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}});
    let shown = json!({"dataSource": {"apiGroup": null, "kind": "PersistentVolumeClaim", "name": "a"}});
    check("core/v1.PersistentVolumeClaimSpec", claim, shown);
    check(
        "core/v1.EnvVarSource",
        json!({"resourceFieldRef": {"resource": "limits.cpu"}}),
        json!({"resourceFieldRef": {"divisor": "0", "resource": "limits.cpu"}}),
    );
    check("core/v1.EventSeries", json!({"count": 2}), json!({"count": 2, "lastObservedTime": null}));
    check("core/v1.ContainerImage", json!({"sizeBytes": 1}), json!({"names": null, "sizeBytes": 1}));
    check(
        "core/v1.ContainerStatus",
        json!({"name": "a", "ready": true}),
        json!({"name": "a", "ready": true, "image": "", "imageID": "", "restartCount": 0, "state": {}, "lastState": {}}),
    );
    check("core/v1.NodeDaemonEndpoints", json!({}), json!({"kubeletEndpoint": {"Port": 0}}));
    check("apps/v1.StatefulSetSpec", json!({}), json!({"serviceName": ""}));
    check("networking/v1.NetworkPolicy", json!({}), json!({"spec": {"podSelector": {}}}));
    check("resource/v1.ResourceClaimStatus", json!({"allocation": {}}), json!({"allocation": {"devices": {}}}));
    check(
        "authentication/v1.TokenRequestSpec",
        json!({"expirationSeconds": 600}),
        json!({"expirationSeconds": 600, "audiences": null, "boundObjectRef": null}),
    );
}

/// A protobuf writer for tests.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn varint(mut self, mut n: u64) -> Self {
        while n > 0x7f {
            self.0.push(u8::try_from(n & 0x7f).expect("seven bits") | 0x80);
            n >>= 7;
        }
        self.0.push(u8::try_from(n).expect("seven bits"));
        self
    }

    fn number(self, field: u64, n: u64) -> Self {
        self.varint(field << 3).varint(n)
    }

    fn bytes(self, field: u64, data: impl AsRef<[u8]>) -> Self {
        let data = data.as_ref();
        let mut me = self.varint(field << 3 | 2).varint(data.len() as u64);
        me.0.extend_from_slice(data);
        me
    }

    fn message(self, field: u64, inner: Writer) -> Self {
        self.bytes(field, inner.0)
    }

    fn envelope(self, api_version: &str, kind: &str) -> Vec<u8> {
        let meta = Writer::default().bytes(1, api_version).bytes(2, kind);
        let mut out = PROTOBUF_MAGIC.to_vec();
        out.extend(Writer::default().message(1, meta).bytes(2, self.0).bytes(3, "").bytes(4, "").0);
        out
    }
}

fn w() -> Writer {
    Writer::default()
}

#[test]
fn protobuf_deployment_as_kubectl_sends_it() {
    let metadata = w()
        .bytes(1, "web")
        .bytes(2, "")
        .bytes(3, "default")
        .number(7, 0)
        .message(8, w())
        .message(11, w().bytes(1, "app").bytes(2, "web"));
    let port = w().bytes(1, "").number(2, 0).number(3, 80).bytes(4, "TCP").bytes(5, "");
    let quantity = w().bytes(1, "500m");
    let resources = w().message(1, w().bytes(1, "cpu").message(2, quantity));
    let probe = w()
        .message(1, w().message(2, w().bytes(1, "/").message(2, w().number(1, 1).number(2, 0).bytes(3, "http"))))
        .number(2, 0);
    let security = w().number(2, 0).number(4, 0);
    let container = w()
        .bytes(1, "nginx")
        .bytes(2, "nginx")
        .bytes(5, "")
        .message(6, port)
        .message(8, resources)
        .message(10, probe)
        .message(15, security)
        .number(16, 0);
    let volume = w().bytes(1, "v").message(2, w().message(2, w().bytes(1, "")));
    let pod = w().message(1, volume).message(2, container).bytes(3, "");
    let template = w().message(1, w().message(11, w().bytes(1, "app").bytes(2, "web"))).message(2, pod);
    let rolling = w().message(1, w().number(1, 1).bytes(3, "25%"));
    let spec = w()
        .number(1, 0)
        .message(2, w().message(1, w().bytes(1, "app").bytes(2, "web")))
        .message(3, template)
        .message(4, w().bytes(1, "").message(2, rolling))
        .number(5, 0);
    let body = w()
        .message(1, metadata)
        .message(2, spec)
        .message(3, w().number(1, 0))
        .bytes(99, "unknown")
        .envelope("apps/v1", "Deployment");
    let value = protobuf(&body).expect("decodes");
    assert_eq!(
        value,
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"rollingUpdate": {"maxUnavailable": "25%"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {
                        "containers": [{
                            "name": "nginx", "image": "nginx",
                            "ports": [{"containerPort": 80, "protocol": "TCP"}],
                            "resources": {"limits": {"cpu": "500m"}},
                            "livenessProbe": {"httpGet": {"path": "/", "port": "http"}},
                            "securityContext": {"privileged": false, "runAsUser": 0},
                        }],
                        "volumes": [{"name": "v", "emptyDir": {}}],
                    },
                },
            },
            "status": {},
        })
    );
}

#[test]
fn protobuf_special_messages() {
    let lease = w()
        .message(2, w().bytes(1, "me").number(2, 15).message(4, w().number(1, 1_767_323_045).number(2, 5_000)))
        .envelope("coordination.k8s.io/v1", "Lease");
    let value = protobuf(&lease).expect("decodes");
    assert_eq!(
        value["spec"],
        json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "2026-01-02T03:04:05.000005Z"})
    );
    let secret = w().message(2, w().bytes(1, "a").bytes(2, b"abc")).bytes(3, "Opaque").envelope("v1", "Secret");
    assert_eq!(protobuf(&secret).expect("decodes")["data"], json!({"a": "YWJj"}));
    let options = w().number(1, 0).bytes(4, "Background").envelope("apps/v1", "DeleteOptions");
    assert_eq!(
        protobuf(&options).expect("decodes"),
        json!({"kind": "DeleteOptions", "apiVersion": "apps/v1", "gracePeriodSeconds": 0, "propagationPolicy": "Background"})
    );
    let review = w()
        .message(2, w().bytes(3, "u").message(5, w().bytes(1, "k").message(2, w().bytes(1, "v"))))
        .envelope("authorization.k8s.io/v1", "SubjectAccessReview");
    assert_eq!(protobuf(&review).expect("decodes")["spec"], json!({"user": "u", "extra": {"k": ["v"]}}));
    let security = w().message(2, w().message(14, w().bytes(4, [1, 2]))).envelope("v1", "Pod");
    assert_eq!(protobuf(&security).expect("decodes")["spec"]["securityContext"], json!({"supplementalGroups": [1, 2]}));
}

/// Go's zero time is nothing at all, zeros are the epoch; a time has whole seconds, a micro time whole microseconds.
#[test]
fn protobuf_times() {
    let lease = |created: Writer, renewed: Writer| {
        let message = w().message(1, w().message(8, created)).message(2, w().message(4, renewed));
        let read = protobuf(&message.envelope("coordination.k8s.io/v1", "Lease")).expect("decodes");
        (read["metadata"]["creationTimestamp"].clone(), read["spec"]["renewTime"].clone())
    };
    let at = |seconds: i64, nanos: i64| w().number(1, seconds.cast_unsigned()).number(2, nanos.cast_unsigned());
    assert_eq!(lease(w(), w()), (json!(null), json!(null)));
    for (seconds, nanos, time, micro) in [
        (0, 0, json!("1970-01-01T00:00:00Z"), json!("1970-01-01T00:00:00.000000Z")),
        (0, 7, json!("1970-01-01T00:00:00Z"), json!("1970-01-01T00:00:00.000000Z")),
        (-1, 500_001_999, json!("1969-12-31T23:59:59Z"), json!("1969-12-31T23:59:59.500001Z")),
        (-62_135_596_800, 999, json!(null), json!(null)),
        (-62_135_596_800, 1_000, json!(null), json!("0001-01-01T00:00:00.000001Z")),
    ] {
        assert_eq!(lease(at(seconds, nanos), at(seconds, nanos)), (time, micro), "{seconds} {nanos}");
    }
}

#[test]
fn managed_fields_that_are_no_json_are_no_object() {
    let map = |fields: &str| {
        let entry =
            w().bytes(1, "m").bytes(2, "Update").bytes(3, "v1").bytes(6, "FieldsV1").message(7, w().bytes(1, fields));
        let map = w().message(1, w().bytes(1, "n").message(17, entry)).envelope("v1", "ConfigMap");
        protobuf(&map).expect("decodes")["metadata"]["managedFields"][0]["fieldsV1"].clone()
    };
    assert_eq!(map(r#"{"f:data":{}}"#), json!({"f:data": {}}));
    assert!(map(r#"{"f:data":{}}{"trailing":"data"}"#).is_string());
}

#[test]
fn bad_protobuf_is_refused() {
    let check = |bytes: &[u8], part: &str| {
        let status = protobuf(bytes).expect_err("bad");
        assert_eq!(status.code, 400);
        assert!(status.message.contains(part), "{}", status.message);
    };
    check(b"nope", "magic");
    check(&w().envelope("v9", "Pod"), "no kind \"Pod\" is registered for version \"v9\"");
    let mut cut = w().message(1, w().bytes(1, "name")).envelope("v1", "Pod");
    cut.truncate(cut.len() - 8);
    check(&cut, "ends in the middle");
    for length in 0..40 {
        let noise: Vec<u8> =
            PROTOBUF_MAGIC.iter().copied().chain((0..length).map(|n: u8| n.wrapping_mul(37) ^ 0x5a)).collect();
        let _ = protobuf(&noise);
    }
}
