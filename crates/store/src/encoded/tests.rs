use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn check(stored: &str, rv: u64, expected: &str) {
    let encoded = Encoded::from_json(stored.as_bytes(), 1).unwrap();
    assert_eq!(encoded.to_bytes(rv), expected.as_bytes(), "{stored}");
    assert!(encoded.head().ends_with(VERSION_MEMBER) && encoded.tail().starts_with(b"\""));
    let value: serde_json::Value = serde_json::from_slice(encoded.json()).unwrap();
    assert_eq!(value["metadata"]["resourceVersion"], "", "the whole is valid JSON");
}

#[test]
fn the_version_goes_to_its_sorted_place() {
    check(
        r#"{"kind":"Pod","metadata":{"name":"a","uid":"u"},"spec":{}}"#,
        7,
        r#"{"kind":"Pod","metadata":{"name":"a","resourceVersion":"7","uid":"u"},"spec":{}}"#,
    );
    check(r#"{"metadata":{"name":"a"}}"#, 1, r#"{"metadata":{"name":"a","resourceVersion":"1"}}"#);
    check(
        r#"{"metadata":{"annotations":{"uid":"}","z":"\"}"},"name":"a","selfLink":"x"}}"#,
        u64::MAX,
        r#"{"metadata":{"annotations":{"uid":"}","z":"\"}"},"name":"a","resourceVersion":"18446744073709551615","selfLink":"x"}}"#,
    );
}

#[test]
fn a_stored_version_is_replaced() {
    check(
        r#"{"metadata":{"name":"a","resourceVersion":"3","uid":"u"}}"#,
        12,
        r#"{"metadata":{"name":"a","resourceVersion":"12","uid":"u"}}"#,
    );
    check(r#"{"metadata":{"resourceVersion":"","name":"a"}}"#, 9, r#"{"metadata":{"resourceVersion":"9","name":"a"}}"#);
}

#[test]
fn the_peek_holds_what_selectors_need() {
    let stored = r#"{"metadata":{"creationTimestamp":"2026-01-01T00:00:00Z","deletionTimestamp":"2026-01-02T00:00:00Z",
        "finalizers":["x"],"generation":3,"labels":{"b":"2","a":"\u0031"},"name":"n","namespace":"ns","uid":"u"},
        "spec":{"nodeName":"n1","hostNetwork":true,"replicas":3,"x":null,"odd":"a\nb"}}"#;
    let encoded = Encoded::from_json(stored.as_bytes(), 5).unwrap();
    let meta = encoded.meta();
    assert_eq!((&*meta.namespace, &*meta.name, &*meta.uid, meta.generation), ("ns", "n", "u", 3));
    assert_eq!(meta.deletion_timestamp.as_deref(), Some("2026-01-02T00:00:00Z"));
    assert!(meta.has_finalizers);
    assert_eq!((meta.label("a"), meta.label("b"), meta.label("c")), (Some("1"), Some("2"), None));
    let field = |path: &[&str]| encoded.scalar_at(path).map(Cow::into_owned);
    assert_eq!(field(&["spec", "nodeName"]).as_deref(), Some("n1"));
    assert_eq!(field(&["spec", "hostNetwork"]).as_deref(), Some("true"));
    assert_eq!(field(&["spec", "replicas"]).as_deref(), Some("3"));
    assert_eq!(field(&["spec", "odd"]).as_deref(), Some("a\nb"));
    assert_eq!((field(&["spec", "x"]), field(&["spec"]), field(&["status", "phase"])), (None, None, None));
}

