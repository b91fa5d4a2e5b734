//! Security contexts, operating systems, annotations and smaller fields of pods.

use serde_json::json;

use super::pods::{pod, with};
use super::{SUBDOMAIN, check, check_update};
use crate::Value;

#[test]
fn security_contexts() {
    let context = |context: Value, more: Value| {
        let mut all = json!({"securityContext": context});
        all.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        pod(all)
    };
    let at = "spec.securityContext";
    let cases: [(Value, &[&str]); 9] = [
        (
            context(
                json!({"sysctls": [{"name": "net.core.somaxconn"}, {"name": "kernel/shmmax"}]}),
                json!({"hostNetwork": true, "hostIPC": true}),
            ),
            &[
                "sysctls[0].name: Invalid value: \"net.core.somaxconn\": may not be specified when 'hostNetwork' is true",
                "sysctls[1].name: Invalid value: \"kernel/shmmax\": may not be specified when 'hostIPC' is true",
            ],
        ),
        (context(json!({"seLinuxChangePolicy": "Recursive"}), json!({})), &[]),
        (
            context(json!({"seLinuxChangePolicy": "MountOption"}), json!({})),
            &["seLinuxChangePolicy: Unsupported value: \"MountOption\": supported values: \"Recursive\""],
        ),
        (
            context(json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "../x"}}), json!({})),
            &["seccompProfile.localhostProfile: Invalid value: \"../x\": must not contain '..'"],
        ),
        (
            context(json!({"seccompProfile": {}, "appArmorProfile": {}}), json!({})),
            &[
                "seccompProfile.type: Required value: type is required when seccompProfile is set",
                "appArmorProfile.type: Required value: type is required when appArmorProfile is set",
            ],
        ),
        (
            context(json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": " x"}}), json!({})),
            &["appArmorProfile.localhostProfile: Invalid value: \" x\": must not be padded with whitespace"],
        ),
        (
            context(json!({"windowsOptions": {}}), json!({"os": {"name": "linux"}})),
            &["windowsOptions: Forbidden: windows options cannot be set for a linux pod"],
        ),
        (
            context(json!({"fsGroup": 1, "seLinuxOptions": {}}), json!({"os": {"name": "windows"}})),
            &[
                "seLinuxOptions: Forbidden: cannot be set for a windows pod",
                "fsGroup: Forbidden: cannot be set for a windows pod",
            ],
        ),
        (context(json!({}), json!({"hostUsers": false})), &[]),
    ];
    for (object, expected) in cases {
        let expected: Vec<String> = expected.iter().map(|e| format!("{at}.{e}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check("Pod", object, &expected);
    }
}

#[test]
fn users_and_systems() {
    check(
        "Pod",
        pod(json!({"hostUsers": false, "hostPID": true, "os": {"name": "plan9"}})),
        &[
            "spec.HostPID: Forbidden: when `pod.Spec.HostUsers` is false",
            "spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\"",
        ],
    );
    check(
        "Pod",
        with(json!({"securityContext": {"procMount": "Unmasked"}})),
        &[
            "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use \
           `Unmasked`",
        ],
    );
}

#[test]
fn annotations_that_mean_something() {
    let annotated = |key: &str, value: &str| {
        let mut pod = pod(json!({}));
        pod["metadata"] = json!({"name": "x", "namespace": "default", "annotations": {key: value}});
        pod
    };
    let (cost, armor) =
        ("controller.kubernetes.io/pod-deletion-cost", "container.apparmor.security.beta.kubernetes.io/");
    let mirror = "kubernetes.io/config.mirror";
    let at = |key: &str| format!("metadata.annotations[{key}]");
    check("Pod", annotated(cost, "-5"), &[]);
    for wrong in ["x", "+5", "05", "3000000000"] {
        check(
            "Pod",
            annotated(cost, wrong),
            &[&format!("{}: Invalid value: {wrong:?}: must be a 32bit integer", at(cost))],
        );
    }
    check(
        "Pod",
        annotated(mirror, "x"),
        &[&format!("{}: Invalid value: \"x\": must set spec.nodeName if mirror pod annotation is set", at(mirror))],
    );
    let other = format!("{armor}z");
    check(
        "Pod",
        annotated(&other, "mine"),
        &[
            &format!("{}: Invalid value: \"z\": container not found", at(&other)),
            &format!("{}: Invalid value: \"mine\": invalid AppArmor profile name: \"mine\"", at(&other)),
        ],
    );
    let own = format!("{armor}c");
    check_update(
        "Pod",
        annotated(&own, "unconfined"),
        annotated("a", "b"),
        &[&format!("{}: Forbidden: may not add AppArmor annotations", at(&own))],
    );
    check_update("Pod", annotated(cost, "x"), annotated(cost, "y"), &[]);
}

#[test]
fn small_fields_as_upstream_has_them() {
    check("Pod", pod(json!({"imagePullSecrets": [{}]})), &[]);
    check(
        "Pod",
        pod(json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i",
            "ports": [{"containerPort": 80, "hostPort": 81}]}]})),
        &["spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is \
           true"],
    );
    check(
        "Pod",
        pod(json!({"hostAliases": [{"ip": "1.1.1.1", "hostnames": ["A"]}], "restartPolicy": "Never",
            "containers": [{"name": "c", "image": "i", "resizePolicy": [
                {"resourceName": "cpu", "restartPolicy": "RestartContainer"},
                {"resourceName": "gpu", "restartPolicy": "NotRequired"}]}]})),
        &[
            "spec.containers[0].resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when \
             `restartPolicy` is 'Never'",
            "spec.containers[0].resizePolicy: Unsupported value: \"gpu\": supported values: \"cpu\", \"memory\"",
            &format!("spec.hostAliases[0].hostnames[0]: Invalid value: \"A\": {SUBDOMAIN}"),
        ],
    );
    let term = json!({"topologyKey": "zone", "matchLabelKeys": ["a"], "mismatchLabelKeys": ["a"]});
    let affinity = |term: Value| {
        pod(json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}))
    };
    let at = "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]";
    check(
        "Pod",
        affinity(term),
        &[
            &format!("{at}.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"),
            &format!("{at}.mismatchLabelKeys: Forbidden: must not be specified when labelSelector is not set"),
            &format!(
                "{at}.matchLabelKeys[0]: Invalid value: \"a\": exists in both matchLabelKeys and mismatchLabelKeys"
            ),
        ],
    );
    // What stands in the selector already is what was made of the key, unless the key is asked about twice.
    let both = "Invalid value: \"a\": exists in both matchLabelKeys and labelSelector";
    let made = json!({"key": "a", "operator": "In", "values": ["b"]});
    for (selector, is_fine) in [
        (json!({"matchLabels": {"a": "b"}}), true),
        (json!({"matchExpressions": [made]}), true),
        (json!({"matchLabels": {"a": "b"}, "matchExpressions": [made]}), false),
        (json!({"matchExpressions": [made, made]}), false),
    ] {
        let term = json!({"topologyKey": "zone", "labelSelector": selector, "matchLabelKeys": ["c", "a"]});
        let mut spread = term.clone();
        spread["maxSkew"] = 1.into();
        spread["whenUnsatisfiable"] = "DoNotSchedule".into();
        let expected = |at: &str| if is_fine { Vec::new() } else { vec![format!("{at}[1]: {both}")] };
        let [of_term, of_spread] = [expected(at), expected("spec.topologySpreadConstraints[0]")];
        check("Pod", affinity(term), &of_term.iter().map(String::as_str).collect::<Vec<_>>());
        let spread = pod(json!({"topologySpreadConstraints": [spread]}));
        check("Pod", spread, &of_spread.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let spread = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 0});
    check(
        "Pod",
        pod(json!({"topologySpreadConstraints": [spread]})),
        &[
            "spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must be greater than zero",
            "spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: can only use minDomains if \
             whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
        ],
    );
}

