//! `cargo xtask fuzz`: libFuzzer over the targets of `crates/fuzz`, on the stable toolchain.
//!
//! rustc takes LLVM's coverage pass as an ordinary flag, and the crate libfuzzer-sys brings the fuzzer; no nightly, no clang.
//! The committed corpus is where a run starts; what it finds beyond that stays in the target folder, where the next run
//! finds it again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

use anyhow::{Context, bail};

use crate::sh;

/// How long `cargo xtask test` gives each target.
pub(crate) const TEST_SECONDS: u32 = 20;
/// A target with a fault that only a fuzzer which sees coverage finds; it shows that this one does.
pub(crate) const PLANTED: &str = "planted_fault";
/// Runs after which it must have been found, each from where the one before ended: a run has luck or not, while a fuzzer that
/// does not see coverage would need years.
const PLANTED_TRIES: u32 = 6;
/// Coverage counters, and the operands of comparisons, for libFuzzer.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// How to look for faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Search {
    /// For each target.
    seconds: u32,
    /// Always the same inputs in the same order, from the committed corpus alone: a slower machine does less of it, never
    /// something else. A test run must not fail by luck.
    steady: bool,
}

impl Search {
    /// What `cargo xtask test` does.
    pub(crate) const TEST: Self = Self { seconds: TEST_SECONDS, steady: true };
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    /// Look for faults.
    Search { search: Search, targets: Vec<String> },
    /// Run one input.
    Replay { target: String, file: PathBuf },
    /// Add to the committed corpus what reaches further than it.
    Minimise { targets: Vec<String> },
}

pub(crate) fn command(args: &[String]) -> anyhow::Result<()> {
    let task = parse(args)?;
    let fuzzer = Fuzzer::build()?;
    match task {
        Task::Search { search, targets } => {
            if targets.is_empty() {
                fuzzer.find_planted_fault()?;
            }
            let outcomes = fuzzer.search_all(fuzzer.named(targets)?, search);
            let failed: Vec<String> =
                outcomes.into_iter().filter_map(|(_, outcome)| outcome.err()).map(|e| format!("{e:#}")).collect();
            if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("\n\n")) }
        }
        Task::Replay { target, file } => {
            let file = file.canonicalize().with_context(|| format!("cannot read {}", file.display()))?;
            sh::run(fuzzer.program(&target).arg(file))
        }
        Task::Minimise { targets } => fuzzer.named(targets)?.iter().try_for_each(|target| fuzzer.minimise(target)),
    }
}

fn parse(args: &[String]) -> anyhow::Result<Task> {
    match args {
        [verb, target, file] if verb == "replay" => Ok(Task::Replay { target: target.clone(), file: file.into() }),
        [verb, ..] if verb == "replay" => bail!("replay takes a target and a file"),
        [verb, targets @ ..] if verb == "minimise" => Ok(Task::Minimise { targets: targets.to_vec() }),
        mut rest => {
            let mut search = Search { seconds: TEST_SECONDS, steady: false };
            loop {
                match rest {
                    [flag, seconds, after @ ..] if flag == "--seconds" => {
                        search.seconds =
                            seconds.parse().with_context(|| format!("--seconds {seconds}: not a number"))?;
                        rest = after;
                    }
                    [flag, after @ ..] if flag == "--steady" => {
                        search.steady = true;
                        rest = after;
                    }
                    targets => {
                        if let Some(flag) = targets.iter().find(|t| t.starts_with('-')) {
                            bail!("unknown flag {flag}; only --seconds N and --steady are known, and they come first");
                        }
                        return Ok(Task::Search { search, targets: targets.to_vec() });
                    }
                }
            }
        }
    }
}

/// The program with all targets.
pub(crate) struct Fuzzer {
    program: PathBuf,
    targets: Vec<String>,
}

