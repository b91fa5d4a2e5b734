//! `cargo xtask test` and `check`: everything that shows that the repository is sound, with one line at the end.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::Stdio,
};

use anyhow::{Context, bail};

use crate::{fuzz, packages, sh, tidy, tools, units};

/// Counts of what ran.
#[derive(Debug, Default)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: Vec<String>,
    failures: Vec<String>,
}

impl Tally {
    fn step(&mut self, name: &str, run: impl FnOnce() -> anyhow::Result<()>) {
        let timer = sh::Timer::start();
        match run() {
            Ok(()) => {
                self.passed += 1;
                println!("  ok  {name} ({:.1} s)", timer.seconds());
            }
            Err(error) => {
                self.failed += 1;
                println!("FAIL  {name} ({:.1} s)\n{error:#}", timer.seconds());
                self.failures.push(name.to_owned());
            }
        }
    }

    fn finish(&self, timer: &sh::Timer) -> anyhow::Result<()> {
        println!();
        for reason in &self.skipped {
            println!("skipped: {reason}");
        }
        for failure in &self.failures {
            println!("failed: {failure}");
        }
        println!("total time {:.0} s", timer.seconds());
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped.len());
        if self.failed > 0 {
            bail!("{} failed", self.failed);
        }
        Ok(())
    }
}

/// The quick checks, by the names that the ledger uses.
pub(crate) fn check_names() -> &'static [&'static str] {
    &["formatting", "lints", "layers", "sizes", "words", "ledger", "units"]
}

pub(crate) fn check(args: &[String]) -> anyhow::Result<()> {
    let timer = sh::Timer::start();
    let mut tally = Tally::default();
    match args {
        [] => {
            quick(&mut tally);
            lints(&mut tally);
        }
        [flag] if flag == "--no-lints" => quick(&mut tally),
        other => bail!("unknown arguments {other:?}; only --no-lints is known"),
    }
    tally.finish(&timer)
}

fn quick(tally: &mut Tally) {
    println!("Checks");
    let sources = tidy::sources().unwrap_or_default();
    tally.step("formatting", || {
        sh::run(&mut sh::cargo(&["fmt", "--all", "--check"]))?;
        // Outside the workspace, and its modules are named by a macro, which cargo fmt does not follow.
        let fuzz =
            sources.iter().map(|s| s.path.as_str()).filter(|p| p.starts_with("crates/fuzz/") && p.ends_with(".rs"));
        sh::run(sh::command("rustfmt", &["--check", "--edition=2024"]).args(fuzz))
    });
    tally.step("layers", tidy::layers::check);
    tally.step("sizes", || tidy::sizes::check(&sources));
    tally.step("words", || tidy::words::check(&sources));
    tally.step("ledger", || tidy::ledger::check(&sources));
    if sh::has("systemd-analyze") {
        tally.step("units", units::verify);
    } else {
        tally.skipped.push("units: systemd-analyze is not installed".to_owned());
    }
}

fn lints(tally: &mut Tally) {
    let lint = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny=warnings"];
    tally.step("lints", || sh::run(&mut sh::cargo(&lint)));
}

pub(crate) fn test(args: &[String]) -> anyhow::Result<()> {
    let with_e2e = match args {
        [] => true,
        [flag] if flag == "--no-e2e" => false,
        other => bail!("unknown arguments {other:?}; only --no-e2e is known"),
    };
    let timer = sh::Timer::start();
    let mut tally = Tally::default();
    println!("What this machine needs");
    packages::install_for_testing()?;
    tools::prepare()?;
    quick(&mut tally);
    lints(&mut tally);
    println!("Build");
    // Every command names the whole workspace: cargo chooses the features of dependencies by the packages that are named, and where they differ it
    // builds all crates again. The daemons that e2e runs are the ones that the unit tests were built with.
    tally.step("build", || sh::run(&mut sh::cargo(&["build", "--workspace", "--all-targets"])));
    println!("Unit and integration tests");
    cargo_test(&mut tally, &["test", "--workspace", "--no-fail-fast"], &["--skip", "e2e_"])?;
    println!("Fuzzing");
    fuzzing(&mut tally);
    if !with_e2e {
        tally.skipped.push("e2e: --no-e2e was given".to_owned());
    } else if !sh::is_root() {
        tally.skipped.push("e2e: needs root (network namespaces, Docker)".to_owned());
    } else {
        println!("End to end: etcd, Docker, nftables, kubectl");
        let one_by_one = ["--test-threads=1", "e2e_"];
        cargo_test(&mut tally, &["test", "--workspace", "--test", "e2e", "--no-fail-fast"], &one_by_one)?;
    }
    tally.finish(&timer)
}

