//! The verbs of `gantryctl` that open sessions, run as their users run them, against a server in process that plays the
//! API server and the node.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use gantry_common::{kubeconfig::File, tls::Identity};
use serde_json::{Value, json};

mod copies;
mod forwards;
mod logs;
mod server;
mod terminals;

use server::Fake;

struct World {
    fake: Fake,
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
}

fn pod(name: &str, labels: Value, containers: &[&str]) -> Value {
    let containers: Vec<Value> = containers
        .iter()
        .map(|c| {
            json!({"name": c, "image": "i", "stdin": true,
                "ports": [{"name": "http", "containerPort": 7, "protocol": "TCP"}]})
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"nodeName": "n1", "containers": containers}, "status": {"phase": "Running"}})
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let files = folder.path().join("container");
        std::fs::create_dir(&files).expect("made");
        let fake = Fake::start(&files);
        fake.state.add("pods", pod("web", json!({"app": "web"}), &["nginx"]));
        let kubeconfig = folder.path().join("kubeconfig");
        let key = rcgen::KeyPair::generate().expect("a key");
        let cert = rcgen::CertificateParams::default().self_signed(&key).expect("a certificate").pem();
        let identity = Identity { cert_pem: cert.clone().into_bytes(), key_pem: key.serialize_pem().into_bytes() };
        // The server speaks without TLS: what is tested here is above it.
        let file = File::single("test", &format!("http://{}", fake.address), cert.as_bytes(), &identity);
        std::fs::write(&kubeconfig, file.to_yaml().expect("it serialises")).expect("written");
        Self { fake, folder, kubeconfig }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gantryctl"));
        command.args(args).env("KUBECONFIG", &self.kubeconfig).env_remove("GANTRY_CLUSTER").env_remove("NO_COLOR");
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("gantryctl runs")
    }

    /// Standard output of what must succeed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Standard error of what must fail with this code.
    fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
        text(&output.stderr)
    }

    fn fed(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().expect("it ends");
        writer.join().expect("no panic").expect("it is read");
        output
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_gives_both_streams_and_the_exit_code() {
    let world = World::start().await;
    assert_eq!(world.ok(&["exec", "web", "--", "echo", "hello", "world"]), "hello world\n");
    let output = world.run(&["exec", "pod/web", "-c", "nginx", "--", "exit", "7"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(text(&output.stdout), "out\n");
    assert_eq!(text(&output.stderr), "bye\ncommand terminated with exit code 7\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_passes_standard_input_through() {
    let world = World::start().await;
    let input: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
    let output = world.fed(&["exec", "-i", "web", "--", "cat"], &input);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stdout == input, "{} of {} bytes came back", output.stdout.len(), input.len());
    // With -t but no terminal the user is told, and bytes stay as they are.
    let output = world.fed(&["exec", "-it", "web", "--", "cat"], b"a\nb");
    assert_eq!(output.stdout, b"a\nb");
    assert!(text(&output.stderr).contains("Unable to use a TTY"), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_says_why_it_cannot() {
    let world = World::start().await;
    let mut ended = pod("done", json!({}), &["c"]);
    ended["status"]["phase"] = json!("Succeeded");
    world.fake.state.add("pods", ended);
    let check = |args: &[&str], part: &str| {
        let said = world.fails(1, args);
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    };
    check(&["exec", "nobody", "--", "date"], "pods \"nobody\" not found");
    check(&["exec", "web", "-c", "x", "--", "date"], "container x not found in pod web; it has: nginx");
    check(&["exec", "web"], "you must specify at least one command");
    check(&["exec", "web", "date"], "put -- before the command: `gantryctl exec web -- date`");
    check(&["exec", "done", "--", "date"], "cannot exec into a container in a completed pod");
    check(&["exec", "web", "--", "refused"], "cannot create resource \"pods/exec\"");
    check(&["exec", "web", "--", "nonsense"], "executable file not found in $PATH");
    check(&["exec", "node/n1", "--", "date"], "nodes \"n1\" not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_finds_the_pod_behind_a_deployment() {
    let world = World::start().await;
    world.fake.state.add(
        "deployments",
        json!({"metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}}}),
    );
    assert_eq!(world.ok(&["exec", "deploy/web", "--", "echo", "found"]), "found\n");
    world.fake.state.add(
        "deployments",
        json!({"metadata": {"name": "none", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "none"}}}}),
    );
    let said = world.fails(1, &["exec", "deploy/none", "--pod-running-timeout=200ms", "--", "date"]);
    assert!(said.contains("deploy/none has no pods"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_joins_the_container() {
    let world = World::start().await;
    let output = world.fed(&["attach", "-i", "web"], b"typed\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "attached\ntyped\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_adds_a_container_waits_for_it_and_joins() {
    let world = World::start().await;
    let args = ["debug", "web", "-i", "--image=tools", "--target=nginx", "-c", "dbg", "--", "sh"];
    let output = world.fed(&args, b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "attached\n");
    let writes = world.fake.state.writes.lock().join("\n");
    assert!(writes.starts_with("patch web/ephemeralcontainers "), "{writes}");
    for part in ["\"name\":\"dbg\"", "\"targetContainerName\":\"nginx\"", "\"command\":[\"sh\"]"] {
        assert!(writes.contains(part), "{part} is not in {writes}");
    }
    let said = world.fails(1, &["debug", "web", "--image=i", "--target=x"]);
    assert!(said.contains("--target=x: pod web has no such container"), "{said}");
    let said = world.fails(1, &["debug", "web", "--image=i", "-c", "nginx"]);
    assert!(said.contains("has a container nginx already"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_joins_and_removes_its_pod() {
    let world = World::start().await;
    let output = world.fed(&["run", "-i", "--rm", "one", "--image=i", "--restart=Never", "--", "sh"], b"x\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "attached\nx\npod \"one\" deleted\n");
    let writes = world.fake.state.writes.lock().clone();
    assert_eq!(writes[0], "create \"one\"");
    assert!(writes[1].starts_with("delete one ") && writes[1].contains("uid-1"), "{writes:?}");
    let said = world.fails(1, &["run", "--rm", "two", "--image=i"]);
    assert!(said.contains("--rm should only be used for attached containers"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn top_shows_what_pods_and_nodes_use() {
    let world = World::start().await;
    let state = &world.fake.state;
    assert!(world.run(&["top", "pod"]).stdout.is_empty());
    let used = |cpu: &str, memory: &str| json!({"cpu": cpu, "memory": memory});
    state.add(
        "pods.metrics",
        json!({"metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "containers": [{"name": "nginx", "usage": used("12345678n", "20Mi")}]}),
    );
    state.add("nodes.metrics", json!({"metadata": {"name": "n1"}, "usage": used("500m", "1Gi")}));
    state.add(
        "nodes",
        json!({"metadata": {"name": "n1"},
        "status": {"allocatable": used("2", "4Gi"), "capacity": used("4", "8Gi")}}),
    );
    assert_eq!(
        world.ok(&["top", "pods", "-l", "app=web"]),
        "NAME   CPU(cores)   MEMORY(bytes)\nweb    13m          20Mi\n"
    );
    assert_eq!(world.ok(&["top", "pod", "-A", "--containers", "--no-headers"]), "default   web   nginx   13m   20Mi\n");
    assert_eq!(
        world.ok(&["top", "node"]),
        "NAME   CPU(cores)   CPU(%)   MEMORY(bytes)   MEMORY(%)\nn1     500m         25%      1024Mi          25%\n"
    );
    let said = world.fails(1, &["top", "pod", "nobody"]);
    assert!(said.contains("\"nobody\" not found"), "{said}");
}

/// What whoever may write to a cluster could send to the terminals of its users.
#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_the_cluster_steers_a_terminal() {
    let world = World::start().await;
    let evil = "\u{1b}]0;owned\u{7}\u{9b}2J";
    let mut object = pod("evil", json!({"app": "evil"}), &["c"]);
    object["metadata"]["annotations"] = json!({"note": evil});
    object["status"]["message"] = json!(evil);
    object["spec"]["containers"][0]["image"] = json!(evil);
    world.fake.state.add("pods", object);
    world.fake.state.add("events", json!({"metadata": {"name": "e"}, "message": evil, "reason": evil, "type": evil}));
    for args in [
        &["describe", "pod", "evil"][..],
        &["describe", "pod", "evil\u{1b}[31m"],
        &["exec", "evil", "-c", "x\u{1b}c", "--", "date"],
        &["logs", "evil", "-c", "c"],
    ] {
        let output = world.run(args);
        for said in [&output.stdout, &output.stderr] {
            let said = text(said);
            assert!(!said.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{args:?}: {said:?}");
        }
    }
    // Data stays data where no terminal is.
    let yaml: Value = serde_saphyr::from_str(&world.ok(&["get", "pod", "evil", "-o", "yaml"])).expect("YAML");
    assert_eq!(yaml["status"]["message"], evil);
}

/// Printing has one way out; a verb that took another would not be covered by the tests above.
#[test]
fn verbs_print_through_the_output_module_only() {
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("src/output.rs") {
                let code = std::fs::read_to_string(&path).expect("text");
                for (n, line) in code.lines().enumerate() {
                    let prints =
                        ["println!(", "print!(", "stdout().lock", "stderr().lock"].iter().any(|p| line.contains(p));
                    let is_session = path.ends_with("src/interactive.rs");
                    assert!(!prints || is_session, "{}:{}: {line}", path.display(), n + 1);
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "the sources are there");
}
