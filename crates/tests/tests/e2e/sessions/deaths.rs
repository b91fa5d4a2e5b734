//! A daemon killed in the middle of attach, logs, cp and port-forward: each client ends, says why, and leaves nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use gantry_tests::cluster::{Cluster, SOON, cluster};
use gantry_tests::machine::processes;
use gantry_tests::wait::{ensure, eventually};

use super::forward::{self, Forward};
use super::{NS, SERVER, fixture, gauges};

const POD: &str = "mortal";
/// How long a client may take to notice.
const NOTICED: Duration = Duration::from_secs(60);

/// A pod on the first node: one container that says something all the time, and one that serves the fixture's ports.
fn pod(c: &Cluster) {
    if c.line(&format!("kubectl get pod -n {NS} {POD}")).ok {
        return;
    }
    let script = "while :; do echo tick; sleep 0.2; done";
    let ticks = serde_json::json!({"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]});
    let serves = serde_json::json!({
        "name": "server", "image": "gantry-demo-web", "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-u", "-c", SERVER], "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
    });
    let mut pod = super::pod(POD, "node-1", &ticks);
    pod["spec"]["containers"].as_array_mut().expect("a list").push(serves);
    c.line_with(&format!("kubectl create -n {NS} -f -"), pod.to_string()).expect_ok("create").clear();
    c.wait_ready(NS, &format!("app={POD}"), 1, SOON);
}

/// A client whose words go into files, so that nobody has to read them.
struct Client {
    what: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// How a client ended, and what it said last.
struct Ending {
    ok: bool,
    out: String,
    err: String,
}

impl Client {
    fn start(c: &Cluster, name: &str, tool: &str, line: &str) -> Self {
        let (out, err) = (c.data_dir().join(format!("{name}.out")), c.data_dir().join(format!("{name}.err")));
        let file = |path: &PathBuf| Stdio::from(std::fs::File::create(path).expect("a file"));
        let mut command = c.command(tool, &line.split_whitespace().collect::<Vec<_>>());
        command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
        Self { what: format!("{tool} {line}"), child: command.spawn().expect("it starts"), out, err }
    }

    fn until_it_hears(&self) {
        eventually(&format!("{} hears the container", self.what), SOON, || {
            let out = std::fs::read_to_string(&self.out).map_err(|e| e.to_string())?;
            ensure(out.contains("tick"), || std::fs::read_to_string(&self.err).unwrap_or_default())
        });
    }

    fn ending(mut self) -> Ending {
        let status = eventually(&format!("{} ends", self.what), NOTICED, || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        });
        let read = |path: &PathBuf| {
            let text = std::fs::read(path).expect("a file");
            std::fs::remove_file(path).expect("it is there");
            String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]).into_owned()
        };
        Ending { ok: status.success(), out: read(&self.out), err: read(&self.err) }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sessions of one tool, all open, none of which ends by itself.
struct Open {
    attach: Client,
    logs: Client,
    copy: Client,
    target: PathBuf,
    forward: Forward,
    through: TcpStream,
}

fn open(c: &Cluster, tool: &str, marker: u32) -> Open {
    let name = |kind: &str| format!("{kind}-{marker}");
    // A file without blocks: nothing is read from a disk, and it takes longer than the test.
    let file = format!("/tmp/big-{marker}");
    c.ok(&format!("kubectl exec -n {NS} {POD} -c c -- truncate -s 64G {file}"));
    let target = c.data_dir().join(name("copied"));
    drop(std::fs::remove_file(&target));
    let attach = Client::start(c, &name("attach"), tool, &format!("attach -n {NS} {POD} -c c"));
    let logs = Client::start(c, &name("logs"), tool, &format!("logs -n {NS} {POD} -c c -f --tail=1"));
    let from = format!("cp -c c {NS}/{POD}:{file} {}", target.display());
    let copy = Client::start(c, &name("cp"), tool, &from);
    let forward = Forward::start(c, tool, &format!("pod/{POD} :7000"));
    let mut through = TcpStream::connect(forward.at).expect("it listens");
    through.set_read_timeout(Some(NOTICED)).expect("a limit");
    through.write_all(b"before ").expect("it is sent");
    attach.until_it_hears();
    logs.until_it_hears();
    eventually("the file is on its way", SOON, || {
        ensure(!processes(&format!("big-{marker}\0")).is_empty() && archiver(marker), || "no tar".to_owned())
    });
    eventually("the connection reaches the pod", SOON, || ensure(connections(c) > 0, || "no connection".to_owned()));
    Open { attach, logs, copy, target, forward, through }
}

/// Whether a tar in the container works for a copy.
fn archiver(marker: u32) -> bool {
    processes(&format!("big-{marker}"))
        .iter()
        .any(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"tar\0")))
}

