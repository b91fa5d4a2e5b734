//! The cluster of the end-to-end tests.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use serde_json::Value;

use crate::{
    machine::{self, Output, run},
    wait::eventually,
};

/// Its name.
pub const NAME: &str = "e2e";
/// Its network.
pub const SUBNET: &str = "10.201.0.0/24";
/// How long something may take that needs a container to start or stop.
pub const SOON: Duration = Duration::from_secs(60);
/// How long something may take that needs a node to be given up.
pub const LATER: Duration = Duration::from_secs(120);

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    data_dir: PathBuf,
    kubeconfig: PathBuf,
    port: u16,
    /// What was on the machine before `up`.
    pub before: BTreeSet<String>,
}

/// Why there is no cluster.
enum Absent {
    /// This machine cannot run one.
    Unfit(String),
    /// It did not come up.
    Failed(String),
}

static CLUSTER: OnceLock<Result<Mutex<Cluster>, Absent>> = OnceLock::new();

/// The cluster, for one test at a time; brought up by the first. `None` where it cannot run: the reason is noted.
///
/// # Panics
/// When it can run, but does not come up.
pub fn cluster() -> Option<MutexGuard<'static, Cluster>> {
    let make = || match unfit() {
        Some(why) => Err(Absent::Unfit(why)),
        None => Cluster::up().map(Mutex::new).map_err(Absent::Failed),
    };
    match CLUSTER.get_or_init(make) {
        // A test that failed leaves the cluster as it is; the next one finds what it needs or fails too.
        Ok(cluster) => Some(cluster.lock().unwrap_or_else(std::sync::PoisonError::into_inner)),
        Err(Absent::Unfit(why)) => {
            note_skip(why);
            None
        }
        Err(Absent::Failed(why)) => panic!("the cluster did not come up: {why}"),
    }
}

/// Why this machine cannot run the cluster.
fn unfit() -> Option<String> {
    if machine::sh("id", &["-u"]).stdout.trim() != "0" {
        return Some("needs root (network namespaces, Docker)".to_owned());
    }
    ["dockerd", "etcd", "nft", "kubectl", "docker-registry"]
        .iter()
        .find(|program| !machine::sh("sh", &["-c", &format!("PATH=$PATH:/usr/sbin command -v {program}")]).ok)
        .map(|program| format!("{program} is not installed"))
}

/// `cargo xtask test` prints what is written to the file named in `GANTRY_SKIPS`.
pub fn note_skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("{test} skipped: {why}");
    if let Some(path) = std::env::var_os("GANTRY_SKIPS") {
        use std::io::Write;
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        drop(file.and_then(|mut f| writeln!(f, "{test}: {why}")));
    }
}

/// The folder of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

impl Cluster {
    fn up() -> Result<Self, String> {
        let test = std::env::current_exe().expect("a test has a path");
        // target/debug/deps/e2e-… lies beside target/debug/gantryctl.
        let built = test.parent().and_then(Path::parent).expect("tests are built into target/debug/deps");
        let data_dir = built.parent().expect("target").join("e2e");
        let bin = data_dir.join("bin");
        let kubeconfig = data_dir.join(NAME).join("kubeconfig/admin.conf");
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let port = free.map_err(|e| format!("no free port: {e}"))?.port();
        let mut cluster = Self { bin, data_dir, kubeconfig, port, before: BTreeSet::new() };
        cluster.copy_programs(built);
        cluster.down();
        cluster.before = machine::traces();
        let up = cluster.up_again();
        if !up.ok {
            return Err(up.stderr);
        }
        let registry = format!("10.201.0.1:{}", cluster.port_of("registry"));
        let images = run(&mut cluster.command("xtask", &["images", "--registry", &registry]), "");
        if images.ok { Ok(cluster) } else { Err(images.stderr) }
    }

    /// Copies what is tested, so that a build meanwhile does not change it under the tests.
    fn copy_programs(&self, built: &Path) {
        fs::create_dir_all(&self.bin).expect("a folder for programs");
        let daemons = ["apiserver", "scheduler", "controller-manager", "kubelet", "proxy", "dns"];
        let own = daemons.iter().map(|d| format!("gantry-{d}"));
        for program in own.chain(["gantryctl", "gantry-bench", "xtask"].map(str::to_owned)) {
            let (from, to) = (built.join(&program), self.bin.join(&program));
            assert!(
                from.exists(),
                "{program} is not in {}: run `cargo build` and `cargo xtask help` first",
                built.display()
            );
            // One that still runs from the last time cannot be written to, but it can be replaced.
            drop(fs::remove_file(&to));
            fs::copy(&from, &to).unwrap_or_else(|e| panic!("{program} cannot be copied: {e}"));
        }
    }

