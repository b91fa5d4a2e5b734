//! Workers on a real Docker, in a network namespace of their own: the runtime, the network, volumes and adoption.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use gantry_common::clock::{self, SharedClock};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc;

use super::rig::{Api, deps, pod};
use crate::{
    network::{PodNetwork, Routed},
    pause,
    runtime::{Chunk, Docker, LogOptions, Runtime},
    worker::{self, Deps, Handle, Input},
};

const IMAGE: &str = "gt-busybox:1";
/// The whole test, on a busy machine.
const LIMIT: Duration = Duration::from_secs(150);

/// A node: a namespace and a Docker in it. Both go with this.
struct Machine {
    name: String,
    folder: tempfile::TempDir,
    containerd: Option<Child>,
    dockerd: Option<Child>,
}

fn run(command: &str) {
    let status = Command::new("sh").args(["-ec", command]).status().unwrap();
    assert!(status.success(), "{command}");
}

impl Machine {
    fn start() -> Self {
        let name = format!("gt-kubelet-{}", std::process::id());
        let mut machine =
            Self { name: name.clone(), folder: tempfile::tempdir_in("/tmp").unwrap(), containerd: None, dockerd: None };
        run(&format!(
            "ip netns add {name}; ip -n {name} link set lo up; ip -n {name} link add up0 type veth peer name up1;
             ip -n {name} addr add 10.250.0.11/24 dev up0; ip -n {name} link set up0 mtu 1400 up; ip -n {name} link set up1 up"
        ));
        std::fs::write(machine.path("daemon.json"), "{}").unwrap();
        machine.start_containerd();
        machine.start_dockerd();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn endpoint(&self) -> String {
        format!("unix://{}", self.path("d.sock").display())
    }

    /// Beside Docker and not below it, so that it outlives a Docker that is killed.
    fn start_containerd(&mut self) {
        let place = |name: &str| self.path(name).display().to_string();
        let text = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{}\"\n",
            place("cd-root"),
            place("cd-state"),
            place("c.sock")
        );
        std::fs::write(self.path("containerd.toml"), text).unwrap();
        let mut command = Command::new("containerd");
        command.arg("--config").arg(self.path("containerd.toml")).stdout(Stdio::null()).stderr(Stdio::null());
        self.containerd = Some(command.spawn().unwrap());
        for _ in 0..300 {
            if self.path("c.sock").exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("containerd did not start");
    }

    fn start_dockerd(&mut self) {
        let log = File::create(self.path("dockerd.log")).unwrap();
        let child = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.name))
            .args(["dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"])
            .arg(format!("--containerd={}", self.path("c.sock").display()))
            .args(["--live-restore", "--containerd-namespace", &self.name])
            .args(["--containerd-plugins-namespace", &format!("{}-plugins", self.name)])
            .arg(format!("--data-root={}", self.path("data").display()))
            .arg(format!("--exec-root={}", self.path("exec").display()))
            .arg(format!("--pidfile={}", self.path("d.pid").display()))
            .arg(format!("--config-file={}", self.path("daemon.json").display()))
            .arg(format!("--host={}", self.endpoint()))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.dockerd = Some(child);
    }

    fn stop_dockerd(&mut self, signal: &str) {
        if let Some(mut child) = self.dockerd.take() {
            drop(Command::new("kill").args([signal, &child.id().to_string()]).status());
            drop(child.wait());
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The containers would outlive their Docker: their shims and processes go first.
        let docker = format!("docker -H {} ", self.endpoint());
        let remove = format!("timeout 20 sh -c '{docker} ps -aq | xargs -r {docker} rm -f' >/dev/null 2>&1");
        drop(Command::new("sh").args(["-c", &remove]).status());
        self.stop_dockerd("-TERM");
        if let Some(mut child) = self.containerd.take() {
            drop(child.kill());
            drop(child.wait());
        }
        let unmount = format!(
            "grep -o '{}[^ ]*' /proc/self/mountinfo | sort -ur | xargs -r umount -l",
            self.folder.path().display()
        );
        drop(Command::new("sh").args(["-c", &unmount]).status());
        drop(Command::new("ip").args(["netns", "del", &self.name]).status());
        for controller in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let root = controller.path().join("gt-kubelet-test");
            drop(std::fs::remove_dir(root.join("kubepods/besteffort")));
            drop(std::fs::remove_dir(root.join("kubepods/burstable")));
            drop(std::fs::remove_dir(root.join("kubepods")));
            drop(std::fs::remove_dir(root));
        }
    }
}

