//! `cargo xtask fuzz`: libFuzzer over the targets of `crates/fuzz`, on the stable toolchain.
//!
//! rustc takes LLVM's coverage pass as an ordinary flag, and the crate libfuzzer-sys brings the fuzzer; no nightly, no clang.
//! The committed corpus is where a run starts; what it finds beyond that stays in the target folder, where the next run
//! finds it again.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt, fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

use anyhow::{Context, bail};

use crate::sh;

/// How long `cargo xtask test` gives each target.
const TEST_SECONDS: u32 = 20;
/// A target with a fault that only a fuzzer which sees coverage finds; it shows that this one does.
pub(crate) const PLANTED: &str = "planted_fault";
/// Runs after which it must have been found, each from where the one before ended: a run has luck or not, while a fuzzer that
/// does not see coverage would need years.
const PLANTED_TRIES: u32 = 6;
/// The target that seeds are compared with: of one thread, and full of hash maps and pointers.
const REPEATED: &str = "cel_expressions";
/// What tells setarch not to choose addresses at random.
const FIXED: &str = "--addr-no-randomize";
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
    /// With one, always the same inputs in the same order, from the committed corpus alone: a slower machine does less of it,
    /// never something else. Without, what earlier searches found is where this one starts, and no two are alike.
    seed: Option<u32>,
}

impl Search {
    /// What `cargo xtask test` does: the same again for the same commit, something else for the next one.
    pub(crate) fn test() -> Self {
        Self { seconds: TEST_SECONDS, seed: Some(seed_of_checkout()) }
    }
}

