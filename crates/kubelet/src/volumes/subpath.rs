//! `subPath`: part of a volume. A container can put links into its volume while another one starts, so the path is
//! resolved by the kernel within the volume, and what was found is bound by its file descriptor, not by its name.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    path::{Component, Path},
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    mount::{MsFlags, mount},
    sys::stat::{Mode, mkdirat},
};

use super::{Error, mount::mount_points};

/// Binds `sub_path` of the volume at `place`; missing folders are made.
pub(super) fn bind(volume: &Path, sub_path: &str, place: &Path) -> Result<(), Error> {
    if mount_points().iter().any(|point| point == place) {
        return Ok(());
    }
    let found = open(volume, sub_path)?;
    let folder = found.metadata().map_err(Error::files("look at", volume))?.is_dir();
    let parent = place.parent().unwrap_or(place);
    fs::create_dir_all(parent).map_err(Error::files("make the folder", parent))?;
    if folder {
        fs::create_dir_all(place).map_err(Error::files("make the folder", place))?;
    } else {
        drop(File::create(place).map_err(Error::files("make the file", place))?);
    }
    let source = format!("/proc/self/fd/{}", found.as_raw_fd());
    mount(Some(source.as_str()), place, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(|errno| Error::files("bind the subPath at", place)(errno.into()))
}

fn open(volume: &Path, sub_path: &str) -> Result<File, Error> {
    let clean = Path::new(sub_path).components().all(|part| matches!(part, Component::Normal(_)));
    if !clean || sub_path.is_empty() {
        return Err(Error::Path(sub_path.to_owned()));
    }
    let mut present = File::open(volume).map_err(Error::files("open the volume", volume))?;
    let root = present.try_clone().map_err(Error::files("open the volume", volume))?;
    let how = || OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    if let Ok(found) = openat2(&root, sub_path, how()) {
        return Ok(found.into());
    }
    // Walk down and make what is missing, each step within the volume.
    for part in Path::new(sub_path).components() {
        let name = Path::new(part.as_os_str());
        let step = || {
            OpenHow::new()
                .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY)
                .resolve(ResolveFlag::RESOLVE_BENEATH)
        };
        let next = match openat2(&present, name, step()) {
            Err(nix::errno::Errno::ENOENT) => {
                mkdirat(&present, name, Mode::from_bits_truncate(0o750))
                    .map_err(|errno| Error::files("make the folder", &volume.join(sub_path))(errno.into()))?;
                openat2(&present, name, step())
            }
            other => other,
        };
        present = next.map_err(|errno| Error::files("open", &volume.join(sub_path))(errno.into()))?.into();
    }
    Ok(present)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_cannot_lead_out_of_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volume");
        fs::create_dir_all(volume.join("inner")).unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        fs::write(volume.join("file"), "y").unwrap();
        std::os::unix::fs::symlink("../secret", volume.join("out")).unwrap();
        std::os::unix::fs::symlink("/inner", volume.join("in")).unwrap();
        let check = |path: &str, expected: bool| assert_eq!(open(&volume, path).is_ok(), expected, "{path}");
        check("inner", true);
        check("file", true);
        check("new/deep", true);
        check("in", true);
        check("out", false);
        check("../secret", false);
        check("/inner", false);
        check("", false);
        assert!(volume.join("new/deep").is_dir());
    }
}
