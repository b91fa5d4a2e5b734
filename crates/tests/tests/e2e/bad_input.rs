//! Bad input: each a clear error, and nothing lost.

use std::{net::TcpListener, process::Command};

use gantry_tests::{
    cluster::{Cluster, SOON, cluster},
    machine::{Output, run},
    wait::{ensure, eventually},
};

fn refused(output: Output, what: &str, parts: &[&str]) {
    let said = output.expect_failure(what);
    for part in parts {
        assert!(said.contains(part), "{what}: {part:?} is not in: {said}");
    }
}

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: good\ndata:\n  a: b\n";

#[test]
fn e2e_malformed_yaml_has_line_and_column() {
    let Some(c) = cluster() else { return };
    let ns = c.namespace("yaml");
    let bad = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n bad: [1\n";
    let said = c.line_with(&format!("gantryctl apply -n {ns} -f -"), bad).expect_failure("gantryctl apply");
    assert!(said.contains("line 5") || said.contains(":5:"), "no line in: {said}");
    assert!(said.contains("column") || said.contains(":5:2"), "no column in: {said}");
    refused(c.line_with(&format!("kubectl apply -n {ns} -f -"), bad), "kubectl apply", &["line 4"]);
    c.ok(&format!("kubectl delete namespace {ns} --wait=false"));
}

#[test]
fn e2e_unknown_field_is_named_with_its_neighbour() {
    let Some(c) = cluster() else { return };
    let ns = c.namespace("field");
    let bad = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec:\n  replica: 3\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    spec: {containers: [{name: c, image: nginx}]}\n";
    let gantry = c.line_with(&format!("gantryctl apply -n {ns} -f -"), bad);
    refused(gantry, "gantryctl apply", &["unknown field \"spec.replica\"", "replicas"]);
    let kubectl = c.line_with(&format!("kubectl create -n {ns} --validate=strict -f -"), bad);
    refused(kubectl, "kubectl create", &["unknown field \"spec.replica\""]);
    assert!(!c.line(&format!("kubectl get deployment x -n {ns}")).ok, "nothing was made");
    c.ok(&format!("kubectl delete namespace {ns} --wait=false"));
}

#[test]
fn e2e_bad_names_quantities_and_kinds_are_refused() {
    let Some(c) = cluster() else { return };
    let ns = c.namespace("names");
    refused(
        c.line(&format!("kubectl create configmap Bad_Name -n {ns}")),
        "a bad name",
        &["metadata.name: Invalid value: \"Bad_Name\"", "a lowercase RFC 1123 subdomain must consist of"],
    );
    let pod = |cpu: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: x}}\nspec:\n  containers:\n  - name: c\n    image: nginx\n    resources: {{requests: {{cpu: \"{cpu}\"}}}}\n"
        )
    };
    refused(c.line_with(&format!("kubectl create -n {ns} -f -"), pod("much")), "a bad quantity", &["quantit"]);
    refused(
        c.line_with(&format!("kubectl create -n {ns} -f -"), pod("-1")),
        "a negative quantity",
        &["must be greater than or equal to 0"],
    );
    refused(
        c.line("kubectl get unicorns"),
        "an unknown kind",
        &["the server doesn't have a resource type \"unicorns\""],
    );
    refused(c.line("gantryctl get unicorns"), "an unknown kind", &["unicorns"]);
    c.ok(&format!("kubectl delete namespace {ns} --wait=false"));
}

#[test]
fn e2e_stale_and_oversize_writes_lose_nothing() {
    let Some(c) = cluster() else { return };
    let ns = c.namespace("stale");
    c.line_with(&format!("kubectl create -n {ns} -f -"), MAP).expect_ok("create").clear();
    let old = c.ok(&format!("kubectl get configmap good -n {ns} -o yaml"));
    c.ok(&format!("kubectl patch configmap good -n {ns} --type=merge --patch={{\"data\":{{\"a\":\"new\"}}}}"));
    refused(
        c.line_with(&format!("kubectl replace -n {ns} -f -"), &old),
        "a stale write",
        &["Conflict", "the object has been modified; please apply your changes to the latest version and try again"],
    );
    let now = c.get(&format!("configmap good -n {ns}")).expect("it is there");
    assert_eq!(now["data"]["a"], "new");
    let huge =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: huge}}\ndata: {{a: {}}}\n", "x".repeat(4 << 20));
    refused(c.line_with(&format!("kubectl create -n {ns} -f -"), &huge), "an oversize body", &["arge"]);
    assert_eq!(c.get(&format!("configmap good -n {ns}")).expect("it is there")["data"]["a"], "new");
    c.ok(&format!("kubectl delete namespace {ns} --wait=false"));
}

