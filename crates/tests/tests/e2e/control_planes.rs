//! Several API servers on one etcd: a cluster of its own, which comes up, loses servers, grows and goes.

use std::{path::PathBuf, time::Duration};

use gantry_tests::{
    cluster::{Cluster, SOON, cluster, text},
    machine::{Output, run, traces},
    wait::{ensure, eventually},
};
use serde_json::Value;

const NAME: &str = "e2e-cp";
const SUBNET: &str = "10.203.0.0/24";

/// The cluster; removed when the test ends, however it ends.
struct Several<'c> {
    beside: &'c Cluster,
    data_dir: PathBuf,
    port: u16,
}

impl<'c> Several<'c> {
    fn new(beside: &'c Cluster) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let port = free.expect("a free port").port();
        let several = Self { beside, data_dir: beside.data_dir().join("several"), port };
        several.down();
        several
    }

    fn gantryctl(&self, verb: &str, args: &[&str]) -> Output {
        let data_dir = self.data_dir.display().to_string();
        let which = [verb, "--name", NAME, "--data-dir", &data_dir];
        run(&mut self.beside.command("gantryctl", &[&which, args].concat()), "")
    }

    fn up(&self, control_planes: &str) -> Output {
        let port = self.port.to_string();
        let mut args = vec!["--subnet", SUBNET, "--bridge", "gt-e2e-cp", "--service-manager", "builtin"];
        args.extend(["--nodes", "1", "--secure-port", &port, "--control-planes", control_planes]);
        self.gantryctl("up", &args)
    }

    fn down(&self) {
        self.gantryctl("down", &[]).expect_ok("gantryctl down").clear();
    }

    fn service(&self, verb: &str, name: &str) {
        self.gantryctl("service", &[verb, name]).expect_ok(&format!("gantryctl service {verb} {name}")).clear();
    }

    /// A line for kubectl or gantryctl with one of the administrator's kubeconfigs.
    fn line(&self, kubeconfig: &str, line: &str) -> Output {
        let words: Vec<&str> = line.split_whitespace().collect();
        let path = self.data_dir.join(NAME).join("kubeconfig").join(kubeconfig);
        run(self.beside.command(words[0], &words[1..]).env("KUBECONFIG", path), "")
    }

    fn get(&self, what: &str) -> Result<Value, String> {
        let output = self.line("admin-all.conf", &format!("gantryctl get {what} -o json"));
        ensure(output.ok, || output.stderr.clone())?;
        serde_json::from_str(&output.stdout).map_err(|e| e.to_string())
    }

    /// Puts images into the cluster's own registry.
    fn fill_registry(&self) {
        let file = self.data_dir.join(NAME).join("cluster.json");
        let config: Value = serde_json::from_str(&std::fs::read_to_string(file).expect("it is there")).expect("JSON");
        let registry = format!("10.203.0.1:{}", config["ports"]["registry"]);
        run(&mut self.beside.command("xtask", &["images", "--registry", &registry]), "").expect_ok("images").clear();
    }

    /// A session through one of the servers: the node holds a control stream to each.
    fn session(&self, context: &str) {
        eventually(&format!("a session through {context}"), SOON, || {
            let said = self.line("admin.conf", &format!("kubectl --context {context} exec shell -- echo {context}"));
            ensure(said.stdout.trim() == context, || said.stderr.clone())
        });
    }

    /// The addresses behind the Service `kubernetes`.
    fn endpoints(&self) -> Result<Vec<String>, String> {
        let slice = self.get("endpointslice kubernetes -n default")?;
        let endpoints = slice["endpoints"].as_array().cloned().unwrap_or_default();
        let mut all: Vec<String> = endpoints.iter().map(|e| text(&e["addresses"][0])).collect();
        all.sort_unstable();
        Ok(all)
    }

    fn wait_for_endpoints(&self, expected: &[&str]) {
        eventually(&format!("the endpoints of default/kubernetes are {expected:?}"), SOON, || {
            let found = self.endpoints()?;
            ensure(found == expected, || format!("{found:?}"))
        });
    }

    /// Reads, writes, and the node's heartbeat go on.
    fn works(&self, map: &str) {
        self.line("admin-all.conf", &format!("gantryctl create configmap {map} --from-literal=a=b"))
            .expect_ok(map)
            .clear();
        self.get(&format!("configmap {map}")).expect("it was written");
        let heartbeat = || Ok::<_, String>(text(&self.get("lease node-1 -n kube-node-lease")?["spec"]["renewTime"]));
        let before = heartbeat().expect("a lease");
        eventually("the node renews its lease", SOON, || ensure(heartbeat()? != before, || before.clone()));
        let node = self.get("node node-1").expect("the node");
        let conditions = node["status"]["conditions"].as_array().expect("conditions");
        assert!(conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"), "{conditions:?}");
    }
}

impl Drop for Several<'_> {
    fn drop(&mut self) {
        let removed = self.gantryctl("down", &[]);
        if !removed.ok && !std::thread::panicking() {
            panic!("gantryctl down: {}", removed.stderr);
        }
    }
}

#[test]
fn e2e_control_planes_may_die_one_after_another() {
    let Some(c) = cluster() else { return };
    let several = Several::new(&c);
    several.up("2").expect_ok("up").clear();
    let all: Value = serde_json::from_str(&several.gantryctl("status", &["--json"]).stdout).expect("a list");
    let servers: Vec<String> = all.as_array().expect("a list").iter().map(|s| text(&s["name"])).collect();
    assert_eq!(servers.iter().filter(|s| s.starts_with("apiserver")).count(), 2, "{servers:?}");
    several.wait_for_endpoints(&["10.203.0.1", "10.203.0.2"]);
    let again = several.up("2");
    assert!(again.ok && again.stderr.contains("nothing had to be done"), "{}", again.stderr);

    several.fill_registry();
    several.line("admin.conf", "kubectl run shell --image=busybox -- sleep 36000").expect_ok("run").clear();
    let contexts = ["gantry-e2e-cp", "gantry-e2e-cp-2"];
    for context in contexts {
        several.session(context);
    }

    several.service("stop", "apiserver");
    several.works("without-the-first");
    several.session(contexts[1]);
    several
        .line("admin.conf", "kubectl --context gantry-e2e-cp-2 get nodes")
        .expect_ok("the second by kubectl")
        .clear();
    several.wait_for_endpoints(&["10.203.0.2"]);
    several.service("start", "apiserver");
    several.service("stop", "apiserver-2");
    several.works("without-the-second");
    several.line("admin.conf", "kubectl get nodes").expect_ok("the first by kubectl").clear();
    several.service("start", "apiserver-2");

    let said = several.up("1").expect_failure("fewer control planes");
    assert!(said.contains("has 2 control planes") && said.contains("gantryctl down --name e2e-cp"), "{said}");
    several.up("3").expect_ok("one more").clear();
    several.wait_for_endpoints(&["10.203.0.1", "10.203.0.2", "10.203.0.3"]);
    several.works("with-three");
    several.down();
    eventually("nothing of it is left", Duration::from_secs(10), || {
        let left: Vec<String> =
            traces().into_iter().filter(|t| t.contains("e2e-cp") || t.contains("10.203.0.")).collect();
        ensure(left.is_empty(), || format!("{left:?}"))
    });
}