impl fmt::Display for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s for each target", self.seconds)?;
        self.seed.map_or(Ok(()), |seed| write!(f, ", seed {seed}"))
    }
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
            println!("{search}");
            if targets.is_empty() {
                fuzzer.find_planted_fault()?;
                if fixes_addresses() {
                    fuzzer.repeat_seeds()?;
                }
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
            let mut search = Search { seconds: TEST_SECONDS, seed: None };
            loop {
                match rest {
                    [flag, seconds, after @ ..] if flag == "--seconds" => {
                        search.seconds =
                            seconds.parse().with_context(|| format!("--seconds {seconds}: not a number"))?;
                        rest = after;
                    }
                    [flag, after @ ..] if flag == "--steady" => {
                        search.seed = Search::test().seed;
                        rest = after;
                    }
                    [flag, seed, after @ ..] if flag == "--seed" => {
                        // To libFuzzer 0 is none.
                        let seed: NonZeroU32 =
                            seed.parse().with_context(|| format!("--seed {seed}: not a number from 1"))?;
                        search.seed = Some(seed.get());
                        rest = after;
                    }
                    targets => {
                        if let Some(flag) = targets.iter().find(|t| t.starts_with('-')) {
                            bail!(
                                "unknown flag {flag}; only --seconds N, --seed N and --steady are known, and they come first"
                            );
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

    /// As [`Self::program`], and so that a seed makes the same inputs in the same order whenever it is given.
    fn seeded(&self, target: &str, seed: u32) -> anyhow::Result<Command> {
        let grown = folder("steady", target)?;
        fs::remove_dir_all(&grown).with_context(|| format!("cannot remove {}", grown.display()))?;
        // What is compared goes to libFuzzer's table of words, and pointers are compared, too.
        let mut command = sh::command("setarch", &[FIXED]);
        command.arg(&self.program);
        if !fixes_addresses() {
            command = sh::command(&self.program.display().to_string(), &[]);
        }
        // The environment lies on the stack, and moves what is on it.
        command.env_clear().env("GANTRY_FUZZ", target);
        // It looks into the folder for what others found when some time has passed, not when some runs have.
        command.arg(folder("steady", target)?).arg(format!("-seed={seed}")).arg("-reload=0");
        let inputs: Vec<String> = committed_inputs(target)?.iter().map(|path| path.display().to_string()).collect();
        if !inputs.is_empty() {
            let list = sh::target().join("fuzz").join(format!("{target}.inputs"));
            fs::write(&list, inputs.join(",")).with_context(|| format!("cannot write {}", list.display()))?;
            command.arg(format!("-seed_inputs=@{}", list.display()));
        }
        Ok(command)
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
        let log = sh::target().join("fuzz").join(format!("{target}.log"));
        let mut command = match search.seed {
            Some(seed) => {
                self.run_committed(target)?;
                self.seeded(target, seed)?
            }
            None => {
                let mut command = self.program(target);
                command.arg(folder("corpus", target)?).args(Some(committed(target)).filter(|path| path.is_dir()));
                command
            }
        };
        command.arg(format!("-max_total_time={}", search.seconds)).args(bounds(target)?).arg("-print_final_stats=1");
        let (succeeded, text) = logged(&mut command, &log)?;
        if succeeded {
            return Ok(statistics(&text));
        }
        bail!("{}", report(target, search, &text, &log))
    }

    /// Runs the committed inputs, each once: one of them that fails is told from one that was made up.
    fn run_committed(&self, target: &str) -> anyhow::Result<()> {
        let inputs = committed_inputs(target)?;
        if inputs.is_empty() {
            return Ok(());
        }
        let log = sh::target().join("fuzz").join(format!("{target}.committed.log"));
        let (succeeded, text) = logged(self.program(target).args(bounds(target)?).args(inputs), &log)?;
        if succeeded { Ok(()) } else { bail!("{}", report_of_committed(target, &text, &log)) }
    }

    /// Shows that a seed makes the same inputs again, and another seed others.
    pub(crate) fn repeat_seeds(&self) -> anyhow::Result<()> {
        let made = |seed: u32| -> anyhow::Result<BTreeSet<OsString>> {
            let mut command = self.seeded(REPEATED, seed)?;
            command.args(bounds(REPEATED)?).arg("-runs=3000");
            let (succeeded, text) = logged(&mut command, &sh::target().join("fuzz/repeated.log"))?;
            if !succeeded {
                bail!("{}", quoted(&text));
            }
            // Named by their content.
            let grown = fs::read_dir(folder("steady", REPEATED)?)?;
            Ok(grown.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>()?)
        };
        let (first, again, other) = (made(1)?, made(1)?, made(2)?);
        if first.is_empty() || first != again || first == other {
            let differ = |with: &BTreeSet<OsString>| first.symmetric_difference(with).count();
            bail!(
                "of {} inputs of {REPEATED}, {} differ when their seed is tried again, {} with another seed",
                first.len(),
                differ(&again),
                differ(&other)
            );
        }
        Ok(())
    }

    /// Shows that the fuzzer sees coverage: it finds, in little time, a fault behind seven bytes.
    pub(crate) fn find_planted_fault(&self) -> anyhow::Result<()> {
        // Without what an earlier run knows.
        fs::remove_dir_all(folder("corpus", PLANTED)?)?;
        let mut last = String::new();
        for _ in 0..PLANTED_TRIES {
            match self.search(PLANTED, Search { seconds: TEST_SECONDS, seed: None }) {
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
            .args(["-set_cover_merge=1", "-use_counters=0", "-max_len=2048"])
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

/// The files of it, in order of their names: in which order a file system lists them must not matter.
fn committed_inputs(target: &str) -> anyhow::Result<Vec<PathBuf>> {
    let folder = committed(target);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let listed = fs::read_dir(&folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut inputs: Vec<PathBuf> = listed.with_context(|| format!("cannot list {}", folder.display()))?;
    inputs.sort();
    Ok(inputs)
}

/// What no input may exceed (10 s and 1 GiB), and where one goes that does, or fails otherwise.
fn bounds(target: &str) -> anyhow::Result<[String; 3]> {
    let crashes = format!("-artifact_prefix={}/", folder("crashes", target)?.display());
    Ok(["-timeout=10".to_owned(), "-rss_limit_mb=1024".to_owned(), crashes])
}

/// Whether programs may be started at the same addresses each time: some containers forbid it.
pub(crate) fn fixes_addresses() -> bool {
    sh::output(&mut sh::command("setarch", &[FIXED, "true"])).is_ok()
}

/// The seed of what is checked out: its commit's first seven digits. Without git it is always the same.
fn seed_of_checkout() -> u32 {
    let commit = sh::output(&mut sh::command("git", &["rev-parse", "HEAD"])).unwrap_or_default();
    seed_of(&commit)
}

fn seed_of(commit: &str) -> u32 {
    commit.get(..7).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default().max(1)
}

/// Runs the fuzzer with its words in a file; whether it succeeded, and the words.
fn logged(command: &mut Command, log: &Path) -> anyhow::Result<(bool, String)> {
    let file = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).env("RUST_BACKTRACE", "0");
    let status = command.status().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    Ok((status.success(), String::from_utf8_lossy(&fs::read(log)?).into_owned()))
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

/// The fault in libFuzzer's words.
fn quoted(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let from = lines.iter().position(|l| l.contains("panicked at") || l.contains("ERROR: libFuzzer")).unwrap_or(0);
    lines[from..].iter().take(12).copied().collect::<Vec<_>>().join("\n  ")
}

/// What failed, on which input, and how to see it again.
fn report(target: &str, search: Search, log: &str, path: &Path) -> String {
    let after = |mark: &str| log.lines().find_map(|l| l.split(mark).nth(1));
    let (said, all) = (quoted(log), path.display());
    let Some(input) = after("Test unit written to ") else {
        return format!("{target} cannot be run:\n  {said}\n(all of it: {all})");
    };
    let mut text = format!("{target} fails on {input}\nreplay it with: cargo xtask fuzz replay {target} {input}\n");
    if let Some(content) = after("Base64: ") {
        text += &format!("which holds, in base64: {content}\n");
    }
    if let Some(seed) = search.seed {
        let runs = log.lines().find_map(|l| l.strip_prefix("stat::number_of_executed_units:")).unwrap_or("?").trim();
        text += &format!(
            "made again, after {runs} runs, by: cargo xtask fuzz --seed {seed} --seconds {} {target}\n\
             The seed comes with the commit: a fault that is older than it may be found now for the first time.\n",
            search.seconds
        );
    }
    format!("{text}  {said}\n(all of it: {all})")
}

/// The same of an input that is part of the repository.
fn report_of_committed(target: &str, log: &str, path: &Path) -> String {
    let (said, all) = (quoted(log), path.display());
    match log.lines().filter_map(|l| l.strip_prefix("Running: ")).next_back() {
        Some(input) => format!(
            "{target} fails on the committed {input}\nreplay it with: cargo xtask fuzz replay {target} {input}\n  {said}\n(all of it: {all})"
        ),
        None => format!("{target} cannot be run:\n  {said}\n(all of it: {all})"),
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
        let search =
            |seconds, targets: &str| Task::Search { search: Search { seconds, seed: None }, targets: words(targets) };
        let seeded = |seed| Task::Search { search: Search { seconds: 60, seed: Some(seed) }, targets: words("a") };
        for (text, expected) in [
            ("", search(TEST_SECONDS, "")),
            ("a b", search(TEST_SECONDS, "a b")),
            ("--seconds 300 a", search(300, "a")),
            ("--steady --seconds 60 a", seeded(seed_of_checkout())),
            ("--seconds 60 --seed 7 a", seeded(7)),
            ("minimise a", Task::Minimise { targets: words("a") }),
            ("replay a f", Task::Replay { target: "a".into(), file: "f".into() }),
        ] {
            assert_eq!(parse(&words(text)).expect("it is well-formed"), expected, "{text}");
        }
        for text in [
            "replay",
            "replay a",
            "--seconds",
            "--seconds x",
            "a --seconds 3",
            "--fast",
            "--seed",
            "--seed 0",
            "--seed -1",
        ] {
            assert!(parse(&words(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn what_libfuzzer_says_is_understood() {
        let log = "#2\tINITED cov: 10 ft: 11\n#99\tDONE   cov: 250 ft: 900 corp: 5/5b\nDone 99 runs in 20 second(s)\n\
                   stat::number_of_executed_units: 99\nstat::new_units_added:         7\n";
        assert_eq!(statistics(log), "99 runs, 250 edges, 7 new inputs");
        let log = "#3\tNEW\n\nthread '<unnamed>' panicked at src/a.rs:1:1:\nno\n==1== ERROR: libFuzzer: deadly signal\n\
                   artifact_prefix='x/'; Test unit written to x/crash-1\nBase64: YQ==\nstat::number_of_executed_units: 3\n";
        let report_of = |seed| report("a", Search { seconds: 20, seed }, log, Path::new("a.log"));
        for text in [report_of(None), report_of(Some(7))] {
            assert!(text.contains("cargo xtask fuzz replay a x/crash-1") && text.contains("base64: YQ==\n"), "{text}");
            assert!(text.contains("panicked at src/a.rs:1:1:\n  no"), "{text}");
        }
        assert!(!report_of(None).contains("seed"), "there is nothing to repeat");
        let text = report_of(Some(7));
        assert!(text.contains("after 3 runs, by: cargo xtask fuzz --seed 7 --seconds 20 a\n"), "{text}");
        let log = "Running: c/a\nExecuted c/a in 0 ms\nRunning: c/b\nthread panicked at src/a.rs:1:1:\nno\n";
        let text = report_of_committed("a", log, Path::new("a.log"));
        assert!(text.contains("the committed c/b\nreplay it with: cargo xtask fuzz replay a c/b\n"), "{text}");
    }

    #[test]
    fn a_commit_has_its_seed() {
        for (commit, expected) in [
            ("4e2b5be0aa1122334455\n", 0x4e2_b5be),
            ("fffffff0", 0xfff_ffff),
            ("0000000a", 1),
            ("", 1),
            ("4e2", 1),
            ("fatal: not a git repository", 1),
        ] {
            assert_eq!(seed_of(commit), expected, "{commit}");
        }
    }
}
