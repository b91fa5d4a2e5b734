use serde_json::json;

use super::*;
use crate::kinds;

#[test]
fn label_selectors_match() {
    let labels = json!({"a": "b", "n": "5", "e": ""});
    let labels = labels.as_object().expect("a map");
    let check = |text: &str, expected: bool| {
        let selector = LabelSelector::parse(text).expect("valid");
        assert_eq!(selector.matches(labels), expected, "{text}");
        assert_eq!(LabelSelector::parse(&selector.to_string()).as_ref(), Ok(&selector), "{text}");
    };
    for good in [
        "",
        "a",
        "a=b",
        "a==b",
        "a!=c",
        "x!=c",
        "!x",
        "a in (b,c)",
        "a notin (c)",
        "x notin (c)",
        "n>4",
        "n<6",
        "a=b,n",
        " a = b , !x ",
        "e=",
        "e in ()",
        "in!=x",
    ] {
        check(good, true);
    }
    for bad in ["x", "a=c", "!a", "a in (c)", "a notin (b)", "n>5", "x>1", "a=b,x", "a="] {
        check(bad, false);
    }
}

#[test]
fn label_selector_errors_are_upstreams() {
    let check = |text: &str, message: &str| assert_eq!(LabelSelector::parse(text), Err(message.to_owned()));
    check("=", "found '=', expected: !, identifier, or 'end of string'");
    check("a,", "found '', expected: identifier after ','");
    check("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
    check("a in b", "unable to parse requirement: found 'b' expected: '('");
    check("a in (b", "unable to parse requirement: found '', expected: ',' or ')'");
    check("a=b c", "found 'c', expected: ',' or 'end of string'");
    check("!", "unable to parse requirement: found '', expected: identifier");
    check(
        "a>x",
        "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
    );
    let message = LabelSelector::parse("a$=b").expect_err("bad key");
    assert!(
        message.starts_with("unable to parse requirement: <nil>: Invalid value: \"a$\": name part must consist of"),
        "{message}"
    );
    let message = LabelSelector::parse("a=-").expect_err("bad value");
    assert!(
        message.starts_with("unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be"),
        "{message}"
    );
}

#[test]
fn selector_objects() {
    let check = |selector: Value, text: &str, labels: Value, expected: bool| {
        let selector = LabelSelector::from_value(&selector).expect("valid");
        assert_eq!(selector.to_string(), text);
        assert_eq!(selector.matches(labels.as_object().expect("a map")), expected, "{text}");
    };
    let expressions = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["e", "d"]}, {"key": "f", "operator": "DoesNotExist"}]});
    check(expressions.clone(), "a=b,c in (d,e),!f", json!({"a": "b", "c": "d"}), true);
    check(expressions, "a=b,c in (d,e),!f", json!({"a": "b", "c": "d", "f": ""}), false);
    check(json!({}), "", json!({}), true);
    check(json!(null), "", json!({"a": "b"}), false);
    assert!(LabelSelector::from_value(&json!({"matchExpressions": [{"key": "a", "operator": "Near"}]})).is_err());
    assert!(!LabelSelector::from_map(&Object::new()).matches(&Object::new()));
}

#[test]
fn field_selectors() {
    let get = |path: &str| match path {
        "metadata.name" => Some("a,b"),
        "status.phase" => Some("Running"),
        _ => None,
    };
    let check = |text: &str, expected: bool| {
        assert_eq!(FieldSelector::parse(text).expect("valid").matches(get), expected, "{text}")
    };
    check("", true);
    check("metadata.name=a\\,b", true);
    check("metadata.name==a", false);
    check("status.phase!=Failed,status.phase!=Succeeded", true);
    check("spec.nodeName=", true);
    check("spec.nodeName!=", false);
    assert_eq!(FieldSelector::parse("a").expect_err("bad"), "invalid selector: 'a'; can't understand 'a'");
    assert!(FieldSelector::parse("a=b\\c").is_err());

    let pods = kinds::by_resource("", "v1", "pods").expect("served");
    let mut selector = FieldSelector::parse("spec.host=n").expect("valid");
    assert_eq!((selector.check(pods), selector.exact("spec.nodeName")), (Ok(()), Some("n")));
    assert_eq!(
        FieldSelector::parse("spec.foo=n").expect("valid").check(pods),
        Err("field label not supported: spec.foo".to_owned())
    );
    let mut selector = FieldSelector::parse("status.phase!=a,metadata.name=x,status.phase!=b").expect("valid");
    assert_eq!(selector.check(pods), Ok(()));
    let paths: Vec<&str> = selector.terms().iter().map(|term| term.path.as_str()).collect();
    assert_eq!(paths, ["metadata.name", "status.phase", "status.phase"]);
    let maps = kinds::by_resource("", "v1", "configmaps").expect("served");
    let message = FieldSelector::parse("data=n").expect("valid").check(maps).expect_err("unknown");
    assert_eq!(message, "\"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
}

#[test]
fn attack_long_selectors_take_no_more_than_their_length() {
    let values: Vec<String> = (0..300_000).map(|n| format!("v{n}")).collect();
    let selector = LabelSelector::parse(&format!("a in ({})", values.join(","))).expect("valid");
    assert!(values.iter().all(|value| selector.matches(json!({"a": value}).as_object().expect("a map"))));
    let bad = vec!["-"; 100_000];
    let message =
        LabelSelector::from_value(&json!({"matchExpressions": [{"key": "a", "operator": "In", "values": bad}]}));
    assert!(message.expect_err("bad values").len() < 100_000);
}
