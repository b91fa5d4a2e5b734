//! Running programs: visibly, quietly with signs of life, or for their output.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// A quiet program shows this often that it still runs.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// The repository's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap_or_else(|_| PathBuf::from("."))
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Measures how long something takes.
pub(crate) struct Timer(Instant);

impl Timer {
    #[expect(clippy::disallowed_methods, reason = "this tool has no runtime and nobody simulates its time")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// What `cargo run` says about this program in the environment of it. Build scripts that ask to be run again when such a variable changes (ring's
/// does) would be, and all that stands on them be built anew, whenever a cargo started here follows one that a person started.
const OF_CARGO_RUN: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

/// The cargo that started this program, in the repository's folder and with the environment that a person's shell would give it.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = command(&program, args);
    for (name, _) in std::env::vars_os() {
        let is_ours = name.to_str().is_some_and(|n| OF_CARGO_RUN.iter().any(|start| n.starts_with(start)));
        if is_ours {
            command.env_remove(name);
        }
    }
    command
}

/// A command in the repository's folder.
pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// As [`command`], with root's rights.
pub(crate) fn as_root(program: &str, args: &[&str]) -> Command {
    if is_root() {
        return command(program, args);
    }
    command("sudo", &[&[program], args].concat())
}

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    output(&mut command("id", &["-u"])).is_ok_and(|id| id.trim() == "0")
}

/// Runs a program that shows its own progress.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = show(command);
    let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs a program whose output matters only when it fails; says now and then that it still runs.
pub(crate) fn run_quietly(what: &str, command: &mut Command) -> anyhow::Result<()> {
    let line = show(command);
    let log = log_file(what)?;
    let file = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    let timer = Timer::start();
    let (sender, ended) = mpsc::sync_channel(1);
    let status = std::thread::scope(|scope| {
        scope.spawn(move || sender.send(child.wait()));
        loop {
            match ended.recv_timeout(SIGN_OF_LIFE) {
                Ok(status) => break status,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    println!("      … {what}: {:.0} s, still at work", timer.seconds());
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break Err(std::io::Error::other("not waited for")),
            }
        }
    });
    let status = status.with_context(|| format!("cannot wait for `{line}`"))?;
    if !status.success() {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(15)..].join("\n");
        bail!("`{line}` failed ({status}); it said ({}):\n{end}", log.display());
    }
    Ok(())
}

fn log_file(what: &str) -> anyhow::Result<PathBuf> {
    let folder = target().join("xtask");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let name: String = what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    Ok(folder.join(format!("{name}.log")))
}

/// A program's standard output.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let line = show(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn show(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Whether a program is in the search path or where system programs are.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"])
        .any(|folder| !folder.is_empty() && Path::new(folder).join(program).is_file())
}