#[test]
fn profiles_by_annotation() {
    let annotated = |annotations: Value, mut object: Value| {
        object["metadata"] = json!({"name": "x", "namespace": "default", "annotations": annotations});
        object
    };
    let (whole, of) = ("seccomp.security.alpha.kubernetes.io/pod", "container.seccomp.security.alpha.kubernetes.io/c");
    let armor = "container.apparmor.security.beta.kubernetes.io/c";
    let plain = || pod(json!({}));
    check("Pod", annotated(json!({whole: "runtime/default", of: "localhost/a.json"}), plain()), &[]);
    check(
        "Pod",
        annotated(json!({whole: "x", of: "localhost/../x"}), plain()),
        &[
            &format!("metadata.annotations.{of}: Invalid value: \"../x\": must not contain '..'"),
            &format!("metadata.annotations.{whole}: Invalid value: \"x\": must be a valid seccomp profile"),
        ],
    );
    let context = json!({"seccompProfile": {"type": "RuntimeDefault"}, "appArmorProfile": {"type": "Unconfined"}});
    let with = |own: Value| {
        pod(json!({"securityContext": context, "containers": [{"name": "c", "image": "i", "securityContext": own}]}))
    };
    let said = || json!({whole: "unconfined", of: "localhost/a", armor: "runtime/default"});
    let local = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "b"}});
    let whole_at =
        "spec.securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field must match";
    let at = "spec.containers[0].securityContext";
    let armor_at = format!("{at}.appArmorProfile.type: Forbidden: apparmor type in annotation and field must match");
    let profile =
        format!("{at}.seccompProfile.localhostProfile: Forbidden: seccomp profile in annotation and field must match");
    check("Pod", annotated(said(), with(local)), &[whole_at, &profile, &armor_at]);
    let own = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "a"},
        "appArmorProfile": {"type": "RuntimeDefault"}});
    check("Pod", annotated(said(), with(own)), &[whole_at]);
    let template = annotated(json!({whole: "x"}), pod(json!({})));
    check(
        "PodTemplate",
        json!({"template": template}),
        &[&format!("template.annotations.{whole}: Invalid value: \"x\": must be a valid seccomp profile")],
    );
}

