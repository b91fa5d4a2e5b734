//! Folders, tmpfs and their end.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{Error, atomic::give};

/// Makes an empty volume, in memory or on disk. One that is there already is left as it is.
pub(super) fn empty_dir(path: &Path, memory: bool, limit: Option<i64>, group: Option<i64>) -> Result<(), Error> {
    let there = path.is_dir();
    fs::create_dir_all(path).map_err(Error::files("make the folder", path))?;
    let mounted = memory && mount_points().iter().any(|point| point == path);
    if memory && !mounted {
        let options = limit.filter(|bytes| *bytes > 0).map(|bytes| format!("size={bytes}"));
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), options.as_deref())
            .map_err(|errno| Error::files("mount a tmpfs at", path)(errno.into()))?;
    }
    if !there || (memory && !mounted) {
        let mode = if group.is_some() { 0o2777 } else { 0o777 };
        give(path, group)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Error::files("set the mode of", path))?;
    }
    Ok(())
}

/// Where something is mounted.
pub(super) fn mount_points() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').nth(4)).map(|path| PathBuf::from(unescape(path))).collect()
}

/// The kernel writes blanks and backslashes as octal numbers.
fn unescape(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Unmounts everything below `dir`, the deepest first, and removes it. Nothing is removed while something is still
/// mounted: it could be the node's own files.
pub(super) fn remove_tree(dir: &Path) -> Result<(), Error> {
    let below = || {
        let mut points: Vec<PathBuf> = mount_points().into_iter().filter(|point| point.starts_with(dir)).collect();
        points.sort();
        points.reverse();
        points
    };
    for point in below() {
        umount2(&point, MntFlags::MNT_DETACH).map_err(|errno| Error::files("unmount", &point)(errno.into()))?;
    }
    if let Some(left) = below().first() {
        return Err(Error::files("unmount", left)(std::io::Error::other("it is still mounted")));
    }
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::files("remove", dir)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
        assert_eq!(unescape("/plain"), "/plain");
        assert!(mount_points().contains(&PathBuf::from("/")));
    }

    #[test]
    fn a_tmpfs_is_mounted_once_and_removed() {
        if !nix::unistd::geteuid().is_root() {
            crate::skips::note("mounting a tmpfs needs root");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("pod");
        let volume = dir.join("volumes/v");
        empty_dir(&volume, true, Some(65536), None).unwrap();
        fs::write(volume.join("kept"), "x").unwrap();
        empty_dir(&volume, true, Some(65536), None).unwrap();
        assert!(volume.join("kept").exists(), "a volume that is there is left as it is");
        assert!(mount_points().contains(&volume));
        remove_tree(&dir).unwrap();
        assert!(!dir.exists());
        remove_tree(&dir).unwrap();
    }
}