#[test]
fn e2e_missing_image_is_explained_and_retried() {
    let Some(c) = cluster() else { return };
    let ns = c.namespace("image");
    let registry = c.port_of("registry");
    c.ok(&format!("kubectl run lost --image=10.201.0.1:{registry}/library/no-such-image -n {ns}"));
    eventually("the pod says why", SOON, || {
        let pod = c.get(&format!("pod lost -n {ns}"))?;
        let reason = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
        ensure(reason == "ErrImagePull" || reason == "ImagePullBackOff", || pod["status"].to_string())
    });
    let described = c.ok(&format!("kubectl describe pod lost -n {ns}"));
    assert!(described.contains("Failed to pull image"), "{described}");
    c.ok(&format!("kubectl delete namespace {ns} --wait=false"));
}

#[test]
fn e2e_port_conflicts_are_explained() {
    let Some(c) = cluster() else { return };
    let ns = c.namespace("ports");
    c.demo();
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: thief}\nspec:\n  type: NodePort\n  ports: [{port: 80, nodePort: 30080}]\n";
    refused(
        c.line_with(&format!("kubectl create -n {ns} -f -"), service),
        "a node port that is taken",
        &["spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"],
    );
    let pods: String = (1..=3)
        .map(|n| {
            format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p{n}, labels: {{app: p}}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  - name: c\n    image: busybox\n    imagePullPolicy: IfNotPresent\n    command: [sleep, \"3600\"]\n    ports: [{{containerPort: 80, hostPort: 8765}}]\n---\n")
        })
        .collect();
    c.line_with(&format!("kubectl create -n {ns} -f -"), &pods).expect_ok("create").clear();
    // Two nodes: the third pod has no free port anywhere.
    c.wait_ready(&ns, "app=p", 2, SOON);
    eventually("the third pod says why it waits", SOON, || {
        let shown = c.ok(&format!("kubectl get events -n {ns} --field-selector=reason=FailedScheduling"));
        ensure(shown.contains("didn't have free ports for the requested pod ports"), || shown.clone())
    });
    c.ok(&format!("kubectl delete namespace {ns} --wait=false"));
}

/// `gantryctl up` for a second cluster, which must not come up.
fn up(c: &Cluster, name: &str, args: &[&str]) -> Output {
    let fixed =
        ["up", "--name", name, "--bridge", "gt-bad", "--subnet", "10.202.0.0/24", "--service-manager", "builtin"];
    run(&mut c.command("gantryctl", &[&fixed[..], args].concat()), "")
}

#[test]
fn e2e_up_says_what_is_in_its_way() {
    let Some(c) = cluster() else { return };
    let folder = c.data_dir().join("bad");
    let data_dir = folder.display().to_string();
    refused(
        up(&c, "e2e-bad", &["--data-dir", "/proc/gantry"]),
        "an unwritable folder",
        &["/proc/gantry", "--data-dir"],
    );
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let in_use = format!("port {port} on 127.0.0.1 is in use by");
    refused(
        up(&c, "e2e-bad", &["--data-dir", &data_dir, "--secure-port", &port]),
        "a port in use",
        &[&in_use, "--secure-port"],
    );
    refused(up(&c, "No_Name", &["--data-dir", &data_dir]), "a bad name", &["No_Name", "DNS label"]);
    refused(
        up(&c, "e2e", &["--data-dir", &data_dir]),
        "a name that is taken",
        &["a cluster of this name exists", "--name"],
    );
    for (program, package) in [("/usr/bin/etcd", "etcd-server"), ("/usr/sbin/dockerd", "docker.io")] {
        let gantryctl = c.command("gantryctl", &[]).get_program().to_string_lossy().into_owned();
        // In a mount namespace where the program is covered, as if it were not installed.
        let script =
            format!("mount --bind /dev/null {program} && exec {gantryctl} up --name e2e-bad --data-dir {data_dir}");
        let output = run(Command::new("unshare").args(["--mount", "sh", "-c", &script]), "");
        refused(output, program, &["not installed", &format!("apt-get install {package}")]);
    }
    let as_nobody =
        run(Command::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args(nobody(&c)), "");
    refused(as_nobody, "up without root", &["needs root"]);
    drop(std::fs::remove_dir_all(folder));
}

/// A copy of gantryctl that everybody may run, and its arguments.
fn nobody(c: &Cluster) -> Vec<String> {
    let copy = std::env::temp_dir().join(format!("gantryctl-{}", std::process::id()));
    std::fs::copy(c.command("gantryctl", &[]).get_program(), &copy).expect("it is copied");
    vec![copy.display().to_string(), "up".to_owned(), "--name=e2e-bad".to_owned()]
}

#[test]
fn e2e_up_twice_says_so_and_changes_nothing() {
    let Some(c) = cluster() else { return };
    let before: Vec<_> = c.services().iter().map(|s| c.service(s)).collect();
    let again = c.up_again();
    assert!(again.ok && again.stderr.contains("is already up"), "{}", again.stderr);
    assert_eq!(c.services().iter().map(|s| c.service(s)).collect::<Vec<_>>(), before);
    // What went missing is repaired.
    c.local(&["service", "stop", "scheduler"]).expect_ok("service stop").clear();
    let repaired = c.up_again();
    assert!(repaired.ok && repaired.stderr.contains("service scheduler"), "{}", repaired.stderr);
    c.service("scheduler").expect("it runs");
}
