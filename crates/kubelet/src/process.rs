//! Ends commands that the kubelet started in containers, by their processes' numbers on the node: Docker has no way to
//! stop an exec.
//!
//! Every command leads a session of its own (the runtime makes it one), so it is found with all that it started, even
//! where a parent in between has gone. What has left both the session and the family before it is looked for is a
//! daemon of the container's own, and stays. Signals go through process file descriptors, after the time of start was
//! compared, so that a number that was given to another process is never hit.

mod table;

use std::{collections::BTreeSet, fs, ops::RangeInclusive, os::fd::OwnedFd, time::Duration};

use futures::future::join_all;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{Interest, unix::AsyncFd};

pub(crate) use table::Identity;

/// How often the remaining processes are looked for and killed: one that forks faster is not caught at once.
const KILL_ROUNDS: usize = 20;
/// How long the kernel may take to end what was killed before it is looked for again.
const KILL_WAIT: Duration = Duration::from_millis(500);
/// Processes whose end is waited for at once.
const WATCHED_MAX: usize = 256;

/// The process that has this number now.
pub(crate) fn identify(pid: u32) -> Option<Identity> {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 1)?;
    table::entry(pid).map(|entry| Identity { pid, started: entry.started })
}

/// Whether a process runs in the container with this identifier, by its control groups.
pub(crate) fn is_in_container(pid: i32, container: &str) -> bool {
    !container.is_empty()
        && fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(container))
}

/// The time in ticks since the machine's start, as [`Identity`] has it.
pub(crate) fn now_in_ticks() -> Option<u64> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let (seconds, hundredths) = text.split_ascii_whitespace().next()?.split_once('.')?;
    // Both count hundredths: USER_HZ is 100 on every Linux that we run on.
    Some(seconds.parse::<u64>().ok()? * 100 + hundredths.parse::<u64>().ok()?)
}

/// The commands that were begun in a container within a time, whoever began them.
pub(crate) async fn entered(container: &str, within: RangeInclusive<u64>) -> BTreeSet<Identity> {
    let container = container.to_owned();
    let look = move || table::entered(&table::read(), within, |pid| is_in_container(pid, &container));
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

/// A handle on a process; `None` when it has gone.
fn open(id: Identity) -> Option<OwnedFd> {
    let handle = pidfd_open(Pid::from_raw(id.pid)?, PidfdFlags::empty()).ok()?;
    // The handle is on whoever has the number at the time of opening; that this is ours shows afterwards.
    (table::entry(id.pid)?.started == id.started).then_some(handle)
}

/// Resolves when the process has ended.
pub(crate) async fn ended(id: Identity) {
    if let Some(handle) = open(id) {
        handle_ended(handle).await;
    }
}

async fn handle_ended(handle: OwnedFd) {
    #[expect(unsafe_code, reason = "the only way to wait for a file descriptor that is no socket")]
    // SAFETY: the descriptor is owned by the value that is registered, which stays the same and open until it is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) };
    // It fails only where the kernel has no room for it; then the caller looks for itself.
    if let Ok(handle) = registered {
        drop(handle.readable().await);
    }
}

/// Everything that belongs to the command now.
async fn belonging(leader: Identity, container: &str, known: &BTreeSet<Identity>) -> BTreeSet<Identity> {
    let (container, known) = (container.to_owned(), known.clone());
    let look = move || table::belonging(&table::read(), leader, &known, |pid| is_in_container(pid, &container));
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

async fn signal(targets: &BTreeSet<Identity>, signal: Signal, wait: Duration) {
    let mut handles = Vec::new();
    for handle in targets.iter().filter_map(|id| open(*id)) {
        // It may have ended meanwhile.
        let _ended = pidfd_send_signal(&handle, signal);
        if handles.len() < WATCHED_MAX {
            handles.push(handle);
        }
    }
    drop(tokio::time::timeout(wait, join_all(handles.into_iter().map(handle_ended))).await);
}

/// Ends a command and everything that it started: SIGHUP, as from a terminal that was closed, and after `grace` SIGKILL.
/// False when something is left all the same.
pub(crate) async fn end(leader: Identity, container: &str, grace: Duration) -> bool {
    let mut known = BTreeSet::new();
    if !grace.is_zero() {
        known = belonging(leader, container, &known).await;
        signal(&known, Signal::HUP, grace).await;
    }
    for _ in 0..KILL_ROUNDS {
        let left = belonging(leader, container, &known).await;
        if left.is_empty() {
            return true;
        }
        signal(&left, Signal::KILL, KILL_WAIT).await;
        known = left;
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Child, Command, Stdio},
    };

    use super::*;

    /// A shell that leads a session and says its children's numbers.
    fn shell(script: &str) -> (Child, Identity, Vec<Identity>) {
        let mut command = Command::new("setsid");
        let mut child = command.args(["sh", "-c", script]).stdout(Stdio::piped()).spawn().expect("a shell");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
        let mut found = line.split_whitespace().map(|pid| identify(pid.parse().expect("a number")).expect("it runs"));
        let leader = found.next().expect("itself");
        let children = found.collect();
        (child, leader, children)
    }

    fn gone(id: Identity) -> bool {
        table::entry(id.pid).is_none_or(|entry| entry.started != id.started || entry.ended)
    }

    #[tokio::test]
    async fn a_command_ends_with_its_descendants() {
        // One child ignores SIGHUP, one has a session of its own.
        let script =
            "sh -c 'trap \"\" HUP; while :; do sleep 1000; done' & a=$!; setsid sleep 1000 & b=$!; echo $$ $a $b; wait";
        let (mut child, leader, children) = shell(script);
        assert_eq!(children.len(), 2);
        let reaper = std::thread::spawn(move || child.wait());
        assert!(end(leader, "", Duration::from_millis(200)).await);
        assert!(gone(leader) && children.iter().all(|id| gone(*id)));
        drop(reaper.join());
    }

    #[tokio::test]
    async fn another_process_under_the_number_is_left_alone() {
        let (mut child, leader, _) = shell("echo $$; exec sleep 1000");
        let other = Identity { started: leader.started + 1, ..leader };
        assert!(end(other, "", Duration::ZERO).await, "nothing of it is there");
        assert!(!gone(leader));
        child.kill().expect("it runs");
        drop(child.wait());
        ended(leader).await;
    }
}
