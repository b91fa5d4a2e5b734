//! A node for tests: a network namespace, a Docker in it, and workers for pods.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use gantry_common::clock::{self, SharedClock};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::rig::{Api, deps, pod};
use crate::{
    network::{PodNetwork, Routed},
    pause,
    runtime::{Chunk, Docker, LogOptions, Runtime},
    worker::{self, Deps, Handle},
};

pub(super) const IMAGE: &str = "gt-busybox:1";
/// A whole test, on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

/// A node: a namespace and a Docker in it. Both go with this.
pub(super) struct Machine {
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
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Short enough for the kernel's names, and another one for each test of the process.
        let name = format!("gt-kubelet-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
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

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn endpoint(&self) -> String {
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

    pub(super) fn start_dockerd(&mut self) {
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

    pub(super) fn stop_dockerd(&mut self, signal: &str) {
        if let Some(mut child) = self.dockerd.take() {
            drop(Command::new("kill").args([signal, &child.id().to_string()]).status());
            drop(child.wait());
        }
    }
}

impl Machine {
    /// A Docker that a test has killed may not have come back: what it left is found by names that are this node's alone,
    /// that of its socket in shims' command lines and that of its control groups in containers' processes.
    fn kill_what_is_left(&self) {
        let (socket, group) = (self.path("c.sock"), super::rig::cgroup_root(&self.path("root")) + "/");
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let read = |file: &str| std::fs::read_to_string(process.path().join(file)).unwrap_or_default();
            if read("cmdline").contains(&socket.display().to_string()) || read("cgroup").contains(&group) {
                let _gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
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
        self.kill_what_is_left();
        let unmount = format!(
            "grep -o '{}[^ ]*' /proc/self/mountinfo | sort -ur | xargs -r umount -l 2>/dev/null",
            self.folder.path().display()
        );
        drop(Command::new("sh").args(["-c", &unmount]).status());
        drop(Command::new("ip").args(["netns", "del", &self.name]).status());
        let group = super::rig::cgroup_root(&self.path("root"));
        let groups = format!(
            "for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do find $tree{group} -depth -type d -exec rmdir {{}} +; rmdir $tree/gt-kubelet-test; done 2>/dev/null"
        );
        drop(Command::new("sh").args(["-c", &groups]).status());
    }
}

/// One pod and its worker on the machine.
pub(super) struct Running {
    pub(super) api: Api,
    pub(super) deps: Arc<Deps>,
    pub(super) events: Arc<Mutex<Vec<String>>>,
    pub(super) handle: Arc<Mutex<Option<Handle>>>,
    pub(super) ended: mpsc::Receiver<String>,
}

pub(super) struct Node {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) network: Arc<dyn PodNetwork>,
    pub(super) root: PathBuf,
}

impl Node {
    pub(super) fn run(&self, uid: &str, spec: serde_json::Value, api: Option<Api>) -> Running {
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
    pub(super) async fn until(&self, text: &str, restarts: i32) {
        for _ in 0..600 {
            if self.api.shown() == (text.to_owned(), restarts) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let state = self.api.pod().status.and_then(|s| s.container_statuses);
        panic!("never {text} with {restarts} restarts: {state:?}\n{:#?}", self.events.lock());
    }

    pub(super) fn container(&self) -> String {
        let status = self.api.pod().status.unwrap().container_statuses.unwrap().remove(0);
        status.container_id.unwrap().trim_start_matches("docker://").to_owned()
    }

    pub(super) async fn exec(&self, script: &str) -> String {
        let command = ["/bin/busybox", "sh", "-c", script].map(str::to_owned);
        self.deps.commands.run(&self.container(), &command, Duration::from_secs(10)).await.unwrap().output
    }

    pub(super) async fn log(&self) -> String {
        use futures::TryStreamExt;
        let stream = self.deps.runtime.logs(&self.container(), &LogOptions::default()).await.unwrap();
        let chunks: Vec<bytes::Bytes> = stream.map_ok(Chunk::into_bytes).try_collect().await.unwrap();
        String::from_utf8(chunks.concat()).unwrap()
    }
}

fn busybox() -> Vec<u8> {
    let binary = std::fs::read("/bin/busybox").unwrap();
    pause::saved_image(IMAGE, &["/bin/busybox"], &[("bin/busybox", &binary, 0o755)]).unwrap()
}

/// A node whose Docker answers and has an image.
pub(super) async fn node(machine: &Machine) -> Node {
    let runtime: Arc<dyn Runtime> = Arc::new(Docker::new(&machine.endpoint()));
    answers(&runtime).await;
    runtime.load(busybox()).await.unwrap();
    let root = machine.path("root");
    std::fs::create_dir_all(root.join("pods")).unwrap();
    let network = Routed::open(&root, [10, 250, 0, 11].into()).unwrap();
    network.set_range("10.251.7.0/24".parse().unwrap());
    Node { runtime, network: Arc::new(network), root }
}

pub(super) async fn answers(runtime: &Arc<dyn Runtime>) {
    for attempt in 0.. {
        match runtime.info().await {
            Ok(_) => return,
            Err(error) if attempt == 300 => panic!("dockerd does not answer: {error:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Runs a test on a machine of its own, or says why that cannot be.
pub(super) fn on_a_machine(scenario: impl AsyncFnOnce(&mut Machine) + Send + 'static) {
    let there = |program: &str| {
        Command::new("sh").args(["-c", &format!("command -v {program}")]).output().is_ok_and(|o| o.status.success())
    };
    let missing = ["dockerd", "nsenter", "ip"].into_iter().find(|program| !there(program));
    if !nix::unistd::geteuid().is_root() || missing.is_some() || !Path::new("/bin/busybox").exists() {
        let needed = "needs root, dockerd, ip, nsenter and /bin/busybox (busybox-static)";
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
