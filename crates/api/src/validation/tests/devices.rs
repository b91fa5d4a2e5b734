//! Claims to devices, their statuses, and what drivers offer.

use serde_json::json;

use super::{check, check_update, kind, object, texts};
use crate::validation::status_update;
use crate::{Value, value};

const REFERENCE: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

fn exact(name: &str) -> Value {
    json!({"name": name, "exactly": {"deviceClassName": "c"}})
}

fn claim(devices: Value) -> Value {
    json!({"spec": {"devices": devices}})
}

#[test]
fn claims() {
    let full = "a fully qualified name must be a domain and a name separated by a slash";
    let odd = json!({"key": "", "operator": "Equal", "value": "-"});
    let label = crate::names::label_value("-").remove(0);
    let cases: Vec<(Value, Vec<String>)> = vec![
        (
            json!({"requests": [exact("a"), exact("a")]}),
            vec!["spec.devices.requests[1]: Duplicate value: \"a\"".to_owned()],
        ),
        (
            json!({"requests": [{"name": "a", "exactly": {"deviceClassName": "c"}, "firstAvailable": [{"name": "b", "deviceClassName": "c"}]}]}),
            vec![
                "spec.devices.requests[0]: Invalid value: \"null\": exactly one of `exactly` or `firstAvailable` is \
                 required, but multiple fields are set"
                    .to_owned(),
            ],
        ),
        (
            json!({"requests": [{"name": "a", "exactly": {"deviceClassName": "c", "tolerations": [odd]}}]}),
            vec![format!("spec.devices.requests[0].exactly.tolerations[0].value: Invalid value: \"-\": {label}")],
        ),
        (
            json!({"requests": [exact("a")], "constraints": [{"requests": ["a", "b"], "matchAttribute": "x"}]}),
            vec![
                format!("spec.devices.constraints[0].requests[1]: Invalid value: \"b\": {REFERENCE}"),
                format!("spec.devices.constraints[0].matchAttribute: Invalid value: \"x\": {full}"),
            ],
        ),
        (
            json!({"requests": [exact("a")], "constraints": [{"requests": ["a"]}]}),
            vec![
                "spec.devices.constraints[0]: Required value: exactly one of \"matchAttribute\" or \"distinctAttribute\" is \
                 required, but multiple fields are set"
                    .to_owned(),
            ],
        ),
        (
            json!({"requests": [exact("a")], "config": [{"opaque": {"driver": "d", "parameters": []}}]}),
            vec![
                "spec.devices.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object"
                    .to_owned(),
            ],
        ),
        (
            json!({"requests": vec![json!({}); 33]}),
            vec!["spec.devices.requests: Too many: 33: must have at most 32 items".to_owned()],
        ),
    ];
    for (devices, expected) in cases {
        check("ResourceClaim", claim(devices), &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
    // Of an update only the change is told.
    let new = object("ResourceClaim", claim(json!({"requests": [{"name": "A"}]})));
    let old = object("ResourceClaim", claim(json!({"requests": [exact("a")]})));
    let errors = texts(&crate::validation::update(kind("ResourceClaim"), &new, &old));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].ends_with("field is immutable"), "{errors:?}");
    for (name, fine) in [("a.b/c", true), ("cpu", false), ("kubernetes.io/x", false), ("requests.a/b", false)] {
        let told =
            format!("spec.extendedResourceName: Invalid value: \"{name}\": must be a valid extended resource name");
        let expected: &[&str] = if fine { &[] } else { &[&told] };
        check("DeviceClass", json!({"spec": {"extendedResourceName": name}}), expected);
    }
}

