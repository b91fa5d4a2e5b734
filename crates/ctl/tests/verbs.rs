//! The verbs of `gantryctl`, run as its users run it, against an API server in process.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

use gantry_apiserver::testing::TestServer;
use gantry_client::{Client, Config, ResourceId, WriteParams};
use gantry_common::tls;
use gantry_ctl::cluster::config::{Choices, Config as ClusterConfig, DEFAULT_SUBNET, Manager};
use gantry_proto::v1::{
    ControlReport, LogRequest, NodeHello, OpenSession, SessionFrame, control_command::Command as Order,
    control_report::Report, open_session::Kind, session_frame::Frame,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

struct World {
    server: TestServer,
    kubeconfig: PathBuf,
    folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = TestServer::start(folder.path()).await.expect("the server starts");
        let kubeconfig = server.kubeconfig("admin", &["system:masters"]);
        let world = Self { server, kubeconfig, folder };
        world.apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default}\n");
        world
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gantryctl"));
        command.args(line.split_whitespace()).env("KUBECONFIG", &self.kubeconfig).env_remove("GANTRY_CLUSTER");
        command
    }

    fn client(&self, user: &str, groups: &[&str]) -> Client {
        let identity = self.server.identity(user, groups);
        let identity =
            tls::Identity { cert_pem: identity.cert_pem.into_bytes(), key_pem: identity.key_pem.into_bytes() };
        let config = Config {
            servers: vec![self.server.url()],
            ca_pem: self.server.ca_pem().into_bytes(),
            tls_server_name: None,
            identity: Some(identity),
            token: None,
            user_agent: "test/1".to_owned(),
        };
        Client::new(&config).expect("a client")
    }

    /// What a line prints.
    fn ok(&self, line: &str) -> String {
        let output = self.command(line).output().expect("gantryctl runs");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// What a line that must fail says.
    fn fails(&self, line: &str) -> String {
        let output = self.command(line).output().expect("gantryctl runs");
        assert!(!output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).expect("text")
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(line)).expect("JSON")
    }

    fn apply(&self, manifest: &str) -> String {
        let mut command = self.command("apply -f -");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gantryctl runs");
        child.stdin.take().expect("piped").write_all(manifest.as_bytes()).expect("it is read");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{manifest}");
        String::from_utf8(output.stdout).expect("text")
    }

    async fn create(&self, group: &str, resource: &str, object: Value) -> Value {
        let api = self.client("admin", &["system:masters"]).dynamic(ResourceId::new(group, "v1", resource), "default");
        api.create("", "", &object, &WriteParams::default()).await.expect("created").object
    }
}

const MAPS: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, labels: {a: b}}\ndata: {k: v}\n---\n\
apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\ndata: {}\n---\n\
apiVersion: v1\nkind: ConfigMap\nmetadata: {name: far, namespace: kube-public}\ndata: {}\n";

