//! Which commands the kubelet has started, in files: a kubelet that was killed ends at its next start what it left behind.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::process::Identity;

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The runtime's identifier of the command.
    pub(super) exec: String,
    /// The container that it runs in.
    pub(super) container: String,
    /// Its process, once it is known.
    pub(super) process: Option<Identity>,
    /// The machine's start that this is about: numbers and times of processes begin anew with the next.
    pub(super) boot: String,
}

/// The folder of the files.
#[derive(Debug, Clone)]
pub(super) struct Records {
    folder: PathBuf,
    boot: String,
}

impl Records {
    /// The records in `root`.
    pub(super) fn in_root(root: &Path) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        Self { folder: root.join("sessions"), boot }
    }

    /// Identifiers are the runtime's, in hexadecimal digits; anything else becomes no path.
    fn path(&self, exec: &str) -> Option<PathBuf> {
        let plain = !exec.is_empty() && exec.bytes().all(|byte| byte.is_ascii_alphanumeric());
        plain.then(|| self.folder.join(format!("{exec}.json")))
    }

    /// Writes one down, in place of what was written of it before.
    pub(super) fn put(&self, exec: &str, container: &str, process: Option<Identity>) -> std::io::Result<()> {
        let record =
            Record { exec: exec.to_owned(), container: container.to_owned(), process, boot: self.boot.clone() };
        let path = self.path(exec).ok_or_else(|| std::io::Error::other(format!("{exec:?} is no identifier")))?;
        fs::create_dir_all(&self.folder)?;
        let fresh = path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(&record)?)?;
        fs::rename(fresh, path)
    }

    /// Forgets one; one that is not there is no error.
    pub(super) fn remove(&self, exec: &str) {
        if let Some(path) = self.path(exec) {
            drop(fs::remove_file(path));
        }
    }

    /// What was left behind in this run of the machine. What is of an earlier one, or cannot be read, is removed.
    pub(super) fn left_behind(&self) -> Vec<Record> {
        let mut found = Vec::new();
        for file in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let bytes = fs::read(file.path()).unwrap_or_default();
            match serde_json::from_slice::<Record>(&bytes) {
                Ok(record) if record.boot == self.boot && self.path(&record.exec) == Some(file.path()) => {
                    found.push(record);
                }
                _ => drop(fs::remove_file(file.path())),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_outlive_the_kubelet_but_not_the_machine() {
        let root = tempfile::tempdir().unwrap();
        let records = Records::in_root(root.path());
        assert_eq!(records.left_behind(), []);
        records.put("a1", "c1", None).unwrap();
        records.put("a2", "c1", Some(Identity { pid: 7, started: 9 })).unwrap();
        records.put("a1", "c1", Some(Identity { pid: 5, started: 8 })).unwrap();
        let mut left = Records::in_root(root.path()).left_behind();
        left.sort_by(|a, b| a.exec.cmp(&b.exec));
        let pids: Vec<_> = left.iter().map(|r| (r.exec.as_str(), r.process.map(|p| p.pid))).collect();
        assert_eq!(pids, [("a1", Some(5)), ("a2", Some(7))]);
        records.remove("a1");
        records.remove("a1");
        std::fs::write(root.path().join("sessions/a3.json"), "{").unwrap();
        let after = Records { boot: "another".into(), ..records.clone() };
        assert_eq!(after.left_behind(), [], "another run of the machine");
        assert_eq!(std::fs::read_dir(root.path().join("sessions")).unwrap().count(), 0);
        assert!(records.put("../a", "c", None).is_err());
    }
}