impl Fuzzer {
    /// Builds it.
    pub(crate) fn build() -> anyhow::Result<Self> {
        let host = sh::output(&mut sh::cargo(&["-vV"]))?;
        let host = host.lines().find_map(|l| l.strip_prefix("host: ")).context("cargo does not name this machine")?;
        let folder = sh::target().join("fuzz");
        let mut build = sh::cargo(&["build", "--quiet", "--manifest-path", "crates/fuzz/Cargo.toml"]);
        // With a target named, build scripts and macros are built without the flags.
        build.args(["--target", host, "--target-dir"]).arg(&folder);
        build.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\x1f"));
        sh::run_quietly("fuzz build", &mut build)?;
        let program = folder.join(host).join("debug/gantry-fuzz");
        let listed = sh::output(Command::new(&program).env("GANTRY_FUZZ", "list"))?;
        let targets = listed.lines().filter(|name| *name != PLANTED).map(str::to_owned).collect();
        Ok(Self { program, targets })
    }

    /// The targets, in order.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.targets.clone()
    }

    /// All targets where none is named.
    fn named(&self, names: Vec<String>) -> anyhow::Result<Vec<String>> {
        if let Some(unknown) = names.iter().find(|name| !self.targets.contains(name)) {
            bail!("there is no target {unknown}; there are {}", self.targets.join(", "));
        }
        Ok(if names.is_empty() { self.targets() } else { names })
    }

    fn program(&self, target: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("GANTRY_FUZZ", target).current_dir(sh::root());
        command
    }

    /// Runs targets, as many at once as there are processors; what came of each, in order.
    pub(crate) fn search_all(&self, targets: Vec<String>, search: Search) -> Vec<(String, anyhow::Result<()>)> {
        let waiting = Mutex::new(targets.iter().enumerate());
        let done = Mutex::new(Vec::new());
        let work = || {
            while let Some((at, target)) = { lock(&waiting).next() } {
                let outcome = self.search(target, search).map(|found| println!("      {target}: {found}"));
                lock(&done).push((at, target.clone(), outcome));
            }
        };
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(work);
            }
        });
        let mut done = done.into_inner().expect("no worker panics");
        done.sort_by_key(|(at, ..)| *at);
        done.into_iter().map(|(_, target, outcome)| (target, outcome)).collect()
    }

    /// Runs one target; a sentence about what it did.
    fn search(&self, target: &str, search: Search) -> anyhow::Result<String> {
        let crashes = folder("crashes", target)?;
        let mut grown = folder(if search.steady { "steady" } else { "corpus" }, target)?;
        if search.steady {
            fs::remove_dir_all(&grown).with_context(|| format!("cannot remove {}", grown.display()))?;
            grown = folder("steady", target)?;
        }
        let log = sh::target().join("fuzz").join(format!("{target}.log"));
        let mut command = self.program(target);
        command.arg(&grown).args(Some(committed(target)).filter(|path| path.is_dir()));
        command.arg(format!("-max_total_time={}", search.seconds));
        command.args(search.steady.then_some("-seed=1"));
        command.args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]);
        command.arg(format!("-artifact_prefix={}/", crashes.display()));
        let file = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).env("RUST_BACKTRACE", "0");
        let status = command.status().with_context(|| format!("cannot run {}", self.program.display()))?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        if status.success() {
            return Ok(statistics(&text));
        }
        bail!("{}", report(target, &text, &log))
    }

    /// Shows that the fuzzer sees coverage: it finds, in little time, a fault behind seven bytes.
    pub(crate) fn find_planted_fault(&self) -> anyhow::Result<()> {
        // Without what an earlier run knows.
        fs::remove_dir_all(folder("corpus", PLANTED)?)?;
        let mut last = String::new();
        for _ in 0..PLANTED_TRIES {
            match self.search(PLANTED, Search { seconds: TEST_SECONDS, steady: false }) {
                Err(error) if format!("{error:#}").contains("the planted fault") => return Ok(()),
                Err(error) => return Err(error),
                Ok(found) => last = found.to_string(),
            }
        }
        bail!("the planted fault was not found in {PLANTED_TRIES} runs: {last}")
    }

    fn minimise(&self, target: &str) -> anyhow::Result<()> {
        let committed = committed(target);
        fs::create_dir_all(&committed).with_context(|| format!("cannot make {}", committed.display()))?;
        let mut command = self.program(target);
        // By code that is reached, not by how often: a few dozen small files, which a run grows from in seconds.
        command
            .args(["-set_cover_merge=1", "-use_counters=0", "-max_len=1024"])
            .arg(&committed)
            .arg(folder("corpus", target)?);
        sh::run_quietly(&format!("fuzz minimise {target}"), &mut command)
    }
}

