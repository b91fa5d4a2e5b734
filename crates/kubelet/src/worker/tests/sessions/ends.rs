//! How sessions end, and that nothing is left of them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use gantry_proto::v1::{AttachRequest, ExecRequest, PortForwardRequest, open_session::Kind, session_frame::Frame};

use super::{
    super::machine::{self, Machine, Node, Running},
    client::{Client, Served, shell},
    until,
};
use crate::{
    exec::{Commands, GRACE, Started},
    runtime::{ExecSpec, Role},
};

/// The processes in the pod's container, as the node sees them.
fn processes(pod: &Running) -> BTreeSet<i32> {
    let id = pod.container();
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    all.filter(|pid| crate::process::is_in_container(*pid, &id)).collect()
}

/// The processes whose command line ends so.
fn called(ending: &str) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let ending = format!("{}\0", ending.replace(' ', "\0"));
    all.filter(|line| line.ends_with(ending.as_bytes())).count()
}

/// The kubelet's folder.
fn root(pod: &Running) -> PathBuf {
    pod.deps.volumes.pod_dir("x").parent().unwrap().parent().unwrap().to_owned()
}

fn records(root: &Path) -> usize {
    fs::read_dir(root.join("sessions")).map_or(0, Iterator::count)
}

/// The connections of this node's sessions: to its Docker, and to the server in the pod. Other tests have their own.
fn connections(pod: &Running) -> usize {
    // This end has no path, the listening one does; Docker itself keeps its end until its memory is tidied up.
    let docker = fs::read_to_string("/proc/thread-self/net/unix").unwrap();
    let docker = docker.lines().filter(|line| line.split_whitespace().count() == 7).count();
    let uid = pod.api.pod().metadata.uid.unwrap();
    let inside = pod.deps.observed.of(&uid).into_iter().find(|c| c.role == Role::Sandbox).unwrap().pid;
    let table = fs::read_to_string(format!("/proc/{inside}/net/tcp")).unwrap();
    // Established ones (01), with port 9000 at the other end; the server's own are in the table of IPv6.
    let open = table.lines().filter(|line| line.contains(":2328 ") && line.split_whitespace().nth(3) == Some("01"));
    docker + open.count()
}

/// A tree of processes: one that ignores SIGHUP, one with a session of its own, one whose parent has gone.
const TREE: &str = "(trap '' HUP; while :; do /bin/busybox sleep 71717; done) & \
                    /bin/busybox setsid /bin/busybox sleep 71717 & \
                    (/bin/busybox sleep 71717 &); echo started; /bin/busybox sleep 71717";

pub(super) async fn broken_off(served: &Served, pod: &Running) {
    for tty in [false, true] {
        let before = processes(pod);
        let mut client = served.open(Kind::Exec(ExecRequest { tty, ..shell(TREE) })).await.unwrap();
        client.lines(1).await;
        until("four sleepers", 10, async || called("sleep 71717") == 4).await;
        drop(client);
        until("all ended", 10, async || called("sleep 71717") == 0).await;
        // The container's own loop starts a new sleep each second, so only the number is the same.
        until("as many processes as before", 10, async || processes(pod).len() <= before.len()).await;
    }
    // One that is broken off before it has begun.
    drop(served.shell("/bin/busybox sleep 71718").await);
    let root = root(pod);
    until("it never lasted", 10, async || called("sleep 71718") == 0 && served.idle() && records(&root) == 0).await;
}

