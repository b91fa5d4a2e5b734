//! Pods: every part of the spec, updates, status.

use serde_json::json;

use super::{LABEL, SUBDOMAIN, check, check_update, kind, object, texts};
use crate::Value;
use crate::validation::{create, status_update};

const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// A pod whose spec has `extra` beside one container.
pub(super) fn pod(extra: Value) -> Value {
    let mut spec = json!({"containers": [{"name": "c", "image": "i"}]});
    spec.as_object_mut().expect("a map").extend(extra.as_object().expect("a map").clone());
    json!({"spec": spec})
}

/// A pod whose container has `extra`.
pub(super) fn with(extra: Value) -> Value {
    let mut container = json!({"name": "c", "image": "i"});
    container.as_object_mut().expect("a map").extend(extra.as_object().expect("a map").clone());
    pod(json!({"containers": [container]}))
}

#[test]
fn containers() {
    check("Pod", pod(json!({})), &[]);
    check("Pod", pod(json!({"containers": []})), &["spec.containers: Required value"]);
    check(
        "Pod",
        pod(json!({"containers": [{"name": "A", "image": " i"}, {"name": "b"}], "initContainers": [
            {"name": "b", "image": "i", "livenessProbe": {"exec": {"command": ["x"]}}}, {"image": "i"}]})),
        &[
            &format!("spec.containers[0].name: Invalid value: \"A\": {LABEL}"),
            "spec.containers[1].image: Required value",
            "spec.initContainers[0].name: Duplicate value: \"b\"",
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without \
             restartPolicy=Always",
            "spec.initContainers[1].name: Required value",
            "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace",
        ],
    );
    check(
        "Pod",
        with(json!({"imagePullPolicy": "Maybe", "terminationMessagePolicy": "Never", "restartPolicy": "Always"})),
        &[
            "spec.containers[0].terminationMessagePolicy: Unsupported value: \"Never\": supported values: \
             \"FallbackToLogsOnError\", \"File\"",
            "spec.containers[0].imagePullPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \
             \"IfNotPresent\", \"Never\"",
        ],
    );
    check(
        "Pod",
        with(json!({"ports": [{"containerPort": 80, "name": "web", "hostPort": 80},
            {"containerPort": 81, "name": "web", "hostPort": 80}, {"containerPort": 0}, {"containerPort": 70000},
            {"containerPort": 1, "protocol": "ICMP", "name": "too-long-a-name-"}]})),
        &[
            "spec.containers[0].ports[1].name: Duplicate value: \"web\"",
            "spec.containers[0].ports[2].containerPort: Required value",
            "spec.containers[0].ports[3].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "spec.containers[0].ports[4].name: Invalid value: \"too-long-a-name-\": must be no more than 15 bytes",
            "spec.containers[0].ports[4].name: Invalid value: \"too-long-a-name-\": must not begin or end with a hyphen",
            "spec.containers[0].ports[4].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//80\"",
        ],
    );
}

#[test]
fn restarts_of_single_containers() {
    let rule = |action: &str, codes: serde_json::Value| json!({"action": action, "exitCodes": codes});
    let codes = || json!({"operator": "In", "values": [3]});
    let init = |extra: serde_json::Value| {
        let mut container = json!({"name": "i", "image": "i"});
        for (key, value) in extra.as_object().expect("an object") {
            container[key] = value.clone();
        }
        pod(json!({"initContainers": [container]}))
    };
    let right = || json!({"restartPolicy": "Never", "restartPolicyRules": [rule("Restart", codes()), rule("RestartAllContainers", codes())]});
    check("Pod", with(right()), &[]);
    check("Pod", init(right()), &[]);
    check("Pod", init(json!({"restartPolicy": "OnFailure"})), &[]);
    check(
        "Pod",
        with(
            json!({"restartPolicyRules": [rule("DoNotRestart", codes()), rule("Restart", json!({"operator": "Equals"})), {"action": "Restart"}]}),
        ),
        &[
            "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
            "spec.containers[0].restartPolicyRules[0].action: Unsupported value: \"DoNotRestart\": supported values: \"Restart\", \"RestartAllContainers\"",
            "spec.containers[0].restartPolicyRules[1].exitCodes.operator: Unsupported value: \"Equals\": supported values: \"In\", \"NotIn\"",
            "spec.containers[0].restartPolicyRules[2].exitCodes: Required value: must be specified",
        ],
    );
    check(
        "Pod",
        with(json!({"restartPolicy": "Sometimes", "restartPolicyRules": vec![rule("Restart", codes()); 21]})),
        &[
            "spec.containers[0].restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
            "spec.containers[0].restartPolicyRules: Too many: 21: must have at most 20 items",
        ],
    );
    check(
        "Pod",
        with(
            json!({"restartPolicy": "Always", "restartPolicyRules": [rule("Restart", json!({"operator": "In", "values": (0..256).collect::<Vec<_>>()}))]}),
        ),
        &["spec.containers[0].restartPolicyRules[0].exitCodes.values: Too many: 256: must have at most 255 items"],
    );
}

