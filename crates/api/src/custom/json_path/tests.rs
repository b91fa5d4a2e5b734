//! Paths against the situations of upstream's `jsonpath_test.go`, and those of real definitions.

use serde_json::json;

use super::*;

fn check(path: &str, expected: Value) {
    let object = json!({
        "metadata": {"labels": {"x.io/name": "cluster", "x": {"io/name": "other"}}, "empty": null},
        "spec": {"size": 3, "list": ["a", "b", "c"], "a.b/c": "dotted", "on": true, "none": []},
        "status": {"conditions": [
            {"type": "Old", "status": "False"},
            {"type": "Ready", "status": "True", "n": 2, "deep": {"n": 7}},
            {"kind": "no type"},
        ]},
    });
    let parsed = JsonPath::parse(path).expect(path);
    assert_eq!(parsed.first(&object).cloned().unwrap_or_else(|| "-".into()), expected, "{path}");
}

#[test]
fn paths_lead_to_values() {
    check(".spec.size", json!(3));
    check("{.spec.size}", json!(3));
    check("$.spec['size']", json!(3));
    check(".spec.list[1]", json!("b"));
    check(".spec.list[-1]", json!("c"));
    check(".spec.list[5]", json!("-"));
    check(".spec.list[-4]", json!("-"));
    check(".spec.list[*]", json!("a"));
    check(".spec.list.*", json!("a"));
    check(".spec.none[*]", json!("-"));
    check(".spec[0]", json!("-"));
    check(".nope.size", json!("-"));
    check(".metadata.empty", json!(null));
    check(".metadata.empty.more[0]", json!("-"));
    check("..n", json!(2));
    check(".status..n", json!(2));
}

#[test]
fn dots_in_names_want_a_backslash_even_in_quotes() {
    check(r".spec.a\.b/c", json!("dotted"));
    check(r".metadata.labels['x\.io/name']", json!("cluster"));
    check(".metadata.labels['x.io/name']", json!("other"));
}

#[test]
fn lists_are_cut_into_slices_and_put_together() {
    check(".spec.list[1:]", json!("b"));
    check(".spec.list[:2]", json!("a"));
    check(".spec.list[-2:-1]", json!("b"));
    check(".spec.list[1:3:2]", json!("b"));
    check(".spec.list[0:3:0]", json!("-"));
    check(".spec.list[1:1]", json!("-"));
    check(".spec.list[1:9]", json!("-"));
    check(".spec.list[2,0]", json!("c"));
    check(".spec['nope', 'size']", json!(3));
}

#[test]
fn filters_compare_only_what_is_of_one_type() {
    check(r#".status.conditions[?(@.type=="Ready")].status"#, json!("True"));
    check(".status.conditions[?(@.type == 'Ready')].status", json!("True"));
    check(".status.conditions[?(@.type!='Old')].status", json!("True"));
    check(".status.conditions[?(@.type=='Gone')].status", json!("-"));
    check(".status.conditions[?(@.n>1)].type", json!("Ready"));
    check(".status.conditions[?(@.n)].type", json!("Ready"));
    check(".status.conditions[?(@.deep.n>=7)].type", json!("Ready"));
    check(".status.conditions[?(@.type==@.type)].status", json!("False"));
    check(".status.conditions[?(@.n>1.5)].type", json!("-"));
    check(".status.conditions[?(@.n!='x')].type", json!("-"));
    check(".status.conditions[?(@.type==Ready)].status", json!("-"));
    check(".status.conditions[?(@.type=='Ready')][0]", json!("-"));
    check(".status[?(@.type=='Ready')]", json!("-"));
}

#[test]
fn broken_paths_are_refused() {
    for path in
        ["spec", ".spec[", ".spec[x]", ".spec[\"x\"]", ".a[1:2:3:4]", ".a[?(@.b==1]", "....", ".a}", &".a".repeat(100)]
    {
        assert!(JsonPath::parse(path).is_err(), "{path}");
    }
    assert!(JsonPath::parse(".spec.size").expect("a path").is_plain());
    assert!(!JsonPath::parse(".spec.list[0]").expect("a path").is_plain());
}

#[test]
fn paths_do_not_multiply_without_end() {
    let path = JsonPath::parse(&"[0,0]".repeat(20)).expect("a path");
    let nested = (0..20).fold(json!(1), |below, _| json!([below]));
    assert_eq!(path.first(&nested), None);
}