pub(super) async fn two_hundred(served: &Served, pod: &Running) {
    until("no session", 10, async || served.idle()).await;
    let root = root(pod);
    let (streams, inside) = (connections(pod), processes(pod).len());
    let mut clients: Vec<Client> = Vec::new();
    for number in 0..200 {
        let client = match number % 5 {
            0 => served.shell("echo started; /bin/busybox sleep 71719").await,
            1 => {
                let request = AttachRequest {
                    namespace: "default".into(),
                    pod: "web".into(),
                    stdout: true,
                    ..Default::default()
                };
                served.open(Kind::Attach(request)).await.unwrap()
            }
            _ => {
                let request = PortForwardRequest {
                    namespace: "default".into(),
                    pod: "web".into(),
                    port: 9000,
                    ..Default::default()
                };
                served.open(Kind::PortForward(request)).await.unwrap()
            }
        };
        clients.push(client);
    }
    until("forty sleepers", 60, async || called("sleep 71719") == 40).await;
    assert!(records(&root) >= 40 && processes(pod).len() >= inside + 40);
    // One for each: forwarded ones to the pod, the others to Docker.
    assert!(connections(pod) >= streams + 195, "{} connections, {streams} before", connections(pod));
    drop(clients);
    until("no session is left", 30, async || served.idle()).await;
    until("no process is left", 30, async || called("sleep 71719") == 0).await;
    until("no record is left", 10, async || records(&root) == 0).await;
    // The servers behind the forwarded connections end with those.
    until("no more processes than before", 30, async || processes(pod).len() <= inside).await;
    until("no connection is left", 10, async || connections(pod) <= streams).await;
}

