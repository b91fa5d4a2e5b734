//! What control groups have used, in both versions of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The two groups of a process; one and the same in version 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    cpu: PathBuf,
    memory: PathBuf,
}

/// What a group has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// CPU time in nanoseconds.
    pub(super) cpu: u64,
    /// Bytes of memory.
    pub(super) memory: u64,
    /// The same without file caches that nobody uses.
    pub(super) working_set: u64,
}

/// The tree of control groups.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    base: PathBuf,
    unified: bool,
}

/// The number after a key at the beginning of a line.
fn number(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().trim_end_matches("kB").trim().parse().ok())
}

fn read(folder: &Path, file: &str) -> Option<String> {
    fs::read_to_string(folder.join(file)).ok()
}

/// The machine's memory in use, where its own group does not tell.
fn of_the_machine(meminfo: &str) -> Option<u64> {
    Some(number(meminfo, "MemTotal:")?.saturating_sub(number(meminfo, "MemFree:")?) * 1024)
}

impl Groups {
    /// The tree that is mounted at `base`.
    pub(super) fn at(base: &Path) -> Self {
        Self { base: base.to_owned(), unified: base.join("cgroup.controllers").exists() }
    }

    fn under(&self, controller: &str, path: &str) -> PathBuf {
        let tree = if self.unified { self.base.clone() } else { self.base.join(controller) };
        tree.join(path.trim_start_matches('/'))
    }

    /// The group with this path.
    pub(super) fn group(&self, path: &str) -> Group {
        Group { cpu: self.under("cpuacct", path), memory: self.under("memory", path) }
    }

    /// A process's groups, from its `/proc/<pid>/cgroup`.
    pub(super) fn of_process(&self, text: &str) -> Option<Group> {
        let path = |wanted: &str| {
            text.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let (controllers, path) = (parts.next()?, parts.next()?);
                let fits =
                    if self.unified { controllers.is_empty() } else { controllers.split(',').any(|c| c == wanted) };
                fits.then(|| self.under(wanted, path))
            })
        };
        Some(Group { cpu: path("cpuacct")?, memory: path("memory")? })
    }

    /// What a group has used; `None` when it is gone.
    pub(super) fn read(&self, group: &Group) -> Option<Reading> {
        let (cpu, memory, inactive) = if self.unified {
            let cpu = number(&read(&group.cpu, "cpu.stat")?, "usage_usec ")?.saturating_mul(1000);
            let memory = match read(&group.memory, "memory.current") {
                Some(text) => text.trim().parse().ok()?,
                // The root has no figure of its own.
                None => of_the_machine(&fs::read_to_string("/proc/meminfo").ok()?)?,
            };
            (cpu, memory, number(&read(&group.memory, "memory.stat")?, "inactive_file "))
        } else {
            let cpu = read(&group.cpu, "cpuacct.usage")?.trim().parse().ok()?;
            let memory = read(&group.memory, "memory.usage_in_bytes")?.trim().parse().ok()?;
            (cpu, memory, number(&read(&group.memory, "memory.stat")?, "total_inactive_file "))
        };
        Some(Reading { cpu, memory, working_set: memory.saturating_sub(inactive.unwrap_or(0)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(base: &Path, file: &str, text: &str) {
        let path = base.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_first_version_is_read() {
        let base = tempfile::tempdir().unwrap();
        let at = |file: &str, text: &str| write(base.path(), file, text);
        at("cpuacct/kube/x/cpuacct.usage", "1500\n");
        at("memory/kube/x/memory.usage_in_bytes", "4096\n");
        at("memory/kube/x/memory.stat", "inactive_file 1\ntotal_inactive_file 1000\n");
        let groups = Groups::at(base.path());
        let text = "4:memory:/kube/x\n3:cpu,cpuacct:/kube/x\n1:name=systemd:/a:b\n0::/\n";
        let group = groups.of_process(text).unwrap();
        assert_eq!(group, groups.group("/kube/x"));
        assert_eq!(groups.read(&group), Some(Reading { cpu: 1500, memory: 4096, working_set: 3096 }));
        assert_eq!(groups.read(&groups.group("gone")), None);
        assert_eq!(groups.of_process("4:memory:/kube/x\n"), None);
    }

    #[test]
    fn the_second_version_is_read() {
        let base = tempfile::tempdir().unwrap();
        let at = |file: &str, text: &str| write(base.path(), file, text);
        at("cgroup.controllers", "cpu memory\n");
        at("kube/x/cpu.stat", "usage_usec 7\nuser_usec 3\n");
        at("kube/x/memory.current", "500\n");
        at("kube/x/memory.stat", "anon 1\ninactive_file 600\n");
        let groups = Groups::at(base.path());
        let group = groups.of_process("0::/kube/x\n").unwrap();
        assert_eq!(groups.read(&group), Some(Reading { cpu: 7000, memory: 500, working_set: 0 }));
        assert_eq!(of_the_machine("MemTotal:  100 kB\nMemFree:   40 kB\n"), Some(60 * 1024));
    }
}