/// Open connections to the server's port 7000 in the pod.
fn connections(c: &Cluster) -> usize {
    let table = c.line(&format!("kubectl exec -n {NS} {POD} -c c -- cat /proc/net/tcp /proc/net/tcp6")).stdout;
    let open = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(1).is_some_and(|local| local.ends_with(":1B58")) && fields.get(3) == Some(&"01")
    };
    table.lines().filter(open).count()
}

/// Says why it ended, be it as an error or as the last line of a log, whose status has long been sent.
fn explained(what: &str, ending: &Ending, exempt: bool) {
    let last = ending.out.lines().rev().find(|line| !line.is_empty()).unwrap_or_default();
    let told = !ending.ok && !ending.err.trim().is_empty() || !last.is_empty() && last != "tick";
    assert!(exempt || told, "{what}: {} {:?} {:?}", ending.ok, last, ending.err);
}

fn killed(c: &Cluster, service: &str, marker: u32) {
    fixture(c);
    pod(c);
    gauges::idle(c);
    for (marker, tool) in (marker..).zip(c.kubectls().into_iter().chain(["gantryctl".to_owned()])) {
        let Open { attach, logs, copy, target, forward: mut forwarded, mut through } = open(c, &tool, marker);
        c.local(&["service", "stop", "--kill", service]).expect_ok("service stop").clear();
        c.local(&["service", "start", service]).expect_ok("service start").clear();
        // kubectl 1.20 takes a connection that is gone for a session that has ended well.
        let deaf = tool.contains("1.20") && service == "apiserver";
        explained(&format!("{tool} attach, {service} killed"), &attach.ending(), deaf);
        explained(&format!("{tool} logs, {service} killed"), &logs.ending(), false);
        explained(&format!("{tool} cp, {service} killed"), &copy.ending(), deaf);
        drop(std::fs::remove_file(target));
        // Half a connection has not been answered; one that lives gets its answer when its half is closed.
        let lives = service.starts_with("dockerd");
        if lives {
            through.write_all(b"and after").expect("it is sent");
            through.shutdown(Shutdown::Write).expect("it is open");
        }
        let mut back = String::new();
        let read = through.read_to_string(&mut back);
        match lives {
            true => assert!(read.is_ok() && back == "before and after", "{tool}, {service} killed: {read:?} {back:?}"),
            false => assert!(back.is_empty(), "{tool}, {service} killed: {back:?}"),
        }
        if tool == "gantryctl" {
            // It looks for an API server and goes on; the next connection is a session of its own.
            eventually("gantryctl port-forward goes on", NOTICED, || {
                let back = forward::round(forwarded.at, b"again").map_err(|error| error.to_string())?;
                ensure(back == b"again", || format!("{back:?}"))
            });
        } else if service == "apiserver" && !deaf {
            eventually(&format!("{tool} port-forward ends with its connection"), NOTICED, || {
                ensure(matches!(forwarded.child.try_wait(), Ok(Some(_))), || "it goes on".to_owned())
            });
        }
        drop((forwarded, through));
        eventually("nothing of it is left in the pod", SOON, || {
            let open = connections(c);
            ensure(open == 0 && !archiver(marker), || format!("{open} connections, tar: {}", archiver(marker)))
        });
        c.ok(&format!("kubectl exec -n {NS} {POD} -c c -- rm /tmp/big-{marker}"));
    }
    gauges::idle(c);
    let restarts =
        c.ok(&format!("kubectl get pod -n {NS} {POD} -o jsonpath={{.status.containerStatuses[*].restartCount}}"));
    assert_eq!(restarts, "0 0", "the containers have lived on");
}

#[test]
fn e2e_session_every_kind_ends_with_a_killed_apiserver() {
    let Some(c) = cluster() else { return };
    killed(&c, "apiserver", 77_101);
}

#[test]
fn e2e_session_every_kind_ends_with_a_killed_kubelet() {
    let Some(c) = cluster() else { return };
    killed(&c, "kubelet-node-1", 77_201);
}

#[test]
fn e2e_session_every_kind_ends_with_a_killed_dockerd() {
    let Some(c) = cluster() else { return };
    killed(&c, "dockerd-node-1", 77_301);
}