#[test]
fn environment() {
    check(
        "Pod",
        with(json!({"env": [
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "D", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
            {"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "envFrom": [{"configMapRef": {"name": "m"}, "prefix": "P_"}]})),
        &[],
    );
    let at = "spec.containers[0].env";
    check(
        "Pod",
        with(json!({"env": [
            {"name": ""},
            {"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "B", "valueFrom": {}},
            {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.foo"}}},
            {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}},
            {"name": "E", "valueFrom": {"configMapKeyRef": {"name": "m", "key": ""}}},
            {"name": "F", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}}],
            "envFrom": [{}, {"secretRef": {}}]})),
        &[
            &format!("{at}[0].name: Required value"),
            &format!("{at}[1].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"),
            &format!(
                "{at}[2].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, \
                 `configMapKeyRef` or `secretKeyRef`"
            ),
            &format!(
                "{at}[3].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.foo\": error converting fieldPath: \
                 field label not supported: metadata.foo"
            ),
            &format!(
                "{at}[4].valueFrom.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \
                 \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \
                 \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\""
            ),
            &format!("{at}[5].valueFrom.configMapKeyRef.key: Required value"),
            &format!(
                "{at}[6].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are \
                 supported with the cpu resource"
            ),
            "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
            "spec.containers[0].envFrom[1].secretRef.name: Required value",
        ],
    );
}

#[test]
fn resources() {
    let resources =
        |requests: Value, limits: Value| with(json!({"resources": {"requests": requests, "limits": limits}}));
    check("Pod", resources(json!({"cpu": "500m"}), json!({"cpu": "1", "example.com/gpu": "2"})), &[]);
    let at = "spec.containers[0].resources";
    check(
        "Pod",
        resources(json!({"cpu": "2", "memory": "-1", "foo": "1"}), json!({"cpu": "1", "example.com/gpu": "1500m"})),
        &[
            &format!("{at}.limits[example.com/gpu]: Invalid value: \"1500m\": must be an integer"),
            &format!("{at}.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"),
            &format!("{at}.requests[example.com/gpu]: Invalid value: \"1500m\": must be an integer"),
            &format!("{at}.requests[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified"),
            &format!("{at}.requests[foo]: Invalid value: \"foo\": must be a standard resource for containers"),
            &format!("{at}.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0"),
        ],
    );
    check(
        "Pod",
        resources(json!({"example.com/gpu": "1"}), json!({})),
        &[&format!("{at}.limits: Required value: Limit must be set for non overcommitable resources")],
    );
}

#[test]
fn probes_and_hooks() {
    check(
        "Pod",
        with(json!({"livenessProbe": {"httpGet": {"port": "web"}}, "readinessProbe": {"tcpSocket": {"port": 1}},
            "startupProbe": {"exec": {"command": ["true"]}}, "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}})),
        &[],
    );
    let at = "spec.containers[0]";
    check(
        "Pod",
        with(json!({"livenessProbe": {"successThreshold": 2, "httpGet": {"port": 0, "scheme": "FTP"},
                "exec": {"command": []}},
            "readinessProbe": {"periodSeconds": -1},
            "lifecycle": {"postStart": {"exec": {}}, "preStop": {"sleep": {"seconds": 31}}}})),
        &[
            &format!("{at}.lifecycle.postStart.exec.command: Required value"),
            &format!(
                "{at}.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than \
                 terminationGracePeriodSeconds (30)"
            ),
            &format!("{at}.livenessProbe.exec.command: Required value"),
            &format!("{at}.livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type"),
            &format!("{at}.livenessProbe.successThreshold: Invalid value: 2: must be 1"),
            &format!("{at}.readinessProbe: Required value: must specify a handler type"),
            &format!("{at}.readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"),
        ],
    );
}

#[test]
fn hostnames_that_override() {
    let over = |spec: Value, expected: &[&str]| check("Pod", pod(spec), expected);
    let at = "spec.hostnameOverride";
    over(json!({"hostnameOverride": "a.example.com", "setHostnameAsFQDN": false}), &[]);
    over(json!({"hostnameOverride": "A"}), &[&format!("{at}: Invalid value: \"A\": {SUBDOMAIN}")]);
    let longest = "a".repeat(64);
    over(json!({"hostnameOverride": longest}), &[]);
    let longer = "a".repeat(65);
    let why = format!("{at}: Invalid value: \"{longer}\": must be no more than 64 characters");
    over(json!({"hostnameOverride": longer}), &[&why]);
    let forbidden =
        ["hostNetwork", "setHostnameAsFQDN"].map(|key| format!("{at}: Forbidden: may not be set when {key} is true"));
    over(
        json!({"hostnameOverride": "a", "hostNetwork": true, "setHostnameAsFQDN": true}),
        &[&forbidden[0], &forbidden[1]],
    );
}

#[test]
fn policies_and_names() {
    check(
        "Pod",
        pod(json!({"restartPolicy": "Sometimes", "dnsPolicy": "Mine", "hostname": "a.b", "nodeName": "N",
            "activeDeadlineSeconds": 0, "terminationGracePeriodSeconds": 0, "preemptionPolicy": "x"})),
        &[
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
            "spec.dnsPolicy: Unsupported value: \"Mine\": supported values: \"ClusterFirst\", \"ClusterFirstWithHostNet\", \
             \"Default\", \"None\"",
            &format!("spec.nodeName: Invalid value: \"N\": {SUBDOMAIN}"),
            "spec.hostname: Invalid value: \"a.b\": must not contain dots",
            "spec.preemptionPolicy: Unsupported value: \"x\": supported values: \"Never\", \"PreemptLowerPriority\"",
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ],
    );
    check(
        "Pod",
        pod(json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a_b.c", "."]}})),
        &[],
    );
    check(
        "Pod",
        pod(json!({"dnsPolicy": "None", "hostAliases": [{"ip": "x", "hostnames": ["a"]}]})),
        &[
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
            "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ],
    );
    check(
        "Pod",
        pod(json!({"dnsConfig": {"nameservers": ["1.1.1.1", "x"], "options": [{}]}})),
        &[
            "spec.dnsConfig.nameservers[1]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or \
             2001:db8::ffff)",
            "spec.dnsConfig.options[0]: Required value: must not be empty",
        ],
    );
    check(
        "Pod",
        pod(json!({"securityContext": {"runAsUser": -1, "seccompProfile": {"type": "Localhost"}},
            "hostPID": true, "shareProcessNamespace": true})),
        &[
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be \
             enabled",
            "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is \
             Localhost",
        ],
    );
    check(
        "Pod",
        with(json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}})),
        &[
            "spec.containers[0].securityContext: Invalid value: {\"Capabilities\":null,\"Privileged\":true,\"SELinuxOptions\":null,\"WindowsOptions\":null,\"RunAsUser\":null,\"RunAsGroup\":null,\"RunAsNonRoot\":null,\"ReadOnlyRootFilesystem\":null,\"AllowPrivilegeEscalation\":false,\"ProcMount\":null,\"SeccompProfile\":null,\"AppArmorProfile\":null}: \
           cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ],
    );
}

#[test]
fn scheduling_rules() {
    check(
        "Pod",
        pod(json!({"tolerations": [{"operator": "Exists"}, {"operator": "Equal"}, {"key": "k", "operator": "Exists",
            "value": "v"}, {"key": "k", "operator": "Near"}, {"key": "k", "effect": "NoSchedule", "tolerationSeconds": 3}]})),
        &[
            "spec.tolerations[1].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which \
             means \"match all values and all keys\"",
            "spec.tolerations[2].operator: Invalid value: \"v\": value must be empty when `operator` is 'Exists'",
            "spec.tolerations[3].operator: Unsupported value: \"Near\": supported values: \"Equal\", \"Exists\"",
            "spec.tolerations[4].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when \
             `tolerationSeconds` is set",
        ],
    );
    let node = |terms: Value| {
        pod(json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": terms}}}}))
    };
    let at = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    check("Pod", node(json!([])), &[&format!("{at}: Required value: must have at least one node selector term")]);
    check(
        "Pod",
        node(
            json!([{"matchExpressions": [{"key": "k", "operator": "In"}, {"key": "k", "operator": "Gt", "values": []},
            {"key": "k", "operator": "Like"}]}]),
        ),
        &[
            &format!(
                "{at}[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
            ),
            &format!(
                "{at}[0].matchExpressions[1].values: Required value: must be specified single value when `operator` is \
                 'Lt' or 'Gt'"
            ),
            &format!("{at}[0].matchExpressions[2].operator: Invalid value: \"Like\": not a valid selector operator"),
        ],
    );
    let anti = pod(json!({"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
        [{"weight": 101, "podAffinityTerm": {"topologyKey": "zone"}}]}}}));
    check(
        "Pod",
        anti,
        &[
            "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: \
           must be in the range 1-100",
        ],
    );
}

#[test]
fn spreading_and_gates() {
    let constraint = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
    check(
        "Pod",
        pod(json!({"topologySpreadConstraints": [constraint, constraint, {"maxSkew": 0, "topologyKey": "zone",
            "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2}]})),
        &[
            "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{zone, DoNotSchedule}\"",
            "spec.topologySpreadConstraints[2].maxSkew: Invalid value: 0: must be greater than zero",
            "spec.topologySpreadConstraints[2].minDomains: Invalid value: 2: can only use minDomains if \
             whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
        ],
    );
    check(
        "Pod",
        pod(json!({"nodeName": "n", "schedulingGates": [{"name": "a"}, {"name": "a"}]})),
        &[
            "spec.schedulingGates[1]: Duplicate value: \"a\"",
            "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
        ],
    );
}

const UPDATE: &str = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n";

#[test]
fn updates() {
    check_update("Pod", with(json!({"image": "j:2", "imagePullPolicy": "Always"})), pod(json!({})), &[]);
    check_update(
        "Pod",
        with(json!({"command": ["x"]})),
        pod(json!({})),
        &[&format!(
            "{UPDATE}@@ -5,7 +5,9 @@\n   {{\n    \"Name\": \"c\",\n    \"Image\": \"i\",\n-   \"Command\": null,\n+   \"Command\": [\n\
             +    \"x\"\n+   ],\n    \"Args\": null,\n    \"WorkingDir\": \"\",\n    \"Ports\": null,\n"
        )],
    );
    check_update(
        "Pod",
        pod(json!({"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]})),
        pod(json!({})),
        &["spec.containers: Forbidden: pod updates may not add or remove containers"],
    );
    let changed = pod(json!({"hostname": "h", "terminationGracePeriodSeconds": 5}));
    check_update(
        "Pod",
        changed,
        pod(json!({})),
        &[&format!(
            "{UPDATE}@@ -36,7 +36,7 @@\n  ],\n  \"EphemeralContainers\": null,\n  \"RestartPolicy\": \"Always\",\n\
             - \"TerminationGracePeriodSeconds\": 30,\n+ \"TerminationGracePeriodSeconds\": 5,\n  \"ActiveDeadlineSeconds\": null,\n\
             \u{20} \"DNSPolicy\": \"ClusterFirst\",\n  \"NodeSelector\": null,\n@@ -64,7 +64,7 @@\n   \"SELinuxChangePolicy\": null\n\
             \u{20} }},\n  \"ImagePullSecrets\": null,\n- \"Hostname\": \"\",\n+ \"Hostname\": \"h\",\n  \"Subdomain\": \"\",\n\
             \u{20} \"SetHostnameAsFQDN\": null,\n  \"Affinity\": null,\n"
        )],
    );
    let tolerations = |list: Value| pod(json!({"tolerations": list}));
    let first = json!({"key": "a", "operator": "Exists"});
    check_update(
        "Pod",
        tolerations(json!([first, {"key": "b", "operator": "Exists"}])),
        tolerations(json!([first])),
        &[],
    );
    check_update(
        "Pod",
        tolerations(json!([])),
        tolerations(json!([first])),
        &["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"],
    );
    check_update(
        "Pod",
        pod(json!({"activeDeadlineSeconds": 20})),
        pod(json!({"activeDeadlineSeconds": 10})),
        &["spec.activeDeadlineSeconds: Invalid value: 20: must be less than or equal to previous value"],
    );
    let gated = |extra: Value| {
        let mut pod = pod(json!({"schedulingGates": [{"name": "g"}]}));
        pod["spec"]["nodeSelector"] = extra;
        pod
    };
    check_update("Pod", gated(json!({"a": "1", "b": "2"})), gated(json!({"a": "1"})), &[]);
    check_update(
        "Pod",
        gated(json!({"b": "2"})),
        gated(json!({"a": "1"})),
        &["spec.nodeSelector: Invalid value: {\"b\":\"2\"}: only additions to spec.nodeSelector are allowed (no \
           mutations or deletions)"],
    );
    check_update(
        "Pod",
        gated(json!({})),
        pod(json!({})),
        &["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'"],
    );
}

fn with_status(policy: &str, status: Value) -> Value {
    let mut pod = object("Pod", pod(json!({"restartPolicy": policy})));
    pod["status"] = status;
    pod
}

fn check_status(policy: &str, new: Value, old: Value, expected: &[&str]) {
    let errors = status_update(kind("Pod"), &with_status(policy, new), &with_status(policy, old));
    assert_eq!(texts(&errors), expected);
}

#[test]
fn statuses() {
    let container = |state: Value| json!({"containerStatuses": [{"name": "c", "state": state}]});
    let ended = container(json!({"terminated": {"exitCode": 0}}));
    let check = check_status;
    let running = container(json!({"running": {}}));
    check("Always", running.clone(), ended.clone(), &[]);
    check(
        "Never",
        running,
        ended,
        &["status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"],
    );
    check(
        "Always",
        json!({"podIPs": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}], "resourceClaimStatuses": [{"name": "r"}]}),
        json!({}),
        &[
            "status.resourceClaimStatuses[0].name: Invalid value: \"r\": must match the name of an entry in \
             `spec.resourceClaims`",
            "status.podIPs: Invalid value: [{\"IP\":\"1.1.1.1\"},{\"IP\":\"1.1.1.1\"}]: may specify no more than one IP \
             for each IP family",
            "status.podIPs[1]: Duplicate value: {\"IP\":\"1.1.1.1\"}",
        ],
    );
    check(
        "Always",
        json!({"qosClass": "Burstable", "podIPs": [{"ip": "x"}]}),
        json!({"qosClass": "BestEffort"}),
        &[
            "status.qosClass: Invalid value: \"Burstable\": field is immutable",
            "status.podIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ],
    );
}

#[test]
fn changes_of_statuses() {
    let check = check_status;
    let conditions = |types: &[&str]| json!({"conditions": types.iter().map(|ty| json!({"type": ty, "status": "True"})).collect::<Vec<_>>()});
    check("Always", conditions(&["Ready", "example.com/gate"]), json!({}), &[]);
    check(
        "Always",
        conditions(&["Ready", "a b"]),
        json!({}),
        &[&format!("metadata.conditions[1].Type: Invalid value: \"a b\": {QUALIFIED}")],
    );
    let two = |names: [&str; 2], state: Value| json!({"containerStatuses": names.map(|name| json!({"name": name, "state": state}))});
    let (running, ended) = (json!({"running": {}}), json!({"terminated": {"exitCode": 0}}));
    let at = |index: usize| format!("status.containerStatuses[{index}].state");
    let why = "Forbidden: may not be transitioned to non-terminated state";
    let expected = [format!("{}: {why}", at(0)), format!("{}: {why}", at(1))];
    // By where they stood before, in the order of then.
    let (new, old) = (two(["b", "a"], running), two(["a", "b"], ended));
    check("Never", new, old, &expected.each_ref().map(String::as_str));
    let mirror = |value: &str| {
        let mut pod = with_status("Always", json!({}));
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": value});
        pod["spec"]["nodeName"] = "n".into();
        pod
    };
    let found = texts(&status_update(kind("Pod"), &mirror("b"), &mirror("a")));
    assert_eq!(
        found,
        [
            "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not remove or update mirror pod annotation"
        ]
    );
}

#[test]
fn templates_of_pods_are_checked_at_their_path() {
    let errors = create(
        kind("Deployment"),
        &object(
            "Deployment",
            json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i",
            "env": [{"name": ""}]}]}}}}),
        ),
    );
    assert_eq!(texts(&errors), ["spec.template.spec.containers[0].env[0].name: Required value"]);
    let mut labelled = json!({"spec": {"containers": [{"name": "c", "image": "i"}]}});
    labelled["metadata"] = json!({"labels": {"a b": "c"}, "annotations": {"a b": ""}});
    check(
        "PodTemplate",
        json!({"template": labelled}),
        &[
            &format!("template.labels: Invalid value: \"a b\": {QUALIFIED}"),
            &format!("template.annotations: Invalid value: \"a b\": {QUALIFIED}"),
        ],
    );
}

#[test]
fn values_of_required_nodes_are_those_of_labels() {
    let wants = |value: &str| {
        let term = json!({"matchExpressions": [{"key": "k", "operator": "In", "values": [value]}]});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}})
    };
    let at = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].\
        matchExpressions[0].values[0]";
    let errors = texts(&create(kind("Pod"), &object("Pod", pod(wants("a b")))));
    let refused = |errors: &[String], at: &str| {
        errors.len() == 1 && errors[0].starts_with(&format!("{at}: Invalid value: \"a b\": a valid label must be"))
    };
    assert!(refused(&errors, at), "{errors:?}");
    check_update("Pod", pod(wants("a b")), pod(wants("a b")), &[]);
    let set = |value: &str| {
        let mut spec = wants(value);
        spec["containers"] = json!([{"name": "c", "image": "i"}]);
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": spec});
        object("Deployment", json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}))
    };
    let errors = texts(&create(kind("Deployment"), &set("a b")));
    assert!(refused(&errors, &format!("spec.template.{at}")), "{errors:?}");
    // What is there already may stay.
    assert_eq!(texts(&crate::validation::update(kind("Deployment"), &set("c d"), &set("a b"))), [""; 0]);
    let errors = texts(&crate::validation::update(kind("Deployment"), &set("a b"), &set("a")));
    assert!(refused(&errors, &format!("spec.template.{at}")), "{errors:?}");
}

#[test]
fn variables_from_files() {
    let of = |reference: Value, volume: Value| {
        let variable = json!({"name": "V", "valueFrom": {"fileKeyRef": reference}});
        let container = json!({"name": "c", "image": "i", "env": [variable]});
        pod(json!({"containers": [container], "volumes": [volume]}))
    };
    let empty = || json!({"name": "v", "emptyDir": {}});
    let fine = || json!({"volumeName": "v", "path": "a/b.env", "key": "K"});
    let at = "spec.containers[0].env[0].valueFrom.fileKeyRef";
    check("Pod", of(fine(), empty()), &[]);
    check("Pod", of(fine(), json!({"name": "w", "emptyDir": {}})), &[&format!("{at}.volumeName: Not found: \"v\"")]);
    check(
        "Pod",
        of(fine(), json!({"name": "v", "secret": {"secretName": "s"}})),
        &[&format!("{at}.volumeName: Invalid value: \"v\": referenced volume must be of type emptyDir")],
    );
    check(
        "Pod",
        of(json!({"volumeName": "", "path": "", "key": ""}), empty()),
        &[
            &format!("{at}.key: Required value"),
            &format!("{at}.volumeName: Required value"),
            &format!("{at}.path: Required value"),
        ],
    );
    check(
        "Pod",
        of(json!({"volumeName": "V", "path": "a/../b", "key": "a=b"}), empty()),
        &[
            &format!(
                "{at}.key: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII \
                 characters other than '='"
            ),
            &format!("{at}.volumeName: Invalid value: \"V\": {LABEL}"),
            &format!("{at}.path: Invalid value: \"a/../b\": must not contain '..'"),
            &format!("{at}.volumeName: Not found: \"V\""),
        ],
    );
}

#[test]
fn where_names_are_searched() {
    let searched = |name: &str| pod(json!({"dnsConfig": {"searches": [name]}}));
    for name in [".", "a.b.", "_tcp.a_b.c", "a"] {
        check("Pod", searched(name), &[]);
    }
    for name in ["a_.", "__a", "-a.", "..", "A"] {
        let shown = name.strip_suffix('.').unwrap_or(name);
        let why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and \
            must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
            '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
        check("Pod", searched(name), &[&format!("spec.dnsConfig.searches[0]: Invalid value: {shown:?}: {why}")]);
    }
}

#[test]
fn tokens_are_somebodys() {
    let of = |account: &str| {
        let source = json!({"serviceAccountToken": {"path": "t", "expirationSeconds": 600}});
        pod(json!({"serviceAccountName": account, "volumes": [{"name": "v", "projected": {"sources": [source]}}]}))
    };
    check("Pod", of("a"), &[]);
    check(
        "Pod",
        of(""),
        &["spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when \
            serviceAccountName is not set"],
    );
}

#[test]
fn nodes_by_name() {
    let wants = |value: &str| {
        let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [value]}]});
        pod(
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}}),
        )
    };
    check("Pod", wants("n"), &[]);
    let at =
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0]";
    check("Pod", wants("N"), &[&format!("{at}.values[0]: Invalid value: \"N\": {SUBDOMAIN}")]);
}