/// A worker that panics has said so; what others did still counts.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The inputs that are part of the repository.
fn committed(target: &str) -> PathBuf {
    sh::root().join("crates/fuzz/corpus").join(target)
}

/// A folder of one target among what is built.
fn folder(kind: &str, target: &str) -> anyhow::Result<PathBuf> {
    let folder = sh::target().join("fuzz").join(kind).join(target);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// How much was done, from libFuzzer's last words.
fn statistics(log: &str) -> String {
    let stat = |name: &str| {
        log.lines().rev().find_map(|l| l.strip_prefix(&format!("stat::{name}:"))).map_or("?", str::trim).to_owned()
    };
    let covered = log.lines().rev().find_map(|l| l.split(" cov: ").nth(1)?.split_whitespace().next());
    let (runs, added, covered) = (stat("number_of_executed_units"), stat("new_units_added"), covered.unwrap_or("?"));
    format!("{runs} runs, {covered} edges, {added} new inputs")
}

/// What failed, on which input, and how to see it again.
fn report(target: &str, log: &str, path: &Path) -> String {
    let input = log.lines().find_map(|l| l.split("Test unit written to ").nth(1));
    let lines: Vec<&str> = log.lines().collect();
    let from = lines.iter().position(|l| l.contains("panicked at") || l.contains("ERROR: libFuzzer")).unwrap_or(0);
    let said = lines[from..].iter().take(12).copied().collect::<Vec<_>>().join("\n  ");
    match input {
        Some(input) => format!(
            "{target} fails on {input}\nreplay it with: cargo xtask fuzz replay {target} {input}\n  {said}\n(all of it: {})",
            path.display()
        ),
        None => format!("{target} cannot be run:\n  {said}\n(all of it: {})", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn arguments_are_read() {
        let search = |seconds, targets: &str| Task::Search {
            search: Search { seconds, steady: false },
            targets: words(targets),
        };
        let steady = Task::Search { search: Search { seconds: 60, steady: true }, targets: words("a") };
        for (text, expected) in [
            ("", search(TEST_SECONDS, "")),
            ("a b", search(TEST_SECONDS, "a b")),
            ("--seconds 300 a", search(300, "a")),
            ("--steady --seconds 60 a", steady),
            ("minimise a", Task::Minimise { targets: words("a") }),
            ("replay a f", Task::Replay { target: "a".into(), file: "f".into() }),
        ] {
            assert_eq!(parse(&words(text)).expect("it is well-formed"), expected, "{text}");
        }
        for text in ["replay", "replay a", "--seconds", "--seconds x", "a --seconds 3", "--fast"] {
            assert!(parse(&words(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn what_libfuzzer_says_is_understood() {
        let log = "#2\tINITED cov: 10 ft: 11\n#99\tDONE   cov: 250 ft: 900 corp: 5/5b\nDone 99 runs in 20 second(s)\n\
                   stat::number_of_executed_units: 99\nstat::new_units_added:         7\n";
        assert_eq!(statistics(log), "99 runs, 250 edges, 7 new inputs");
        let log = "#3\tNEW\n\nthread '<unnamed>' panicked at src/a.rs:1:1:\nno\n==1== ERROR: libFuzzer: deadly signal\n\
                   artifact_prefix='x/'; Test unit written to x/crash-1\n";
        let report = report("a", log, Path::new("a.log"));
        assert!(report.contains("cargo xtask fuzz replay a x/crash-1"), "{report}");
        assert!(report.contains("panicked at src/a.rs:1:1:\n  no"), "{report}");
    }
}
