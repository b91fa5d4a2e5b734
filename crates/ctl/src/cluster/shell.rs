//! Running the machine's own tools, with errors that show what was run and what it said.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

/// Runs a program; gives its standard output.
///
/// # Errors
/// When it cannot be started or fails: the message has the command and what it printed.
pub fn run(program: &str, args: &[&str]) -> anyhow::Result<String> {
    run_with_input(program, args, "")
}

/// As [`run`], with text on standard input.
///
/// # Errors
/// As [`run`].
pub fn run_with_input(program: &str, args: &[&str], input: &str) -> anyhow::Result<String> {
    let line = || format!("{program} {}", args.join(" "));
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{}`", line()))?;
    let mut stdin = child.stdin.take().expect("standard input was asked for");
    // A program that does not read its input closes the pipe; its exit code tells whether that matters.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    let output = child.wait_with_output().with_context(|| format!("cannot wait for `{}`", line()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", line(), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program runs and succeeds.
#[must_use]
pub fn succeeds(program: &str, args: &[&str]) -> bool {
    run(program, args).is_ok()
}

/// Runs a program in a network namespace. Not `ip netns exec`, which mounts another /sys.
///
/// # Errors
/// As [`run`].
pub fn run_in(netns: &Path, program: &str, args: &[&str]) -> anyhow::Result<String> {
    let net = format!("--net={}", netns.display());
    let mut all = vec![net.as_str(), "--", program];
    all.extend_from_slice(args);
    run("nsenter", &all)
}

/// Where a program is in the search path, extended by the folders of system programs.
#[must_use]
pub fn which(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"])
        .filter(|folder| !folder.is_empty())
        .map(|folder| Path::new(folder).join(program))
        .find(|file| file.is_file())
}