/// One pod and its worker on the machine.
struct Running {
    api: Api,
    deps: Arc<Deps>,
    events: Arc<Mutex<Vec<String>>>,
    handle: Arc<Mutex<Option<Handle>>>,
    ended: mpsc::Receiver<String>,
}

struct Node {
    runtime: Arc<dyn Runtime>,
    network: Arc<dyn PodNetwork>,
    root: PathBuf,
}

impl Node {
    fn run(&self, uid: &str, spec: serde_json::Value, api: Option<Api>) -> Running {
        let clock: SharedClock = clock::system();
        let api = api.unwrap_or_else(|| {
            let mut made = pod(spec);
            made.metadata.uid = Some(uid.to_owned());
            Api::with(made)
        });
        let (changed, mut changes) = mpsc::channel(64);
        let (runtime, network) = (Arc::clone(&self.runtime), Arc::clone(&self.network));
        let (deps, events) = deps(runtime, network, &self.root, &clock, &api, changed);
        let (ended_in, ended) = mpsc::channel(4);
        let handle: Arc<Mutex<Option<Handle>>> = Arc::default();
        let (slot, starter, first) = (Arc::clone(&handle), Arc::clone(&deps), Arc::new(api.pod()));
        gantry_common::task::spawn("wake", async move {
            let mut health = starter.observed.health();
            drop(health.wait_for(|h| *h == crate::observe::Health::Up).await);
            *slot.lock() = Some(worker::spawn(&starter, &first, false, ended_in));
            while changes.recv().await.is_some() {
                if let Some(handle) = &*slot.lock() {
                    handle.wake();
                }
            }
        });
        Running { api, deps, events, handle, ended }
    }
}