    /// Runs `gantryctl up` with the cluster's flags.
    pub fn up_again(&self) -> Output {
        let data_dir = self.data_dir.display().to_string();
        let mut args = vec!["up", "--name", NAME, "--data-dir", &data_dir, "--subnet", SUBNET, "--nodes", "2"];
        let port = self.port.to_string();
        args.extend(["--bridge", "gt-e2e", "--secure-port", &port, "--service-manager", "builtin"]);
        // A lost node is given up sooner than by default, so that the test does not take minutes.
        args.extend(["--extra-arg", "controller-manager=--node-monitor-grace-period=12s"]);
        run(&mut self.command("gantryctl", &args), "")
    }

    /// Removes the cluster.
    ///
    /// # Panics
    /// When something cannot be removed.
    pub fn down(&self) {
        self.local(&["down"]).expect_ok("gantryctl down").clear();
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.data_dir.join(NAME)
    }

    /// The folder that the state folder is in.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// A program of the build, with the cluster's kubeconfig.
    #[must_use]
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let own = self.bin.join(program);
        let mut command = if own.exists() { Command::new(own) } else { Command::new(program) };
        command.args(args).env("KUBECONFIG", &self.kubeconfig).current_dir(repository());
        command
            .env_remove("GANTRY_CLUSTER")
            .env_remove("GANTRY_DATA_DIR")
            .env("CARGO_TARGET_DIR", self.data_dir.parent().unwrap_or(&self.bin));
        command
    }

    /// A client that `cargo xtask test` fetched into `target/tools`.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn tool(&self, path: &str) -> String {
        let tool = self.data_dir.parent().unwrap_or(&self.bin).join("tools").join(path);
        assert!(tool.exists(), "{} is not there: run `cargo xtask test` once, which fetches it", tool.display());
        tool.display().to_string()
    }

    /// Every kubectl that is driven: the machine's own, and Debian's 1.20.
    #[must_use]
    pub fn kubectls(&self) -> [String; 2] {
        ["kubectl".to_owned(), self.tool("kubectl-1.20/usr/bin/kubectl")]
    }

    /// A program of the build by its path, any other by its name: for lines that the shell reads.
    #[must_use]
    pub fn path_of(&self, program: &str) -> String {
        let own = self.bin.join(program);
        if own.exists() { own.display().to_string() } else { program.to_owned() }
    }

    /// A line for the shell, for pipes and redirections.
    pub fn shell(&self, line: &str) -> Output {
        run(&mut self.command("sh", &["-c", line]), "")
    }

    /// A verb of gantryctl about this cluster's services.
    pub fn local(&self, args: &[&str]) -> Output {
        let data_dir = self.data_dir.display().to_string();
        let which = ["--name", NAME, "--data-dir", data_dir.as_str()];
        run(&mut self.command("gantryctl", &[&args[..1], &which, &args[1..]].concat()), "")
    }

    /// Runs `kubectl` or `gantryctl` as given in one line, words separated by spaces.
    pub fn line(&self, line: &str) -> Output {
        let words: Vec<&str> = line.split_whitespace().collect();
        run(&mut self.command(words[0], &words[1..]), "")
    }

    /// As [`Cluster::line`], with text on standard input.
    pub fn line_with(&self, line: &str, input: impl AsRef<[u8]> + Sync) -> Output {
        let words: Vec<&str> = line.split_whitespace().collect();
        run(&mut self.command(words[0], &words[1..]), input)
    }

    /// What a line that succeeds prints.
    ///
    /// # Panics
    /// When it fails.
    pub fn ok(&self, line: &str) -> String {
        self.line(line).expect_ok(line)
    }

    /// Starts a command whose output a test reads while it runs.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn follow(&self, line: &str) -> Child {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut command = self.command(words[0], &words[1..]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts")
    }

    /// Objects as JSON.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn get(&self, what: &str) -> Result<Value, String> {
        let output = self.line(&format!("kubectl get {what} --output=json --request-timeout=5s"));
        if !output.ok {
            return Err(output.stderr);
        }
        serde_json::from_str(&output.stdout).map_err(|e| format!("{what}: {e}"))
    }

    /// The names of the pods with a label that are ready and are not being deleted.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn ready_pods(&self, namespace: &str, label: &str) -> Result<Vec<String>, String> {
        let pods = self.get(&format!("pods --namespace={namespace} --selector={label}"))?;
        let is_ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array();
            let ready = conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
            ready && pod["metadata"]["deletionTimestamp"].is_null()
        };
        let items = pods["items"].as_array().ok_or("no items")?;
        Ok(items.iter().filter(is_ready).map(|p| text(&p["metadata"]["name"])).collect())
    }

    /// Waits until so many pods with the label are ready.
    pub fn wait_ready(&self, namespace: &str, label: &str, count: usize, limit: Duration) -> Vec<String> {
        eventually(&format!("{count} ready pods {label} in {namespace}"), limit, || {
            let ready = self.ready_pods(namespace, label)?;
            if ready.len() == count {
                Ok(ready)
            } else {
                Err(self.line(&format!("kubectl get pods -n {namespace} -o wide")).stdout)
            }
        })
    }

    /// An empty namespace for a test.
    pub fn namespace(&self, name: &str) -> String {
        let name = format!("e2e-{name}");
        if self.line(&format!("kubectl get namespace {name}")).ok {
            self.ok(&format!("kubectl delete namespace {name} --timeout=60s"));
        }
        self.ok(&format!("kubectl create namespace {name}"));
        eventually("the namespace's service account", SOON, || {
            self.get(&format!("serviceaccount default --namespace={name}")).map(drop)
        });
        name
    }

    /// Where the demo's page is on a node.
    #[must_use]
    pub fn demo_at(&self, node: u8) -> SocketAddr {
        SocketAddr::from(([10, 201, 0, 10 + node], 30080))
    }

    /// Deploys the demo unless it is there, and waits until it answers on both nodes.
    pub fn demo(&self) {
        self.ok("kubectl apply --filename deploy/demo");
        self.ok("kubectl scale deployment web --replicas=3");
        for deployment in ["redis", "web"] {
            self.ok(&format!("kubectl rollout status deployment/{deployment} --timeout=120s"));
        }
        // A pod that an earlier test scaled away may take its grace period; its containers are not the demo's any more.
        eventually("nothing of the demo is on its way out", SOON, || {
            let pods = self.get("pods --selector=app")?;
            let items = pods["items"].as_array().ok_or("no items")?;
            let going = items.iter().filter(|p| !p["metadata"]["deletionTimestamp"].is_null()).count();
            if going == 0 { Ok(()) } else { Err(format!("{going} pods are on their way out")) }
        });
        for node in [1, 2] {
            eventually(&format!("the demo on node {node}"), SOON, || self.page(node).map(drop));
        }
    }

    /// The pod that answered and the counter, from the demo's page.
    ///
    /// # Errors
    /// When the page is not there.
    pub fn page(&self, node: u8) -> Result<(String, u64), String> {
        let (status, body) = machine::http_get(self.demo_at(node), "/")?;
        let part = |id: &str| {
            let after = body.split(&format!("id=\"{id}\">")).nth(1)?;
            after.split('<').next().map(str::to_owned)
        };
        match (status, part("pod"), part("count").and_then(|c| c.parse().ok())) {
            (200, Some(pod), Some(count)) => Ok((pod, count)),
            _ => Err(format!("status {status}: {}", body.trim())),
        }
    }

    /// A service of the cluster: its process id, once it works.
    ///
    /// # Errors
    /// When it does not work.
    pub fn service(&self, name: &str) -> Result<i64, String> {
        let output = self.local(&["service", "status", name]);
        let status: Value = serde_json::from_str(&output.stdout).map_err(|e| format!("{e}: {}", output.stderr))?;
        match (status["state"].as_str(), status["pid"].as_i64()) {
            (Some("ready"), Some(pid)) => Ok(pid),
            _ => Err(status.to_string()),
        }
    }

    /// The names of the services, in the order in which they are listed.
    pub fn services(&self) -> Vec<String> {
        let listed: Value =
            serde_json::from_str(&self.local(&["status", "--json"]).stdout).expect("a list of services");
        listed.as_array().expect("a list").iter().map(|s| text(&s["name"])).collect()
    }

    /// Docker on a node.
    pub fn docker(&self, node: u8, args: &[&str]) -> Output {
        let host = format!("unix:///run/gantry/{NAME}/node-{node}/docker.sock");
        run(Command::new("docker").args(["--host", &host]).args(args), "")
    }

    /// The ids of the running containers of both nodes, for pods in the namespace `default` (other tests' pods come and go).
    pub fn container_ids(&self) -> BTreeSet<String> {
        let filter = "label=io.kubernetes.pod.namespace=default";
        let on = |node| self.docker(node, &["ps", "--quiet", "--no-trunc", "--filter", filter]).expect_ok("docker ps");
        [on(1), on(2)].iter().flat_map(|ids| ids.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// Sockets and pid files of the cluster.
    #[must_use]
    pub fn run_folder(&self) -> PathBuf {
        Path::new("/run/gantry").join(NAME)
    }

    /// etcdctl with the API server's certificate: what the server stored.
    pub fn etcdctl(&self, args: &[&str]) -> Output {
        let pki = self.state().join("pki");
        let file = |name: &str| pki.join(name).display().to_string();
        let endpoint = format!("https://127.0.0.1:{}", self.port_of("etcd"));
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &endpoint, "--cacert", &file("etcd-ca.crt")]);
        command.args(["--cert", &file("apiserver-etcd-client.crt"), "--key", &file("apiserver-etcd-client.key")]);
        run(command.args(args), "")
    }

    /// Where the API server is.
    #[must_use]
    pub fn server(&self) -> String {
        format!("https://10.201.0.1:{}", self.port)
    }

    /// A port of the control plane: `etcd`, `registry`.
    ///
    /// # Panics
    /// When there is no such port.
    #[must_use]
    pub fn port_of(&self, service: &str) -> u16 {
        let text = fs::read_to_string(self.state().join("cluster.json")).expect("a cluster description");
        let config: Value = serde_json::from_str(&text).expect("a cluster description");
        u16::try_from(config["ports"][service].as_u64().expect("a port")).expect("a port")
    }
}

/// A text value.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
