//! Commands in containers.

use gantry_tests::cluster::cluster;
use gantry_tests::wait::{ensure, eventually};

use super::{NS, fixture};

/// Bytes of the large transfer.
const LARGE_MIB: usize = 100;

#[test]
fn e2e_session_exec_gives_output_errors_and_exit_code() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    for tool in c.kubectls().into_iter().chain(["gantryctl".to_owned()]) {
        for pod in ["shell-1", "shell-2"] {
            let out = c.ok(&format!("{tool} exec -n {NS} {pod} -- hostname"));
            assert_eq!(out.trim(), pod, "{tool}");
        }
        let exec = |script: &str| {
            let args = ["exec", "-n", NS, "shell-1", "--", "sh", "-c", script];
            gantry_tests::machine::run(&mut c.command(&tool, &args), "")
        };
        let both = exec("echo out; echo err >&2");
        assert_eq!((both.stdout.as_str(), both.code), ("out\n", Some(0)), "{tool}: {}", both.stderr);
        assert!(both.stderr.contains("err\n") && !both.stderr.contains("out"), "{tool}: {}", both.stderr);
        let seven = exec("exit 7");
        assert_eq!(seven.code, Some(7), "{tool}: {}", seven.stderr);
        let absent = c.line(&format!("{tool} exec -n {NS} shell-1 -- no-such-program"));
        assert!(!absent.ok && absent.stderr.contains("no-such-program"), "{tool}: {}", absent.stderr);
        assert!(matches!(absent.code, Some(126 | 127 | 1)), "{tool}: {:?}", absent.code);
        let piped = c.line_with(&format!("{tool} exec -i -n {NS} shell-2 -- cat"), "a line\nand no end");
        assert_eq!((piped.stdout.as_str(), piped.code), ("a line\nand no end", Some(0)), "{tool}: {}", piped.stderr);
    }
}

#[test]
fn e2e_session_exec_carries_100_mib_there_and_back() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    let file = c.data_dir().join("large");
    let make = format!("head -c {} /dev/urandom > {f} && sha256sum < {f}", LARGE_MIB << 20, f = file.display());
    let expected = c.shell(&make).expect_ok("a large file");
    for tool in c.kubectls().into_iter().chain(["gantryctl".to_owned()]) {
        let line = format!("{} exec -i -n {NS} shell-2 -- cat < {} | sha256sum", c.path_of(&tool), file.display());
        let found = c.shell(&line).expect_ok(&line);
        assert_eq!(found, expected, "{tool}");
    }
    std::fs::remove_file(file).expect("it is there");
}

#[test]
fn e2e_session_exec_has_a_terminal_with_the_right_size() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    for tool in c.kubectls().into_iter().chain(["gantryctl".to_owned()]) {
        let inner = format!(
            "stty rows 33 cols 101; {} exec -it -n {NS} shell-1 -- sh -c 'tty; for i in 1 2 3 4 5 6 7 8 9 10; do stty size; sleep 0.1; done'",
            c.path_of(&tool)
        );
        // The client sends the size once it has connected, so the first look may be too early.
        eventually(&format!("{tool}: the size of the terminal"), std::time::Duration::from_secs(20), || {
            let args = ["--quiet", "--return", "--command", &inner, "/dev/null"];
            let out = gantry_tests::machine::run(&mut c.command("script", &args), "");
            ensure(out.ok && out.stdout.contains("/dev/pts/") && out.stdout.contains("33 101"), || out.stdout.clone())
        });
    }
}

#[test]
fn e2e_session_attach_reads_and_writes_the_first_process() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    for (n, tool) in c.kubectls().into_iter().chain(["gantryctl".to_owned()]).enumerate() {
        // The container goes on when the client leaves, so the client is ended by time.
        let line = format!(
            "(echo word-{n}; sleep 2) | timeout 4 {} attach -i -n {NS} reader 2>/dev/null || true",
            c.path_of(&tool)
        );
        let out = c.shell(&line).stdout;
        assert!(out.contains(&format!("got word-{n}")), "{tool}: {out}");
    }
    let restarts =
        c.ok(&format!("kubectl get pod -n {NS} reader -o jsonpath={{.status.containerStatuses[0].restartCount}}"));
    assert_eq!(restarts, "0", "detaching leaves the container running");
}

#[test]
fn e2e_session_run_attached_gives_the_exit_code() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    let run = "run -i --rm --restart=Never --image=busybox --quiet --pod-running-timeout=60s";
    let echoed = c.line_with(&format!("kubectl {run} -n {NS} once -- cat"), "through a new pod\n");
    assert_eq!((echoed.stdout.as_str(), echoed.code), ("through a new pod\n", Some(0)), "{}", echoed.stderr);
    let args =
        ["run", "-i", "--rm", "--restart=Never", "--image=busybox", "--quiet", "-n", NS, "twice", "--", "sh", "-c"];
    let failed =
        gantry_tests::machine::run(&mut c.command("kubectl", &[&args[..], &["read x; exit 3"]].concat()), "\n");
    assert_eq!(failed.code, Some(3), "{}{}", failed.stdout, failed.stderr);
}

#[test]
fn e2e_session_refusals_are_clear_and_come_before_the_upgrade() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    let check = |args: &str, expected: &str| {
        for tool in c.kubectls() {
            let said = c.line(&format!("{tool} {args}")).expect_failure(args);
            assert!(said.contains(expected), "{tool} {args}: {said}");
        }
    };
    check(&format!("exec -n {NS} shell-1 -c nothing -- true"), "nothing");
    check(&format!("exec -n {NS} nobody -- true"), "pods \"nobody\" not found");
    let as_nobody = "--as=nobody-special";
    check(&format!("exec -n {NS} shell-1 {as_nobody} -- true"), "is forbidden");
    check(&format!("port-forward -n {NS} pod/server :7000 {as_nobody}"), "is forbidden");
    check(&format!("attach -n {NS} reader {as_nobody}"), "is forbidden");
    check(&format!("logs -n {NS} shell-1 {as_nobody}"), "is forbidden");
}