#[test]
fn allocations() {
    let of = |status: Value| {
        let mut claim = object("ResourceClaim", claim(json!({"requests": [exact("a")]})));
        value::set(&mut claim, "status", status);
        claim
    };
    let result = |request: &str| json!({"request": request, "driver": "d", "pool": "p", "device": "x"});
    let allocated = |request: &str| json!({"devices": {"results": [result(request)]}});
    let told = format!("status.allocation.devices.results[0].request: Invalid value: \"b\": {REFERENCE}");
    let consumer = json!({"resource": "pods", "name": "p", "uid": "u"});
    for (status, expected) in [
        (json!({"allocation": allocated("a"), "reservedFor": [consumer]}), vec![]),
        (json!({"allocation": allocated("b")}), vec![told.as_str()]),
        (
            json!({"allocation": {"devices": {"config": [{"source": "x", "opaque": {"driver": "d", "parameters": {}}}]}}}),
            vec![
                "status.allocation.devices.config[0].source: Unsupported value: \"x\": supported values: \"FromClaim\", \
                 \"FromClass\"",
            ],
        ),
        (json!({"allocation": allocated("a"), "devices": [{"driver": "d", "pool": "p", "device": "x"}]}), vec![]),
        (
            json!({"allocation": allocated("a"), "devices": [{"driver": "d", "pool": "p", "device": "y", "data": 1}]}),
            vec![
                "status.devices[0]: Invalid value: {\"Driver\":\"d\",\"Pool\":\"p\",\"Device\":\"y\",\"ShareID\":\"\"}: must be an allocated \
                 device in the claim",
                "status.devices[0].data: Invalid value: \"<value omitted>\": must be a valid JSON object",
            ],
        ),
        (
            json!({"allocation": allocated("a"), "devices": [{"driver": "d", "pool": "p", "device": "x",
                "networkData": {"ips": ["10.0.0.1/24", "10.0.0.1", "2001:DB8::1/64", "10.0.0.1/24"]}}]}),
            vec![
                "status.devices[0].networkData.ips[1]: Invalid value: \"10.0.0.1\": must be a valid address in CIDR form, \
                 (e.g. 10.9.8.7/24 or 2001:db8::1/64)",
                "status.devices[0].networkData.ips[2]: Invalid value: \"2001:DB8::1/64\": must be in canonical form \
                 (\"2001:db8::1/64\")",
                "status.devices[0].networkData.ips[3]: Duplicate value: \"10.0.0.1/24\"",
            ],
        ),
        (
            json!({"allocation": allocated("a"), "reservedFor": [consumer, consumer]}),
            vec!["status.reservedFor[1]: Duplicate value: \"u\""],
        ),
    ] {
        let errors = status_update(kind("ResourceClaim"), &of(status), &of(json!({})));
        assert_eq!(texts(&errors), expected);
    }
}

/// Each share has an identifier of its own, in the one form that compares as text.
#[test]
fn shares_of_devices_have_uuids() {
    let normal = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase \
        hexadecimal characters";
    let plain = "a671734a-e8e5-11e4-8fde-42010af09327";
    for (id, told) in [
        (plain.to_owned(), String::new()),
        (plain.to_uppercase(), normal.to_owned()),
        (format!("urn:uuid:{plain}"), normal.to_owned()),
        (format!("{{{plain}}}"), normal.to_owned()),
        (plain.replace('-', ""), normal.to_owned()),
        (format!("urn+uuid:{plain}"), "error validating uid: invalid urn prefix: \"urn+uuid:\"".to_owned()),
        (format!("[{plain}]"), "error validating uid: invalid bracketed UUID format".to_owned()),
        (plain.replace('-', "_"), "error validating uid: invalid UUID format".to_owned()),
        ("x".to_owned(), "error validating uid: invalid UUID length: 1".to_owned()),
    ] {
        let device = json!({"driver": "d", "pool": "p", "device": "x", "shareID": id});
        let mut result = device.clone();
        result["request"] = "a".into();
        let mut new = object("ResourceClaim", claim(json!({"requests": [exact("a")]})));
        let old = new.clone();
        value::set(&mut new, "status", json!({"allocation": {"devices": {"results": [result]}}, "devices": [device]}));
        let errors = texts(&status_update(kind("ResourceClaim"), &new, &old));
        let places = ["status.devices[0]", "status.allocation.devices.results[0]"];
        let expected = places.map(|at| format!("{at}.shareID: Invalid value: {id:?}: {told}"));
        assert_eq!(errors, if told.is_empty() { &[][..] } else { &expected[..] }, "{id}");
    }
}