#[test]
fn what_logs_in_to_registries_is_a_json_object() {
    use base64::Engine as _;
    let at = "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\"";
    let cases = [
        ("{\"auths\":{}}", None),
        ("null", None),
        ("b", Some("invalid character 'b' looking for beginning of value")),
        ("{", Some("unexpected end of JSON input")),
        ("[]", Some("json: cannot unmarshal array into Go value of type map[string]interface {}")),
        ("\"a\"", Some("json: cannot unmarshal string into Go value of type map[string]interface {}")),
    ];
    for (text, why) in cases {
        let data = base64::engine::general_purpose::STANDARD.encode(text);
        let secret = json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": data}});
        let expected: Vec<_> = why.map(|why| format!("{at}: {why}")).into_iter().collect();
        check("Secret", secret, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

/// Templates whose pods had a policy may get another (gate `SELinuxMount`).
#[test]
fn policies_of_volumes_that_were_there() {
    let set = |policy: Option<&str>| {
        let mut object = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]},
        }}});
        if let Some(policy) = policy {
            object["spec"]["template"]["spec"]["securityContext"] = json!({"seLinuxChangePolicy": policy});
        }
        object
    };
    let at = "spec.template.spec.securityContext.seLinuxChangePolicy";
    check_update("Deployment", set(Some("MountOption")), set(Some("Recursive")), &[]);
    let why = format!("{at}: Unsupported value: \"MountOption\": supported values: \"Recursive\"");
    check_update("Deployment", set(Some("MountOption")), set(None), &[&why]);
    let why = format!("{at}: Unsupported value: \"X\": supported values: \"MountOption\", \"Recursive\"");
    check_update("Deployment", set(Some("X")), set(Some("MountOption")), &[&why]);
}

#[test]
fn whom_windows_runs_processes_as() {
    let of = |options: Value| pod(json!({"securityContext": {"windowsOptions": options}}));
    let at = "spec.securityContext.windowsOptions";
    for name in ["ContainerUser", "NT AUTHORITY\\LOCAL SERVICE", "a.b-c\\u", "d\\u"] {
        check("Pod", of(json!({"runAsUserName": name})), &[]);
    }
    let (long, domain) = ("u".repeat(105), format!("{}\\u", "d.".repeat(128)));
    for (name, expected) in [
        ("", &["runAsUserName cannot be an empty string"][..]),
        ("a\tb", &["runAsUserName cannot contain control characters"]),
        ("a\\b\\c", &["runAsUserName cannot contain more than one backslash"]),
        ("\\u", &["runAsUserName's Domain doesn't match the NetBios nor the DNS format"]),
        ("a\\", &["runAsUserName's User cannot be empty"]),
        (". .", &["runAsUserName's User cannot contain only periods or spaces"]),
        ("a@b", &["runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"]),
        (&long, &["runAsUserName's User length must not be longer than 104 characters"]),
        (
            &domain,
            &[
                "runAsUserName's Domain length must be under 256 characters",
                "runAsUserName's Domain doesn't match the NetBios nor the DNS format",
            ],
        ),
    ] {
        let expected: Vec<_> =
            expected.iter().map(|why| format!("{at}.runAsUserName: Invalid value: {name:?}: {why}")).collect();
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        check("Pod", of(json!({"runAsUserName": name})), &expected);
    }
    check(
        "Pod",
        of(json!({"gmsaCredentialSpecName": "A", "gmsaCredentialSpec": ""})),
        &[
            &format!("{at}.gmsaCredentialSpecName: Invalid value: \"A\": {SUBDOMAIN}"),
            &format!("{at}.gmsaCredentialSpec: Invalid value: \"\": gmsaCredentialSpec cannot be an empty string"),
        ],
    );
}

#[test]
fn processes_of_the_host_on_windows() {
    let host = |own: bool| json!({"windowsOptions": {"hostProcess": own}});
    let of = |whole: bool, own: [Option<bool>; 2], network: bool| {
        let containers = own
            .iter()
            .zip(["a", "b"])
            .map(|(own, name)| json!({"name": name, "image": "i", "securityContext": own.map(host)}));
        pod(
            json!({"containers": containers.collect::<Vec<_>>(), "hostNetwork": network, "securityContext": host(whole)}),
        )
    };
    check("Pod", of(true, [None, Some(true)], true), &[]);
    check("Pod", of(false, [None, None], false), &[]);
    check(
        "Pod",
        of(true, [None, Some(false)], false),
        &[
            "spec.containers[1].securityContext.windowsOptions.hostProcess: Invalid value: false: pod hostProcess value must \
             be identical if both are specified, was true",
            "spec: Invalid value: \"\": If pod contains any hostProcess containers then all containers must be HostProcess \
             containers",
            "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers",
        ],
    );
}