/// Commands that Docker still knows in the pod's container.
fn known(machine: &Machine, pod: &Running) -> String {
    let id = pod.container();
    let inspect = ["-H", &machine.endpoint(), "inspect", "--format", "{{len .ExecIDs}}", &id];
    let output = std::process::Command::new("docker").args(inspect).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Openings that are given up, before the session begins and at every moment of its start.
pub(super) async fn never_started(machine: &Machine, served: &Served, pod: &Running) {
    until("nothing before", 10, async || known(machine, pod) == "0").await;
    for number in 0..100_u64 {
        let command = Kind::Exec(shell("exec /bin/busybox sleep 71725"));
        if number % 4 == 0 {
            let deferred = number % 8 == 0;
            drop(served.sessions.accept(Some(command), deferred).await.unwrap());
        } else {
            let client = served.open(command).await.unwrap();
            // A start takes some tens of milliseconds.
            tokio::time::sleep(Duration::from_millis(number % 50)).await;
            drop(client);
        }
    }
    let root = root(pod);
    until("no session is left", 30, async || served.idle() && records(&root) == 0).await;
    until("Docker has forgotten all of them", 30, async || known(machine, pod) == "0").await;
    assert_eq!(called("sleep 71725"), 0);
}

/// A kubelet that was killed: its commands are ended by the next one, and nobody else's.
pub(super) async fn left_behind(node: &Node, pod: &Running) {
    let folder = tempfile::tempdir().unwrap();
    let first = Commands::new(Arc::clone(&node.runtime), folder.path());
    let words = |last: &str| ["/bin/busybox", "sleep", last].map(str::to_owned).to_vec();
    let spec = ExecSpec { command: words("71720"), stdout: true, ..ExecSpec::default() };
    let mut command = first.prepare(&pod.container(), spec, GRACE);
    assert!(matches!(command.start().await.unwrap(), Started::Running(_)));
    // What a process that is killed does with what it owns: nothing.
    std::mem::forget(command);
    let spec = ExecSpec { command: words("71721"), stdout: true, ..ExecSpec::default() };
    let others = node.runtime.exec_create(&pod.container(), &spec).await.unwrap();
    let _streams = node.runtime.exec_start(&others, &spec).await.unwrap();
    until("both run", 10, async || called("sleep 71720") == 1 && called("sleep 71721") == 1).await;

    let second = Commands::new(Arc::clone(&node.runtime), folder.path());
    second.clean_up();
    second.settle().await;
    assert_eq!((called("sleep 71720"), called("sleep 71721"), records(folder.path())), (0, 1, 0));
    let pid = node.runtime.exec_state(&others).await.unwrap().unwrap().pid.unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

pub(super) async fn bounds(pod: &Running) {
    let served = Served::of(pod, 2);
    let first = served.shell("echo started; /bin/busybox sleep 71722").await;
    let second = served.shell("read x").await;
    let status = served.open(Kind::Exec(shell("true"))).await.err().expect("there is no room");
    let words = "the node serves 2 sessions already, as many as --max-sessions allows";
    assert_eq!((status.code, status.message.as_str()), (429, words));
    drop(second);
    until("room again", 10, async || served.open(Kind::Exec(shell("true"))).await.is_ok()).await;
    // A kubelet that stops says so, and takes its commands along.
    until("one sleeper", 10, async || called("sleep 71722") == 1).await;
    served.shutdown.trigger();
    let said = first.rest().await;
    assert_eq!(
        (&said.status["code"], &said.status["message"]),
        (&503.into(), &"the node's kubelet is stopping".into())
    );
    served.sessions.settle().await;
    assert_eq!(called("sleep 71722"), 0);
}

/// A kubelet that was killed between making a command and starting it. Docker has no call that takes it back: it is an entry
/// without a process, which the next kubelet leaves alone, and which Docker forgets with the container or with itself.
pub(super) async fn made_and_not_started(machine: &Machine, node: &Node, pod: &Running) {
    until("nothing before", 30, async || known(machine, pod) == "0").await;
    let command = ["/bin/busybox", "sleep", "71726"].map(str::to_owned).to_vec();
    let spec = ExecSpec { command, stdout: true, ..ExecSpec::default() };
    let exec = node.runtime.exec_create(&pod.container(), &spec).await.unwrap();
    let state = node.runtime.exec_state(&exec).await.unwrap().unwrap();
    assert_eq!((state.running, state.pid, known(machine, pod).as_str()), (false, None, "1"));
    let next = Commands::new(Arc::clone(&node.runtime), &root(pod));
    next.clean_up();
    next.settle().await;
    assert_eq!((called("sleep 71726"), known(machine, pod).as_str()), (0, "1"));
}

pub(super) async fn docker_dies(machine: &mut Machine, node: &Node, served: &Served, pod: &Running) {
    assert_eq!(known(machine, pod), "1", "the command that was never started");
    let mut client = served.shell("echo started; /bin/busybox sleep 71723").await;
    client.lines(1).await;
    let mut health = pod.deps.observed.health();
    machine.stop_dockerd("-KILL");
    let said = client.rest().await;
    assert_eq!((&said.status["status"], &said.status["reason"]), (&"Failure".into(), &"InternalError".into()));
    let message = said.status["message"].as_str().unwrap();
    assert!(message.contains("error executing command in container: cannot reach the container runtime"), "{message}");
    until("its process has ended", 10, async || called("sleep 71723") == 0).await;
    machine.start_dockerd();
    machine::answers(&node.runtime).await;
    health.wait_for(|health| *health == crate::observe::Health::Up).await.unwrap();
    assert_eq!(known(machine, pod), "0", "what was made and what ran is forgotten");
    let said = served.shell("echo again").await.rest().await;
    assert_eq!(said.text(), "again\n", "{said:?}");
}

pub(super) async fn pod_dies(served: &Served, pod: &Running) {
    // Its object is gone.
    let mut client = served.shell("echo started; /bin/busybox sleep 71724").await;
    client.lines(1).await;
    served.set(None);
    let said = client.rest().await;
    let words = "the session has ended because pod \"web\" is gone: it was deleted";
    assert_eq!(said.status["message"], words);
    until("its process has ended", 10, async || called("sleep 71724") == 0).await;
    served.set(Some(pod.api.pod()));
    // Its sandbox has ended: connections into its network end too.
    let request =
        PortForwardRequest { namespace: "default".into(), pod: "web".into(), port: 9000, ..Default::default() };
    let mut client = served.open(Kind::PortForward(request)).await.unwrap();
    let uid = pod.api.pod().metadata.uid.unwrap();
    let sandbox = pod.deps.observed.of(&uid).into_iter().find(|c| c.role == Role::Sandbox).unwrap();
    drop(pod.handle.lock().take());
    pod.deps.runtime.signal(&sandbox.id, Some("KILL")).await.unwrap();
    let ending = async {
        loop {
            match client.next().await.expect("a status comes first") {
                Frame::Status(status) => return serde_json::from_slice::<serde_json::Value>(&status).unwrap(),
                Frame::End(_) | Frame::Data(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(10), ending).await.unwrap();
    assert_eq!(status["message"], "the session has ended because pod \"web\" is gone: its sandbox has ended");
}
