//! Processes of this machine as /proc shows them, and files that are written whole or not at all.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

/// A process, told apart from a later one with the same number by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ident {
    /// Process id.
    pub pid: i32,
    /// Clock ticks after boot.
    pub started_ticks: u64,
}

impl Ident {
    /// The process that has this number now, unless it has ended.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, started_ticks) = parse_stat(&stat)?;
        // One that only waits to be collected has ended.
        (!matches!(state, 'Z' | 'X' | 'x')).then_some(Self { pid, started_ticks })
    }

    /// Our own child, which may have ended already but was not collected yet.
    #[must_use]
    pub fn of_child(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        parse_stat(&stat).map(|(_, started_ticks)| Self { pid, started_ticks })
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends a signal, unless the process has ended.
    pub fn signal(self, signal: Signal) {
        if self.is_alive() {
            signal_pid(self.pid, signal);
        }
    }
}

fn signal_pid(pid: i32, signal: Signal) {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::warn!(pid, %signal, %error, "cannot signal the process"),
    }
}

/// State and start time in a line of /proc/PID/stat.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    // The program's name is in parentheses and may hold anything.
    let after = &stat[stat.rfind(')')? + 1..];
    let mut fields = after.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// The numbers of all processes.
#[must_use]
pub fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

/// A process's command line.
#[must_use]
pub fn command_line(pid: i32) -> Vec<String> {
    split_zero(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default())
}

/// A process's environment as it was started.
#[must_use]
pub fn environment(pid: i32) -> Vec<String> {
    split_zero(&fs::read(format!("/proc/{pid}/environ")).unwrap_or_default())
}

fn split_zero(bytes: &[u8]) -> Vec<String> {
    bytes.split(|b| *b == 0).filter(|p| !p.is_empty()).map(|p| String::from_utf8_lossy(p).into_owned()).collect()
}

/// Resident memory in KiB.
#[must_use]
pub fn resident_kib(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?.trim().trim_end_matches("kB").trim().parse().ok()
}

/// Writes a file so that a reader sees the old or the new content, never a part, even after a power cut.
///
/// # Errors
/// Names the file.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let next = PathBuf::from(format!("{}.next", path.display()));
    let write = || -> std::io::Result<()> {
        // A file left by an interrupted write may have other permissions.
        drop(fs::remove_file(&next));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&next)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&next, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_whatever_the_name_is() {
        let line = |name: &str, state: &str| {
            format!("42 ({name}) {state} 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1000 100 rest")
        };
        assert_eq!(parse_stat(&line("etcd", "S")), Some(('S', 987_654)));
        assert_eq!(parse_stat(&line("odd ) (name", "R")), Some(('R', 987_654)));
        assert_eq!(parse_stat(&line("gone", "Z")), Some(('Z', 987_654)));
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn this_process_is_alive_and_is_itself() {
        let me = Ident::of(std::process::id().cast_signed()).expect("this process runs");
        assert!(me.is_alive());
        assert!(!Ident { started_ticks: me.started_ticks + 1, ..me }.is_alive());
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        for text in ["one", "two"] {
            write_atomically(&path, text.as_bytes(), 0o600).expect("it is written");
            assert_eq!(fs::read_to_string(&path).expect("it is read"), text);
        }
        assert!(write_atomically(&folder.path().join("no/such"), b"", 0o600).is_err());
    }
}