/// The words of each line of a table.
fn words(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn get_prints_in_every_form() {
    let world = World::start().await;
    world.apply(MAPS);
    let table = world.ok("get configmaps");
    assert_eq!(words(&table)[0], ["NAME", "DATA", "AGE"]);
    assert_eq!((words(&table)[1][..2].to_vec(), words(&table)[2][..2].to_vec()), (vec!["one", "1"], vec!["two", "0"]));
    assert_eq!(words(&world.ok("get cm -l a=b")).len(), 2);
    let everywhere = world.ok("get configmaps -A");
    assert_eq!(words(&everywhere)[0], ["NAMESPACE", "NAME", "DATA", "AGE"]);
    assert!(words(&everywhere).iter().any(|w| w[..2] == ["kube-public", "far"]), "{everywhere}");
    assert_eq!(
        world.ok("get configmaps,serviceaccounts -o name"),
        "configmap/one\nconfigmap/two\nserviceaccount/default\n"
    );
    assert_eq!(world.json("get configmap one -o json")["data"], json!({"k": "v"}));
    assert_eq!(world.json("get configmaps -o json")["items"].as_array().map(Vec::len), Some(2));
    let yaml = world.ok("get configmap/one -o yaml");
    assert!(yaml.starts_with("apiVersion: v1\ndata:\n  k: v\nkind: ConfigMap\nmetadata:\n"), "{yaml}");
    assert!(!yaml.contains("managedFields"), "{yaml}");
    world.apply("apiVersion: v1\nkind: Node\nmetadata: {name: node-1}\n");
    let wide = world.ok("get nodes -o wide");
    assert_eq!(words(&wide)[0][5..], ["INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"]);
    assert_eq!(words(&world.ok("get nodes"))[0].len(), 5);
    assert!(world.fails("get configmap three").contains("configmaps \"three\" not found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn get_watches() {
    let world = World::start().await;
    world.apply(MAPS);
    let mut command = world.command("get configmaps -w");
    let mut child = command.stdout(Stdio::piped()).spawn().expect("gantryctl runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut first = || lines.next().expect("a line").split_whitespace().next().expect("a word").to_owned();
    assert_eq!([first(), first(), first()], ["NAME", "one", "two"]);
    world.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: three}\n");
    assert_eq!(first(), "three");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_described_and_deleted() {
    let world = World::start().await;
    let applied = world.apply(MAPS);
    assert_eq!(applied, "configmap/one created\nconfigmap/two created\nconfigmap/far created\n");
    let described = world.ok("describe configmap one");
    for part in ["Name:", "one", "Labels:", "a=b", "k:", "v"] {
        assert!(described.contains(part), "{part} is not in {described}");
    }
    assert_eq!(world.ok("delete configmap one"), "configmap \"one\" deleted\n");
    assert!(world.fails("delete configmap one").contains("not found"));
    assert_eq!(world.ok("delete configmap one --ignore-not-found"), "");
    let file = world.folder.path().join("maps.yaml");
    std::fs::write(&file, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\n").expect("written");
    assert_eq!(world.ok(&format!("delete -f {}", file.display())), "configmap \"two\" deleted\n");
    assert_eq!(world.ok("get configmaps -o name"), "");
    assert_eq!(world.ok("delete configmaps --all -n kube-public"), "configmap \"far\" deleted\n");
}

/// A deployment in its second revision, as a controller would have left it.
async fn rolled_out(world: &World) -> Value {
    let spec = |image: &str| {
        json!({"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}})
    };
    let mark = "deployment.kubernetes.io/revision";
    let made = world
        .create(
            "apps",
            "deployments",
            json!({"metadata": {"name": "web", "annotations": {mark: "2"}}, "spec": spec("i:2")}),
        )
        .await;
    let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "controller": true,
        "uid": made["metadata"]["uid"]}]);
    for revision in [1, 2] {
        let set = json!({"metadata": {"name": format!("web-{revision}"), "ownerReferences": owner,
            "annotations": {mark: revision.to_string(), "kubernetes.io/change-cause": format!("cause {revision}")}},
            "spec": spec(&format!("i:{revision}"))});
        world.create("apps", "replicasets", set).await;
    }
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn rollouts_are_told_paused_and_undone() {
    let world = World::start().await;
    rolled_out(&world).await;
    let history = world.ok("rollout history deployment/web");
    assert_eq!(
        words(&history),
        [
            vec!["deployment.apps/web"],
            vec!["REVISION", "CHANGE-CAUSE"],
            vec!["1", "cause", "1"],
            vec!["2", "cause", "2"],
            vec![]
        ]
    );
    assert!(world.ok("rollout history deployment/web --revision=1").contains("image: i:1"));
    let spec = |path: &str| world.json("get deployment web -o json").pointer(path).cloned().unwrap_or_default();
    assert_eq!(world.ok("rollout pause deployment/web"), "deployment.apps/web paused\n");
    assert_eq!(spec("/spec/paused"), true);
    assert!(world.fails("rollout pause deployment/web").contains("already paused"));
    assert!(world.fails("rollout undo deployment/web").contains("paused"));
    assert_eq!(world.ok("rollout resume deployment/web"), "deployment.apps/web resumed\n");
    assert_eq!(spec("/spec/paused"), Value::Null);
    let image = "/spec/template/spec/containers/0/image";
    assert_eq!(world.ok("rollout undo deployment/web"), "deployment.apps/web rolled back\n");
    assert_eq!(spec(image), "i:1");
    assert_eq!(world.ok("rollout undo deployment/web --to-revision=2"), "deployment.apps/web rolled back\n");
    assert_eq!(spec(image), "i:2");
    assert!(world.fails("rollout undo deployment/web --to-revision=9").contains("revision 9"));
    assert!(world.ok("rollout status deployment/web --watch=false").starts_with("Waiting for deployment"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_makes_nothing() {
    let world = World::start().await;
    rolled_out(&world).await;
    let read = |line: &str| {
        let (object, _) = gantry_api::decode::yaml(world.ok(line).as_bytes()).expect("YAML");
        object
    };
    let pod = read("run p --image=nginx --port=80 --env=A=b --dry-run=client -o yaml");
    assert_eq!((&pod["kind"], &pod["metadata"]["labels"]), (&json!("Pod"), &json!({"run": "p"})));
    assert_eq!(pod["spec"]["containers"][0]["ports"], json!([{"containerPort": 80}]));
    let service = read("expose deployment web --port=80 --target-port=8080 --name=front --dry-run=client -o yaml");
    assert_eq!((&service["kind"], &service["metadata"]["name"]), (&json!("Service"), &json!("front")));
    assert_eq!(service["spec"]["selector"], json!({"app": "web"}));
    assert_eq!(service["spec"]["ports"], json!([{"port": 80, "protocol": "TCP", "targetPort": 8080}]));
    let deployment = read("create deployment d --image=nginx --replicas=2 --dry-run=client -o yaml");
    assert_eq!((&deployment["kind"], &deployment["spec"]["replicas"]), (&json!("Deployment"), &json!(2)));
    assert_eq!(world.ok("get pods -o name"), "");
    assert_eq!(world.ok("get services -o name"), "service/kubernetes\n");
    assert_eq!(world.ok("get deployments -o name"), "deployment.apps/web\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_kubeconfigs_are_printed() {
    let world = World::start().await;
    let version = world.ok("version");
    let lines: Vec<&str> = version.lines().collect();
    assert!(
        lines[0].starts_with("Client Version: v1.36.") && lines[1].starts_with("Server Version: v1.36."),
        "{version}"
    );
    assert_eq!(world.ok("version --client").lines().count(), 1);
    let data_dir = world.folder.path().join("state");
    let choices = Choices {
        name: "printed".to_owned(),
        data_dir: data_dir.clone(),
        nodes: 1,
        control_planes: 1,
        secure_port: 6443,
        bridge: None,
        subnet: DEFAULT_SUBNET.parse().expect("a network"),
        manager: Manager::Builtin,
        bin_dir: data_dir.clone(),
        extra_args: Vec::new(),
    };
    let config = ClusterConfig::plan(&choices).expect("a plan");
    let kubeconfig = config.layout().kubeconfig("admin");
    std::fs::create_dir_all(kubeconfig.parent().expect("in a folder")).expect("made");
    config.save().expect("saved");
    std::fs::copy(&world.kubeconfig, &kubeconfig).expect("copied");
    let which = format!("--name=printed --data-dir={}", data_dir.display());
    let printed = world.ok(&format!("kubeconfig {which}"));
    assert_eq!(printed, std::fs::read_to_string(&world.kubeconfig).expect("readable"));
    assert_eq!(world.ok(&format!("kubeconfig --path {which}")).trim(), kubeconfig.display().to_string());
    assert!(world.fails(&format!("kubeconfig --name=other --data-dir={}", data_dir.display())).contains("other"));
}

/// Plays the kubelet of `n1` for one log; returns what was asked for.
async fn answer_a_log(client: Client, connected: tokio::sync::oneshot::Sender<()>) -> LogRequest {
    let (reports, receiver) = mpsc::channel(1);
    let hello = ControlReport { report: Some(Report::Hello(NodeHello { node: "n1".to_owned() })) };
    reports.send(hello).await.expect("room");
    let (_, mut nodes) = client.nodes().into_iter().next().expect("a server");
    let mut orders = nodes.control(ReceiverStream::new(receiver)).await.expect("opens").into_inner();
    connected.send(()).expect("the test waits");
    let order = orders.message().await.expect("alive").expect("an order").command;
    let Some(Order::Open(OpenSession { session, kind: Some(Kind::Log(log)), .. })) = order else {
        panic!("a log session")
    };
    let (frames, receiver) = mpsc::channel(4);
    let success = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":200}"#;
    for frame in [Frame::Hello(session), Frame::Data("crashed\n".into()), Frame::Status(success.into())] {
        frames.send(SessionFrame { frame: Some(frame) }).await.expect("room");
    }
    let _back = nodes.session(ReceiverStream::new(receiver)).await.expect("opens");
    frames.closed().await;
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_the_previous_container_are_asked_for() {
    let world = World::start().await;
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    world.create("", "pods", pod).await;
    let (sender, connected) = tokio::sync::oneshot::channel();
    let kubelet = world.client("system:node:n1", &["system:nodes"]);
    let node = gantry_common::task::spawn("kubelet", answer_a_log(kubelet, sender));
    connected.await.expect("it connects");
    assert_eq!(world.ok("logs p --previous --tail=7 --timestamps"), "crashed\n");
    let log = node.await.expect("it answered");
    assert_eq!((log.previous, log.tail_lines, log.timestamps, log.follow), (true, Some(7), true, false));
    assert_eq!((log.pod.as_str(), log.container.as_str()), ("p", "c"));
}