#[test]
fn fields_are_found_before_and_behind_the_metadata_and_in_it() {
    let check = |encoded: &Encoded| {
        let field = |path: &[&str]| encoded.scalar_at(path).map(Cow::into_owned);
        for (path, expected) in [
            (&["apiVersion"][..], Some("v1")),
            (&["metadata", "name"], Some("a")),
            (&["metadata", "uid"], Some("u")),
            (&["metadata", "spec"], None),
            (&["spec", "a"], Some("1")),
            (&["spec", "a-name-that-is-longer-than-most"], Some("text that is longer than most \" \\ and has escapes")),
            (&["spec", "none"], None),
            (&["status"], None),
        ] {
            assert_eq!(field(path).as_deref(), expected, "{path:?} of {:?}", encoded.json());
        }
    };
    let (metadata, spec) = (
        json!({"name": "a", "uid": "u", "annotations": {"spec": "no"}}),
        json!({"a": 1, "a-name-that-is-longer-than-most": "text that is longer than most \" \\ and has escapes"}),
    );
    check(&Draft::new(&json!({"apiVersion": "v1", "metadata": metadata, "spec": spec})).unwrap().written(3).unwrap());
    for stored in [
        format!(r#"{{"apiVersion":"v1","metadata":{metadata},"spec":{spec}}}"#),
        format!(r#" {{ "spec" : {spec} , "apiVersion" : "v1" , "metadata" : {metadata} }} "#),
        format!(r#"{{"metadata":{metadata},"apiVersion":"v1","spec":{spec}}}"#),
    ] {
        check(&Encoded::from_json(stored.as_bytes(), 3).unwrap());
    }
}

#[test]
fn what_cannot_be_served_is_refused() {
    let refused = |stored: &[u8]| Encoded::from_json(stored, 1).unwrap_err();
    assert!(matches!(refused(b"{\"metadata\":{\"name\":\"\xff\"}}"), Error::NotText { .. }));
    assert!(matches!(refused(b"k8s\0"), Error::NotJson { .. }));
    assert!(matches!(refused(br#"{"metadata":{"name":"a"}"#), Error::NotJson { .. }), "cut off");
    assert!(matches!(refused(br#"{"metadata":{"name":"a"}} x"#), Error::NotJson { .. }), "something after it");
    assert!(matches!(refused(br#"{"kind":"Pod"}"#), Error::NotJson { .. }), "no metadata");
    assert!(matches!(refused(br#"{"metadata":{"name":1}}"#), Error::Metadata { .. }));
    assert!(matches!(refused(br#"{"metadata":{}}"#), Error::NoName));
    assert!(matches!(refused(br#"{"metadata":{"name":""}}"#), Error::NoName));
}

/// Any JSON, with keys and texts that need escapes.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z\"\\\\{}\\[\\]:,\n\u{e9}]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\]{0,6}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    let extra = prop::collection::btree_map("[a-z]{1,6}|resourceVersion|selfLink|uid", any_json(), 0..5);
    (extra, any_json(), any_json()).prop_map(|(extra, spec, status)| {
        let mut metadata: Map<String, Value> = extra.into_iter().collect();
        for member in ["namespace", "uid", "generation", "labels", "finalizers"] {
            metadata.remove(member);
        }
        metadata.insert("name".to_owned(), "x".into());
        json!({"apiVersion": "v1", "metadata": metadata, "spec": spec, "status": status})
    })
}

proptest! {
    #[test]
    fn any_object_gets_exactly_its_version(object in any_object(), rv in 1..=u64::MAX, pretty in any::<bool>()) {
        let stored = if pretty { serde_json::to_vec_pretty(&object) } else { serde_json::to_vec(&object) }.unwrap();
        let encoded = Encoded::from_json(&stored, 1).unwrap();
        let draft = Draft::new(&object).unwrap();
        prop_assert_eq!(&**draft.json(), &*serde_json::to_vec(&object).unwrap());
        let compact = Encoded::from_json(draft.json(), 1).unwrap();
        let drafted = draft.written(1).unwrap();
        prop_assert_eq!((drafted.json(), drafted.split, drafted.meta()), (compact.json(), compact.split, compact.meta()));
        let mut expected = object;
        expected["metadata"]["resourceVersion"] = rv.to_string().into();
        let found: Value = serde_json::from_slice(&encoded.to_bytes(rv)).unwrap();
        prop_assert_eq!(&found, &expected);
        if !pretty {
            prop_assert_eq!(&*encoded.to_bytes(rv), &*serde_json::to_vec(&expected).unwrap(), "keys stay sorted");
        }
        let found: Value = serde_json::from_slice(&encoded.to_bytes(0)).unwrap();
        let mut without = expected.clone();
        without["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        prop_assert_eq!(&found, &without, "no version at all");
        for (key, value) in expected.as_object().unwrap() {
            let scalar = encoded.scalar_at(&[key]).map(Cow::into_owned);
            let wanted = match value {
                Value::String(text) => Some(text.clone()),
                Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
                _ => None,
            };
            prop_assert_eq!(scalar, wanted, "{}", key);
        }
    }
}

proptest! {
    #[test]
    fn a_member_given_as_text_goes_where_it_belongs(object in any_object(), name in "[a-q]{1,3}|r", value in any_json()) {
        let mut object = object;
        object["metadata"].as_object_mut().unwrap().remove(&name);
        let drafted = Draft::with(&object, Some((&name, value.to_string().as_bytes()))).unwrap().written(3).unwrap();
        object["metadata"][&name] = value;
        let expected = Draft::new(&object).unwrap().written(3).unwrap();
        prop_assert_eq!((drafted.json(), drafted.split), (expected.json(), expected.split));
    }
}

#[test]
fn without_a_version_none_is_shown() {
    let check = |json: &str, expected: &str| {
        let encoded = Encoded::from_json(json.as_bytes(), 7).expect("valid");
        assert_eq!(encoded.to_bytes(0), expected.as_bytes(), "{json}");
        assert!(encoded.to_bytes(1).windows(20).any(|w| w == b"resourceVersion\":\"1\""), "{json}");
    };
    check(r#"{"metadata":{"name":"a"}}"#, r#"{"metadata":{"name":"a"}}"#);
    check(r#"{"metadata":{"name":"a","uid":"u"},"x":1}"#, r#"{"metadata":{"name":"a","uid":"u"},"x":1}"#);
    check(r#"{"metadata":{"name":"a","resourceVersion":"3","uid":"u"}}"#, r#"{"metadata":{"name":"a","uid":"u"}}"#);
}

#[test]
fn a_draft_knows_what_selectors_need() {
    let object = json!({"kind": "Pod", "metadata": {
        "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z", "finalizers": ["x"],
        "generation": 3, "labels": {"b": "2", "a": "1"}, "name": "n", "namespace": "ns", "uid": "u",
    }});
    let read = Encoded::from_json(object.to_string().as_bytes(), 5).unwrap();
    let drafted = Draft::new(&object).unwrap().written(5).unwrap();
    assert_eq!((drafted.json(), drafted.meta(), drafted.rv()), (read.json(), read.meta(), 5));
    for nameless in [json!({}), json!(1), json!({"metadata": {}}), json!({"metadata": {"name": ""}})] {
        assert!(matches!(Draft::new(&nameless), Err(Error::NoName)), "{nameless}");
    }
}
