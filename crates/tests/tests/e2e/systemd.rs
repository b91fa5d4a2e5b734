//! The same cluster with systemd as PID 1: in a machine within the machine, made of namespaces.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use gantry_tests::{
    cluster::{Cluster, SOON, cluster, note_skip, repository},
    machine::{Output, run},
    wait::{ensure, eventually},
};

const SCRIPT: &str = include_str!("systemd.sh");

/// The machine within.
struct Inner {
    outer: Child,
    folder: PathBuf,
    /// systemd's process id, as the outside sees it.
    init: String,
    gantryctl: String,
}

impl Inner {
    /// Starts it; `Err` where this machine cannot run one.
    fn start(c: &Cluster) -> Result<Self, String> {
        if !std::path::Path::new("/lib/systemd/systemd").exists() {
            return Err("systemd is not installed".to_owned());
        }
        let folder = c.data_dir().join("inner");
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).expect("a folder");
        let repository = repository().canonicalize().expect("the repository is there");
        let shared = [repository.display().to_string(), c.data_dir().display().to_string()];
        let log = fs::File::create(folder.join("log")).expect("a log file");
        let mut outer = Command::new("unshare")
            .args([
                "--fork",
                "--kill-child",
                "--pid",
                "--mount",
                "--net",
                "--uts",
                "--ipc",
                "sh",
                "-c",
                SCRIPT,
                "systemd.sh",
            ])
            .arg(&folder)
            .args(&shared)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("unshare is there");
        let children = format!("/proc/{0}/task/{0}/children", outer.id());
        let started = (0..100).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            let init = fs::read_to_string(&children).ok()?.trim().to_owned();
            let is_systemd =
                fs::read_to_string(format!("/proc/{init}/comm")).is_ok_and(|name| name.trim() == "systemd");
            is_systemd.then_some(init)
        });
        let gantryctl = c.command("gantryctl", &[]).get_program().to_string_lossy().into_owned();
        match started {
            Some(init) => Ok(Self { outer, folder, init, gantryctl }),
            None => {
                drop(outer.kill());
                drop(outer.wait());
                Err(fs::read_to_string(folder.join("log")).unwrap_or_default())
            }
        }
    }

    fn run(&self, line: &str) -> Output {
        let line = line.replace("gantryctl", &self.gantryctl);
        run(Command::new("nsenter").args(["--target", &self.init, "--all", "--root", "--", "sh", "-c", &line]), "")
    }

    fn ok(&self, line: &str) -> String {
        self.run(line).expect_ok(line)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.outer.kill());
        drop(self.outer.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// The machine within, up and able to have a cluster; the reason is noted where this machine cannot run one.
fn inner(c: &Cluster) -> Option<Inner> {
    let inner = match Inner::start(c) {
        Ok(inner) => inner,
        Err(why) => {
            note_skip(&format!("no systemd in namespaces on this machine: {why}"));
            return None;
        }
    };
    eventually("systemd is up", SOON, || {
        let state = inner.run("systemctl is-system-running").stdout;
        ensure(state.trim() == "running" || state.trim() == "degraded", || state.clone())
    });
    inner.ok("ip link set lo up && mkdir -p /run/lock");
    Some(inner)
}

/// Units of a cluster that work.
fn active(inner: &Inner) -> Vec<String> {
    let units = inner.ok("systemctl list-units --plain --no-legend 'gantry-*'");
    let names =
        units.lines().filter(|line| line.contains(" active ")).filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

fn nothing_left(inner: &Inner) {
    let left = inner.ok("systemctl list-units --all --plain --no-legend 'gantry-*'; find /etc /usr/lib/gantry /run/netns -name '*gantry*' 2>/dev/null || true");
    assert_eq!(left.trim(), "", "left behind");
}

/// Kills a unit's process and waits until systemd has started it again.
fn kill(inner: &Inner, unit: &str) {
    let pid = inner.ok(&format!("systemctl show --property MainPID --value {unit}"));
    inner.ok(&format!("kill -9 {pid}"));
    eventually("systemd starts it again", SOON, || {
        let shown = inner.ok(&format!("systemctl show --property ActiveState --property MainPID {unit}"));
        let again = shown.contains("ActiveState=active") && !shown.contains(&format!("MainPID={}\n", pid.trim()));
        ensure(again, || shown.clone())
    });
}

#[test]
fn e2e_units_run_several_control_planes() {
    let Some(c) = cluster() else { return };
    let Some(inner) = inner(&c) else { return };
    inner.ok("gantryctl up --name e2e-sd --nodes 1 --control-planes 2");
    let units = active(&inner);
    let servers = ["gantry-apiserver@e2e-sd.service", "gantry-apiserver-2@e2e-sd.service"];
    assert!(servers.iter().all(|server| units.iter().any(|unit| unit == server)), "{units:?}");
    let reads = |context: &str| {
        let line =
            format!("KUBECONFIG=/var/lib/gantry/e2e-sd/kubeconfig/admin.conf kubectl --context {context} get nodes");
        eventually(&format!("{context} answers"), SOON, || {
            let said = inner.run(&line);
            ensure(said.ok && said.stdout.contains("node-1"), || said.stderr.clone())
        });
    };
    let contexts = ["gantry-e2e-sd", "gantry-e2e-sd-2"];
    contexts.into_iter().for_each(reads);
    for unit in servers {
        kill(&inner, unit);
        contexts.into_iter().for_each(reads);
    }
    // Without one the other goes on.
    inner.ok("gantryctl service stop --name e2e-sd apiserver");
    reads(contexts[1]);
    inner.ok("gantryctl service start --name e2e-sd apiserver && gantryctl service stop --name e2e-sd apiserver-2");
    reads(contexts[0]);
    inner.ok("gantryctl up --name e2e-sd --nodes 1 --control-planes 2 && gantryctl status --name e2e-sd");
    assert_eq!(active(&inner).len(), units.len());
    inner.ok("gantryctl down --name e2e-sd");
    nothing_left(&inner);
}

#[test]
fn e2e_units_run_the_cluster_where_systemd_is_pid_1() {
    let Some(c) = cluster() else { return };
    let Some(inner) = inner(&c) else { return };
    inner.ok("gantryctl up --name e2e-sd");
    let units = active(&inner);
    assert_eq!(units.len(), 11, "{units:?}");
    let again = inner.run("gantryctl up --name e2e-sd");
    assert!(again.ok && again.stderr.contains("is already up"), "{}", again.stderr);
    let users = inner.ok("ps -o user= -p $(systemctl show --property MainPID --value gantry-apiserver@e2e-sd)");
    assert_ne!(users.trim(), "root", "the API server has a user of its own");
    for unit in ["gantry-kubelet@e2e-sd-node-1", "gantry-apiserver@e2e-sd"] {
        kill(&inner, unit);
    }
    inner.ok("gantryctl service stop --name e2e-sd scheduler && ! gantryctl status --name e2e-sd");
    inner.ok("gantryctl up --name e2e-sd && gantryctl status --name e2e-sd");
    inner.ok("gantryctl down --name e2e-sd");
    nothing_left(&inner);
}