impl Running {
    async fn until(&self, text: &str, restarts: i32) {
        for _ in 0..600 {
            if self.api.shown() == (text.to_owned(), restarts) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let state = self.api.pod().status.and_then(|s| s.container_statuses);
        panic!("never {text} with {restarts} restarts: {state:?}\n{:#?}", self.events.lock());
    }

    fn container(&self) -> String {
        let status = self.api.pod().status.unwrap().container_statuses.unwrap().remove(0);
        status.container_id.unwrap().trim_start_matches("docker://").to_owned()
    }

    async fn exec(&self, script: &str) -> String {
        let command = ["/bin/busybox", "sh", "-c", script].map(str::to_owned);
        self.deps.commands.run(&self.container(), &command, Duration::from_secs(10)).await.unwrap().output
    }

    async fn log(&self) -> String {
        use futures::TryStreamExt;
        let stream = self.deps.runtime.logs(&self.container(), &LogOptions::default()).await.unwrap();
        let chunks: Vec<bytes::Bytes> = stream.map_ok(Chunk::into_bytes).try_collect().await.unwrap();
        String::from_utf8(chunks.concat()).unwrap()
    }
}

fn web() -> serde_json::Value {
    json!({
        "terminationGracePeriodSeconds": 2,
        "volumes": [
            {"name": "www", "downwardAPI": {"items": [{"path": "index.html", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"name": "scratch", "emptyDir": {}},
        ],
        "containers": [{
            "name": "app", "image": IMAGE, "imagePullPolicy": "Never",
            "command": ["/bin/busybox", "sh", "-c"],
            "args": ["echo started as $(NAME); /bin/busybox httpd -f -p 8080 -h /www & trap 'exit 7' TERM; while :; do /bin/busybox sleep 1; done"],
            "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}},
            "volumeMounts": [{"name": "www", "mountPath": "/www"}, {"name": "scratch", "mountPath": "/s", "subPath": "deep/er"}],
            "readinessProbe": {"httpGet": {"port": 8080, "path": "/index.html"}, "periodSeconds": 1},
        }],
    })
}

/// Init container, user, working directory, limits, a path of the node, and probes that the startup probe holds back.
fn full(shared: &Path) -> serde_json::Value {
    let go = json!({"exec": {"command": ["/bin/busybox", "test", "-f", "/s/go"]}, "periodSeconds": 1});
    let mounts =
        json!([{"name": "scratch", "mountPath": "/s"}, {"name": "shared", "mountPath": "/host", "readOnly": true}]);
    let with = |threshold: i32| {
        let mut probe = go.clone();
        probe["failureThreshold"] = threshold.into();
        probe
    };
    json!({
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsUser": 1234, "runAsGroup": 1235},
        "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "shared", "hostPath": {"path": shared, "type": "Directory"}}],
        "initContainers": [{
            "name": "first", "image": IMAGE, "imagePullPolicy": "Never", "volumeMounts": mounts,
            "command": ["/bin/busybox", "sh", "-c", "echo prepared > /s/init"],
        }],
        "containers": [{
            "name": "app", "image": IMAGE, "imagePullPolicy": "Never", "volumeMounts": mounts, "workingDir": "/s",
            "command": ["/bin/busybox", "sleep", "3600"],
            "resources": {"limits": {"memory": "48Mi", "cpu": "250m"}},
            "startupProbe": with(100), "livenessProbe": with(1),
        }],
    })
}

async fn inside_full(full: &Running) {
    let seen =
        full.exec("/bin/busybox pwd; /bin/busybox id -u; /bin/busybox id -g; /bin/busybox cat init /host/file").await;
    assert_eq!(seen, "/s\n1234\n1235\nprepared\nof the node\n");
    let limits = full
        .exec(
            "cd /sys/fs/cgroup; /bin/busybox cat memory/memory.limit_in_bytes || /bin/busybox cat memory.max; \
             /bin/busybox cat cpu/cpu.cfs_quota_us || /bin/busybox cat cpu.max",
        )
        .await;
    assert!(limits.contains(&(48 << 20).to_string()) && limits.contains("25000"), "{limits}");
    // Long enough for the liveness probe to have failed, if it ran already.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(full.api.shown(), ("Running".to_owned(), 0), "the startup probe holds the others back");
    full.exec("echo > /s/go").await;
    full.until("Ready", 0).await;
}

fn client() -> serde_json::Value {
    json!({"terminationGracePeriodSeconds": 0, "containers": [{
        "name": "app", "image": IMAGE, "imagePullPolicy": "Never",
        "command": ["/bin/busybox", "sleep", "3600"],
    }]})
}

fn busybox() -> Vec<u8> {
    let binary = std::fs::read("/bin/busybox").unwrap();
    pause::saved_image(IMAGE, &["/bin/busybox"], &[("bin/busybox", &binary, 0o755)]).unwrap()
}

async fn scenario(machine: &mut Machine) {
    let runtime: Arc<dyn Runtime> = Arc::new(Docker::new(&machine.endpoint()));
    for attempt in 0.. {
        match runtime.info().await {
            Ok(_) => break,
            Err(error) if attempt == 300 => panic!("dockerd does not answer: {error:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    runtime.load(busybox()).await.unwrap();
    let root = machine.path("root");
    std::fs::create_dir_all(root.join("pods")).unwrap();
    let network = Routed::open(&root, [10, 250, 0, 11].into()).unwrap();
    network.set_range("10.251.7.0/24".parse().unwrap());
    network.set_peers(&[]).await.unwrap();
    let node = Node { runtime, network: Arc::new(network), root };

    let mut first = node.run("aaaaaaaa-0000-0000-0000-000000000001", web(), None);
    first.until("Ready", 0).await;
    inside(&first).await;
    let shared = machine.path("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("file"), "of the node\n").unwrap();
    let third = node.run("aaaaaaaa-0000-0000-0000-000000000003", full(&shared), None);
    third.until("Running", 0).await;
    inside_full(&third).await;
    let second = node.run("aaaaaaaa-0000-0000-0000-000000000002", client(), None);
    second.until("Ready", 0).await;
    let ip = first.api.pod().status.unwrap().pod_ip.unwrap();
    let answer =
        second.exec(&format!("printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | /bin/busybox nc {ip} 8080")).await;
    assert!(answer.ends_with("web"), "pod to pod: {answer}");

    // The kubelet dies and comes back: the same container, never unready.
    let id = first.container();
    drop(first.handle.lock().take());
    first = node.run("aaaaaaaa-0000-0000-0000-000000000001", web(), Some(first.api.clone()));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((first.container(), first.api.shown()), (id.clone(), ("Ready".to_owned(), 0)));

    // Docker dies and comes back.
    machine.stop_dockerd("-KILL");
    machine.start_dockerd();
    let mut health = first.deps.observed.health();
    health.wait_for(|h| matches!(h, crate::observe::Health::Down(_))).await.unwrap();
    health.wait_for(|h| *h == crate::observe::Health::Up).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((first.container(), first.api.shown()), (id.clone(), ("Ready".to_owned(), 0)));

    first.deps.runtime.signal(&id, Some("KILL")).await.unwrap();
    first.until("Ready", 1).await;
    assert_ne!(first.container(), id);
    end(&mut first, &node.root).await;
    drop((second, third));
}

/// What the container sees.
async fn inside(first: &Running) {
    let ip = first.api.pod().status.unwrap().pod_ip.unwrap();
    assert!(first.log().await.contains("started as web"), "{}", first.log().await);
    let hosts = first.exec("/bin/busybox cat /etc/hosts").await;
    assert!(hosts.contains(&format!("{ip}\tweb")), "{hosts}");
    assert_eq!(first.exec("/bin/busybox hostname").await.trim(), "web");
    assert_eq!(first.exec("echo x > /s/file && /bin/busybox cat /s/file").await.trim(), "x");
    let readonly = first.exec("echo x > /www/file; true").await;
    assert!(readonly.contains("Read-only"), "{readonly}");
    let route = first.exec("/bin/busybox ip route; /bin/busybox ip link show eth0").await;
    assert!(route.contains("default via 169.254.1.1") && route.contains("mtu 1400"), "{route}");
    let group = first.exec("/bin/busybox cat /proc/self/cgroup").await;
    assert!(group.is_empty() || group.contains("kubepods") || group.contains('/'), "{group}");
}

async fn end(first: &mut Running, root: &Path) {
    let uid = first.api.pod().metadata.uid.unwrap();
    let deleting = Arc::new(first.api.mark_deleted(2));
    if let Some(handle) = &*first.handle.lock() {
        handle.send(Input::Present(deleting));
    }
    for _ in 0..200 {
        if *first.api.deleted.lock() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(*first.api.deleted.lock(), "the deletion was not confirmed");
    let last = first.api.last.lock().clone().unwrap().status.unwrap().container_statuses.unwrap().remove(0);
    assert_eq!(last.state.unwrap().terminated.unwrap().exit_code, 7, "the container was asked first");
    assert!(!root.join("pods").join(&uid).exists(), "volumes are left");
    assert!(!first.deps.network.holders().contains(&uid), "the address is left");
    assert!(first.deps.observed.of(&uid).is_empty(), "containers are left");
    if let Some(handle) = &*first.handle.lock() {
        handle.send(Input::Gone);
    }
    assert!(first.ended.recv().await.is_some());
}

#[test]
fn pods_on_a_real_docker() {
    let there = |program: &str| {
        Command::new("sh").args(["-c", &format!("command -v {program}")]).output().is_ok_and(|o| o.status.success())
    };
    let missing = ["dockerd", "nft", "nsenter", "ip"].into_iter().find(|program| !there(program));
    if !nix::unistd::geteuid().is_root() || missing.is_some() || !Path::new("/bin/busybox").exists() {
        let needed = "needs root, dockerd, nft, ip, nsenter and /bin/busybox (busybox-static)";
        crate::skips::note(&format!("{needed}; missing: {missing:?}"));
        return;
    }
    // A thread of its own: only it (and the threads that it starts) lives in the node's namespace.
    let body = || {
        let mut machine = Machine::start();
        let namespace = File::open(format!("/run/netns/{}", machine.name)).unwrap();
        nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let limited = async { tokio::time::timeout(LIMIT, scenario(&mut machine)).await.expect("it took too long") };
        runtime.block_on(limited);
    };
    std::thread::spawn(body).join().unwrap();
}
