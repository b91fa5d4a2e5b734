//! What containers and pods have of what.

use serde_json::json;

use super::pods::{pod, with};
use super::{check, check_update};
use crate::Value;

#[test]
fn resources_of_containers() {
    // In a template requests are not filled in.
    let at = "template.spec.containers[0].resources";
    let of = |limits: Value| json!({"template": with(json!({"resources": {"limits": limits}}))});
    check(
        "PodTemplate",
        of(json!({"cpu": "1", "hugepages-2Mi": "4Mi", "ephemeral-storage": "1Gi", "a.b/c": "2"})),
        &[],
    );
    let whole = "must be a standard resource type or fully qualified";
    let own = "must be a standard resource for containers";
    for (name, amount, expected) in [
        ("cpus", "1", vec![format!("\"cpus\": {whole}"), format!("\"cpus\": {own}")]),
        ("storage", "1", vec![format!("\"storage\": {own}")]),
        ("a.b/c", "1500m", vec!["\"1500m\": must be an integer".to_owned()]),
        (
            "a.b/c",
            "-1500m",
            vec![
                "\"-1500m\": must be greater than or equal to 0".to_owned(),
                "\"-1500m\": must be an integer".to_owned(),
            ],
        ),
        ("hugepages-2Mi", "3Mi", vec!["\"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi".to_owned()]),
        ("hugepages-x", "3Mi", vec!["\"3Mi\": 3Mi is not positive integer multiple of hugepages-x".to_owned()]),
    ] {
        let expected: Vec<_> = expected.iter().map(|e| format!("{at}.limits[{name}]: Invalid value: {e}")).collect();
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        check("PodTemplate", of(json!({"memory": "1Gi", name: amount})), &expected);
    }
    check(
        "Pod",
        pod(json!({"overhead": {"cpus": "1"}})),
        &[
            &format!("spec.overhead.limits[cpus]: Invalid value: \"cpus\": {whole}"),
            &format!("spec.overhead.limits[cpus]: Invalid value: \"cpus\": {own}"),
        ],
    );
    check(
        "RuntimeClass",
        json!({"handler": "h", "overhead": {"podFixed": {"hugepages-2Mi": "2Mi"}}}),
        &["overhead: Forbidden: HugePages require cpu or memory"],
    );
}

/// Amounts of huge pages that were let in before stay.
#[test]
fn huge_pages_that_were_there() {
    let set = |pages: &str, image: &str| {
        let limits = json!({"cpu": "1", "hugepages-2Mi": pages});
        let container = json!({"name": "c", "image": image, "resources": {"limits": limits}});
        json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]},
        }}})
    };
    check_update("Deployment", set("3Mi", "b"), set("3Mi", "a"), &[]);
    let at = "spec.template.spec.containers[0].resources";
    let why = "Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi";
    check_update("Deployment", set("3Mi", "b"), set("2Mi", "a"), &[&format!("{at}.limits[hugepages-2Mi]: {why}")]);
}

#[test]
fn resources_of_whole_pods() {
    let at = "spec.resources";
    let of = |whole: Value, own: Value| {
        pod(json!({"resources": whole, "containers": [{"name": "c", "image": "i", "resources": own}]}))
    };
    let fine = json!({"requests": {"cpu": "2"}, "limits": {"cpu": "2", "memory": "1Gi", "hugepages-2Mi": "2Mi"}});
    check("Pod", of(fine.clone(), json!({"limits": {"cpu": "1"}})), &[]);
    check(
        "Pod",
        of(
            json!({"limits": {"a.b/c": "1", "ephemeral-storage": "1Gi", "gpus": "1"}, "claims": [{"name": "x"}]}),
            json!({}),
        ),
        &[
            &format!("{at}.claims: Forbidden: claims cannot be set for Resources at pod-level"),
            &format!(
                "{at}.limits[a.b/c]: Unsupported value: \"a.b/c\": supported values: \"cpu\", \"hugepages-\", \"memory\""
            ),
            &format!(
                "{at}.limits[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: \"cpu\", \
                 \"hugepages-\", \"memory\""
            ),
            &format!("{at}.limits[gpus]: Invalid value: \"gpus\": must be a standard resource type or fully qualified"),
        ],
    );
    let pages = json!({"requests": {"cpu": "3"}, "limits": {"cpu": "3", "hugepages-2Mi": "4Mi"}});
    check(
        "Pod",
        of(fine, pages),
        &[
            &format!(
                "{at}.requests[cpu]: Invalid value: \"2\": must be greater than or equal to aggregate container requests of 3"
            ),
            &format!(
                "{at}.requests[hugepages-2Mi]: Invalid value: \"2Mi\": must be greater than or equal to aggregate container \
                 requests of 4Mi"
            ),
            &format!(
                "{at}.limits[hugepages-2Mi]: Invalid value: \"2Mi\": must be greater than or equal to aggregate container \
                 limits of 4Mi"
            ),
            &format!(
                "{at}.containers[0][cpu].limits: Invalid value: \"3\": must be less than or equal to pod limits of 2"
            ),
            &format!(
                "{at}.containers[0][hugepages-2Mi].limits: Invalid value: \"4Mi\": must be less than or equal to pod limits of 2Mi"
            ),
        ],
    );
    let mut windows = of(json!({"limits": {"cpu": "1"}}), json!({}));
    windows["spec"]["os"] = json!({"name": "windows"});
    check("Pod", windows, &[&format!("{at}: Forbidden: may not be set for a windows pod")]);
}
