//! Writes a volume's files so that a reader sees all of the old ones or all of the new ones.
//!
//! The files lie in a folder named after the time; `..data` is a link to it, and each name that the container sees is a
//! link through `..data`. An update makes a new folder and moves a new `..data` over the old one. Kubernetes' layout,
//! which programs watch for.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
};

use gantry_common::clock::{self, Clock};

use super::{Error, Payload};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// Makes the volume in `dir` hold exactly `payload`.
pub(super) fn write(dir: &Path, payload: &Payload, group: Option<i64>) -> Result<(), Error> {
    if current(dir, payload) {
        return Ok(());
    }
    let old = fs::read_link(dir.join(DATA)).ok();
    let name = unused_name(dir);
    let fresh = dir.join(&name);
    fill(&fresh, payload, group).inspect_err(|_| drop(fs::remove_dir_all(&fresh)))?;
    let beside = dir.join(NEW_DATA);
    drop(fs::remove_file(&beside));
    symlink(&name, &beside).map_err(Error::files("link", &beside))?;
    fs::rename(&beside, dir.join(DATA)).map_err(Error::files("switch the content of", dir))?;
    let visible: BTreeSet<&str> = payload.keys().map(|path| path.split('/').next().unwrap_or(path)).collect();
    for top in &visible {
        let link = dir.join(top);
        if fs::read_link(&link).is_err() {
            symlink(Path::new(DATA).join(top), &link).map_err(Error::files("link", &link))?;
        }
    }
    remove_stale(dir, &visible, &name);
    if let Some(old) = old.filter(|old| old.as_os_str() != name.as_str()) {
        drop(fs::remove_dir_all(dir.join(old)));
    }
    Ok(())
}

/// Whether the files are there already, with this content.
fn current(dir: &Path, payload: &Payload) -> bool {
    let data = dir.join(DATA);
    let same = payload.iter().all(|(path, file)| {
        let path = data.join(path);
        fs::read(&path).is_ok_and(|bytes| bytes == file.content)
    });
    same && data.is_dir() && count(&data) == payload.len()
}

fn count(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| if e.path().is_dir() { count(&e.path()) } else { 1 }).sum()
}

/// A name that sorts by time and that no folder has yet.
fn unused_name(dir: &Path) -> String {
    let mut number = 0u32;
    let now = clock::System.now().strftime("..%Y_%m_%d_%H_%M_%S").to_string();
    loop {
        let name = format!("{now}.{number:09}");
        if !dir.join(&name).exists() {
            return name;
        }
        number += 1;
    }
}

fn fill(fresh: &Path, payload: &Payload, group: Option<i64>) -> Result<(), Error> {
    make_dir(fresh, group)?;
    for (path, file) in payload {
        let target = fresh.join(path);
        let mut parents: Vec<&Path> = target.ancestors().skip(1).take_while(|p| *p != fresh).collect();
        parents.reverse();
        for parent in parents {
            make_dir(parent, group)?;
        }
        fs::write(&target, &file.content).map_err(Error::files("write", &target))?;
        let mode = if group.is_some() { file.mode | 0o440 } else { file.mode };
        give(&target, group)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(mode))
            .map_err(Error::files("set the mode of", &target))?;
    }
    Ok(())
}

fn make_dir(dir: &Path, group: Option<i64>) -> Result<(), Error> {
    if !dir.is_dir() {
        fs::create_dir(dir).map_err(Error::files("make the folder", dir))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(Error::files("set the mode of", dir))?;
        give(dir, group)?;
    }
    Ok(())
}

/// Gives a file to the pod's group.
pub(super) fn give(path: &Path, group: Option<i64>) -> Result<(), Error> {
    match group.and_then(|gid| u32::try_from(gid).ok()) {
        Some(gid) => chown(path, None, Some(gid)).map_err(Error::files("give to the pod's group", path)),
        None => Ok(()),
    }
}

/// Removes links to files that are gone, and folders that an interrupted update left.
fn remove_stale(dir: &Path, visible: &BTreeSet<&str>, present: &str) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name == DATA || name == present || visible.contains(name) {
            continue;
        }
        if name.starts_with("..") {
            drop(fs::remove_dir_all(entry.path()));
        } else if fs::read_link(entry.path()).is_ok() {
            drop(fs::remove_file(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volumes::payload::File;

    fn payload(files: &[(&str, &str)]) -> Payload {
        files.iter().map(|(p, c)| ((*p).to_owned(), File { content: (*c).into(), mode: 0o640 })).collect()
    }

    fn visible(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_update_switches_all_files_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, &payload(&[("a", "1"), ("sub/b", "2")]), None).unwrap();
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(dir.join("sub/b")).unwrap(), "2");
        let first = fs::read_link(dir.join(DATA)).unwrap();
        write(dir, &payload(&[("a", "1"), ("sub/b", "2")]), None).unwrap();
        assert_eq!(fs::read_link(dir.join(DATA)).unwrap(), first, "nothing changed, nothing is written");
        write(dir, &payload(&[("a", "3"), ("c", "4")]), None).unwrap();
        let second = fs::read_link(dir.join(DATA)).unwrap();
        assert_ne!(second, first);
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "3");
        assert_eq!(
            visible(dir),
            [DATA.to_owned(), second.to_str().unwrap().to_owned(), "a".into(), "c".into()]
                .map(String::from)
                .into_iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
        );
        assert_eq!(fs::metadata(dir.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn an_empty_volume_is_a_volume() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &Payload::new(), None).unwrap();
        assert!(dir.path().join(DATA).is_dir());
    }
}
