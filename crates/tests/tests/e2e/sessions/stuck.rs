//! A client that is killed while everything between it and a process that does not read is full.

use std::process::{Command, Stdio};
use std::time::Duration;

use gantry_tests::cluster::{Cluster, SOON, cluster};
use gantry_tests::machine::processes;
use gantry_tests::wait::{ensure, eventually};

use super::{NS, fixture, gauges};

/// How long it may take until a client that is gone is noticed.
const NOTICED: Duration = Duration::from_secs(120);

/// Bytes that a process has read so far.
fn taken(pid: u32) -> Result<u64, String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).map_err(|e| e.to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok());
    line.ok_or_else(|| text.clone())
}

/// Pipes endless input into a command that reads none of it, and kills the client when nothing goes on any more.
fn killed(c: &Cluster, tool: &str, marker: u32) {
    let line = format!("exec -i -n {NS} shell-1 -- sleep {marker}");
    let mut endless = Command::new("yes").stdout(Stdio::piped()).spawn().expect("yes is there");
    let mut client = c.command(tool, &line.split(' ').collect::<Vec<_>>());
    client.stdin(endless.stdout.take().expect("its output")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = client.spawn().expect("it starts");
    eventually("the command runs", SOON, || {
        // The client's own command line has the words, too.
        ensure(processes(&format!("sleep\0{marker}\0")).len() > 1, || "not yet".to_owned())
    });
    let (mut last, mut looks) = (0, 0);
    eventually(&format!("{tool} stands still"), SOON, || {
        let now = taken(client.id())?;
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
        ensure(looks >= 20 && now > 1 << 20, || format!("{now} bytes"))
    });
    client.kill().expect("it can be killed");
    client.wait().expect("it ends");
    endless.kill().expect("it can be killed");
    endless.wait().expect("it ends");
    // Over a WebSocket or SPDY a peer that is not read from is noticed by the second ping that cannot be written.
    eventually(&format!("{tool} has left nothing"), NOTICED, || {
        let found = processes(&format!("sleep\0{marker}\0"));
        ensure(found.is_empty(), || format!("{found:?}"))
    });
}

#[test]
fn e2e_session_a_client_that_is_killed_with_full_streams_holds_nothing() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    gauges::idle(&c);
    for (marker, tool) in (76_001..).zip(c.kubectls().into_iter().chain(["gantryctl".to_owned()])) {
        killed(&c, &tool, marker);
    }
    gauges::idle(&c);
    eventually("sessions work as before", Duration::from_secs(10), || {
        let said = c.line(&format!("kubectl exec -n {NS} shell-1 -- echo again"));
        ensure(said.stdout == "again\n", || said.stderr.clone())
    });
}