/// Each target counts as a test.
fn fuzzing(tally: &mut Tally) {
    let mut fuzzer = None;
    tally.step("fuzz build", || {
        fuzzer = Some(fuzz::Fuzzer::build()?);
        Ok(())
    });
    let Some(fuzzer) = fuzzer else { return };
    tally.step("fuzz finds a planted fault", || fuzzer.find_planted_fault());
    if fuzz::fixes_addresses() {
        tally.step("fuzz repeats what a seed made", || fuzzer.repeat_seeds());
    } else {
        tally.skipped.push("fuzz repeats what a seed made: setarch may not fix addresses here".to_owned());
    }
    let search = fuzz::Search::test();
    println!("   {search}");
    for (target, outcome) in fuzzer.search_all(fuzzer.targets(), search) {
        tally.step(&format!("fuzz {target}"), || outcome);
    }
}

/// Runs tests, shows what they print, and counts the results.
fn cargo_test(tally: &mut Tally, args: &[&str], test_args: &[&str]) -> anyhow::Result<()> {
    let skips = skip_file()?;
    let mut command = sh::cargo(&[args, &["--"], test_args].concat());
    command.stdout(Stdio::piped()).env("GANTRY_SKIPS", &skips).env("PATH", tools::path());
    let mut child = command.spawn().context("cannot run cargo test")?;
    let stdout = child.stdout.take().context("cargo's output was asked for")?;
    let (mut counted, mut section) = (false, String::new());
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read cargo's output")?;
        if let Some((passed, failed, ignored)) = result_line(&line) {
            counted = true;
            tally.passed += passed;
            tally.failed += failed;
            tally.skipped.extend((0..ignored).map(|_| format!("an ignored test in {section}")));
            if passed + failed > 0 {
                println!("{line}");
            }
            continue;
        }
        if let Some(name) = line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... FAILED")) {
            tally.failures.push(name.to_owned());
        }
        if is_worth_showing(&line) {
            println!("{line}");
        }
        section = line;
    }
    let status = child.wait().context("cannot wait for cargo test")?;
    if !status.success() && (!counted || tally.failures.is_empty()) {
        tally.failed += 1;
        tally.failures.push(format!("cargo {} ({status})", args.join(" ")));
    }
    let noted = fs::read_to_string(&skips).unwrap_or_default();
    tally.skipped.extend(noted.lines().map(str::to_owned));
    Ok(())
}

/// A file that a test which cannot run on this machine writes its name and the reason to.
fn skip_file() -> anyhow::Result<PathBuf> {
    let path = sh::target().join("xtask/skips");
    fs::create_dir_all(sh::target().join("xtask"))?;
    fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn is_worth_showing(line: &str) -> bool {
    let is_short_test = line.starts_with("test ") && line.ends_with(" ... ok") && !line.contains("e2e");
    !(line.is_empty() || line.starts_with("running 0 tests") || is_short_test)
}

/// Passed, failed and ignored, from a line like `test result: ok. 12 passed; 0 failed; 1 ignored; …`.
fn result_line(line: &str) -> Option<(u32, u32, u32)> {
    let rest = line.strip_prefix("test result: ")?;
    let count = |word: &str| {
        let before = rest.split(&format!(" {word}")).next()?;
        before.rsplit([' ', ';']).next()?.parse().ok()
    };
    Some((count("passed")?, count("failed")?, count("ignored")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.1s";
        assert_eq!(result_line(line), Some((12, 3, 1)));
        assert_eq!(result_line("test a::b ... ok"), None);
    }

    #[test]
    fn results_of_single_tests_are_shown_only_where_they_take_long() {
        for (line, expected) in [
            ("test a::b ... ok", false),
            ("test e2e::demo ... ok", true),
            ("test a::b ... FAILED", true),
            ("running 0 tests", false),
            ("---- a::b stdout ----", true),
        ] {
            assert_eq!(is_worth_showing(line), expected, "{line}");
        }
    }
}