#[test]
fn conditions_of_devices() {
    let condition = |change: Value| {
        let mut condition =
            json!({"type": "Ready", "status": "True", "reason": "Made", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        condition.as_object_mut().expect("a map").extend(change.as_object().expect("a map").clone());
        condition
    };
    let reason = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric \
        characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  \
        or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";
    for (conditions, expected) in [
        (json!([condition(json!({}))]), vec![]),
        (
            json!([condition(json!({"reason": "A,b:c_"})), condition(json!({}))]),
            vec![".conditions[1].type: Duplicate value: \"Ready\"".to_owned()],
        ),
        (
            json!([condition(json!({"reason": "a:"}))]),
            vec![format!(".conditions[0].reason: Invalid value: \"a:\": {reason}")],
        ),
        (
            json!([condition(
                json!({"status": "Yes", "observedGeneration": -1, "lastTransitionTime": null, "reason": "", "message": "m".repeat(32769)})
            )]),
            vec![
                ".conditions[0].status: Unsupported value: \"Yes\": supported values: \"False\", \"True\", \"Unknown\""
                    .to_owned(),
                ".conditions[0].observedGeneration: Invalid value: -1: must be greater than or equal to zero"
                    .to_owned(),
                ".conditions[0].lastTransitionTime: Required value: must be set".to_owned(),
                ".conditions[0].reason: Required value: must be set".to_owned(),
                ".conditions[0].message: Too long: may not be more than 32768 bytes".to_owned(),
            ],
        ),
        (
            (0..9).map(|index| condition(json!({"type": format!("C{index}")}))).collect(),
            vec![".conditions: Too many: 9: must have at most 8 items".to_owned()],
        ),
    ] {
        let device = json!({"driver": "d", "pool": "p", "device": "x", "conditions": conditions});
        let result = json!({"request": "a", "driver": "d", "pool": "p", "device": "x"});
        let mut new = object("ResourceClaim", claim(json!({"requests": [exact("a")]})));
        let old = new.clone();
        value::set(&mut new, "status", json!({"allocation": {"devices": {"results": [result]}}, "devices": [device]}));
        let errors = texts(&status_update(kind("ResourceClaim"), &new, &old));
        assert_eq!(errors, expected.iter().map(|told| format!("status.devices[0]{told}")).collect::<Vec<_>>());
    }
}

/// What is said of a name that is no DNS label.
fn label_told(at: &str, name: &str) -> String {
    let why = crate::names::dns_label(name).join("; ");
    format!("{at}: Invalid value: \"{name}\": {why}")
}

fn with(more: Value) -> Value {
    let mut slice = json!({"spec": {"driver": "a.b", "pool": {"name": "p", "resourceSliceCount": 1}}});
    slice["spec"].as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
    slice
}

/// A slice of one device.
fn one(device: Value) -> Value {
    with(json!({"allNodes": true, "devices": [device]}))
}

#[test]
fn slices() {
    let cases: &[(Value, &[&str])] = &[
        (with(json!({"nodeName": "n"})), &[]),
        (
            with(json!({"nodeName": "n", "allNodes": true})),
            &[
                "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, `allNodes`, \
               `perDeviceNodeSelection` is required, but multiple fields are set",
            ],
        ),
        (
            with(json!({"allNodes": true, "sharedCounters": [{"name": "c", "counters": {"m": {"value": "1"}}}],
                "devices": [{"name": "d"}]})),
            &["spec: Invalid value: \"\": only one of `sharedCounters` or `devices` is allowed"],
        ),
        (
            with(json!({"allNodes": true, "devices": [{"name": "d"}, {"name": "d"}]})),
            &["spec.devices[1]: Duplicate value: \"d\""],
        ),
        (
            one(
                json!({"name": "d", "attributes": {"a": {}, "b": {"version": "1.0"}, "c": {"version": "1.0.0-a.1+b"}}}),
            ),
            &[
                "spec.devices[0].attributes[a]: Invalid value: \"\": exactly one value must be specified",
                "spec.devices[0].attributes[b].version: Invalid value: \"1.0\": must be a string compatible with \
                 semver.org spec 2.0.0",
            ],
        ),
        (
            one(json!({"name": "d", "nodeName": "n"})),
            &[
                "spec.devices[0]: Invalid value: \"null\": `nodeName`, `nodeSelector` and `allNodes` can only be set if \
               `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
            ],
        ),
        (
            with(json!({"perDeviceNodeSelection": true, "devices": [{"name": "d"}]})),
            &[
                "spec.devices[0]: Required value: exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
               `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
            ],
        ),
        (
            with(json!({"allNodes": true, "pool": {"name": "p", "resourceSliceCount": 1, "generation": -1}})),
            &["spec.pool.generation: Invalid value: -1: must be greater than or equal to zero"],
        ),
    ];
    for (slice, expected) in cases {
        check("ResourceSlice", slice.clone(), expected);
    }
    check_update(
        "ResourceSlice",
        with(json!({"nodeName": "m"})),
        with(json!({"nodeName": "n"})),
        &["spec.nodeName: Invalid value: \"m\": field is immutable"],
    );
}

#[test]
fn counters_and_conditions_of_bindings() {
    let cases: &[(Value, &[&str])] = &[
        (
            with(
                json!({"allNodes": true, "sharedCounters": [{"name": "c"}, {"name": "C", "counters": {"m_": {"value": "1"}}},
                {"name": "d", "counters": {"m": {"value": "1"}}}, {"name": "d", "counters": {"m": {"value": "1"}}}]}),
            ),
            &[
                "spec.sharedCounters[0].counters: Required value",
                &label_told("spec.sharedCounters[1].name", "C"),
                &label_told("spec.sharedCounters[1].counters[m_]", "m_"),
                "spec.sharedCounters[3]: Duplicate value: \"d\"",
            ],
        ),
        (
            one(json!({"name": "d", "consumesCounters": [{}, {"counterSet": "c", "counters": {"m": {"value": "1"}}}]})),
            &[
                "spec.devices[0].consumesCounters[0].counterSet: Required value",
                "spec.devices[0].consumesCounters[0].counters: Required value",
            ],
        ),
        (
            one(json!({"name": "d", "bindingConditions": ["a.b/c", "a.b/c"], "bindingFailureConditions": ["a.b/c"]})),
            &[
                "spec.devices[0].bindingConditions[1]: Duplicate value: \"a.b/c\"",
                "spec.devices[0].bindingFailureConditions[0]: Invalid value: \"a.b/c\": bindingFailureConditions must not \
                 overlap with bindingConditions",
            ],
        ),
        (
            one(json!({"name": "d", "bindingConditions": ["a.b/c"]})),
            &[
                "spec.devices[0].bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to \
               use bindingConditions",
            ],
        ),
    ];
    for (slice, expected) in cases {
        check("ResourceSlice", slice.clone(), expected);
    }
}

#[test]
fn policies_of_capacities() {
    let capacity = |shared: bool, policy: Value| {
        let capacity = json!({"m": {"value": "8Gi", "requestPolicy": policy}});
        one(json!({"name": "d", "allowMultipleAllocations": shared, "capacity": capacity}))
    };
    let range = |min: &str, max: &str, step: &str| json!({"min": min, "max": max, "step": step});
    for (slice, at, told) in [
        (capacity(true, json!({"default": "2Gi", "validRange": range("1Gi", "8Gi", "1Gi")})), "", ""),
        (capacity(true, json!({"default": "2Gi", "validValues": ["1Gi", "2Gi"]})), "", ""),
        (capacity(false, json!({})), "", "Forbidden: allowMultipleAllocations must be true"),
        (
            capacity(true, json!({"validValues": ["1Gi"]})),
            ".default",
            "Required value: required when validValues is defined",
        ),
        (
            capacity(true, json!({"default": "1Gi", "validValues": ["1Gi", "9Gi"]})),
            ".validValues[1]",
            "Invalid value: \"9Gi\": option is larger than capacity value: 8Gi",
        ),
        (
            capacity(true, json!({"default": "3Gi", "validValues": ["1Gi"]})),
            ".validValues",
            "Invalid value: \"3Gi\": default value is not valid according to the requestPolicy",
        ),
        (
            capacity(true, json!({"default": "3Gi", "validRange": range("1Gi", "5Gi", "4Gi")})),
            ".validRange.step",
            "Invalid value: \"3Gi\": value is not a multiple of a given step (4Gi) from (1Gi)",
        ),
        (
            capacity(true, json!({"default": "1Gi", "validRange": range("1Gi", "9Gi", "2Gi")})),
            ".validRange.max",
            "Invalid value: \"9Gi\": max is larger than capacity value: 8Gi",
        ),
    ] {
        let told = if told.is_empty() {
            vec![]
        } else {
            vec![format!("spec.devices[0].capacity[m].requestPolicy{at}: {told}")]
        };
        check("ResourceSlice", slice, &told.iter().map(String::as_str).collect::<Vec<_>>());
    }
}
