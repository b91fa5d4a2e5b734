//! The benchmark of the API server on a small scale: every figure that is promised is printed.

use std::{fs::File, io::Write, path::Path, process::Command};

/// `cargo xtask test` prints what is in the file named by `GANTRY_SKIPS`.
fn skip(why: &str) {
    eprintln!("skipped: {why}");
    if let Some(path) = std::env::var_os("GANTRY_SKIPS") {
        let mut file = File::options().append(true).open(path).expect("the file of skips is there");
        writeln!(file, "the_api_benchmark_prints_its_figures: {why}").expect("it can be written");
    }
}

#[test]
fn the_api_benchmark_prints_its_figures() {
    let program = Path::new(env!("CARGO_BIN_EXE_gantry-bench"));
    let etcd = Command::new("etcd").arg("--version").output().is_ok_and(|o| o.status.success());
    if !etcd || !program.with_file_name("gantry-apiserver").exists() {
        return skip("needs etcd, and gantry-apiserver beside it (`cargo build`)");
    }
    let disk = tempfile::tempdir().expect("a folder");
    let small = [
        "api",
        "--runs",
        "1",
        "--clients",
        "1,3",
        "--count",
        "20",
        "--pods",
        "30",
        "--rest",
        "0",
        "--watchers",
        "5",
        "--events",
        "4",
        "--disk",
    ];
    let output = Command::new(program).args(small).arg(disk.path()).output().expect("it runs");
    let (table, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let figure = |name: &str| -> f64 {
        let row: Vec<&str> = table
            .lines()
            .map(|l| l.split('|').map(str::trim).collect())
            .find(|r: &Vec<&str>| r.get(1).is_some_and(|n| n.starts_with(name)))
            .unwrap_or_else(|| panic!("{name} is not in:\n{table}"));
        row[2].replace(',', "").parse().unwrap_or_else(|e| panic!("{name}: {e}: {row:?}"))
    };
    assert!(table.contains("|        p50 |"), "{table}");
    for name in [
        "create configmaps, 1 clients",
        "create configmaps, 3 clients",
        "create configmaps, 3 clients: raw etcd txn of",
        "create configmaps, 3 clients: share of raw etcd",
        "LIST 30 pods, RV 0",
        "LIST 30 pods, consistent",
        "5 watchers: create to event, p50",
        "5 watchers: create to event, p99",
        "API server, empty: RSS",
        "API server, 30 pods: RSS",
        "cold start to /readyz, empty etcd",
    ] {
        assert!(figure(name) > 0.0, "{name}");
    }
}
