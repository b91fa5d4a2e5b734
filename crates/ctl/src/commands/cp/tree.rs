//! A folder that is written into by an archive that nobody trusts: every step below its root is taken one name at a time,
//! and a symbolic link on the way ends it. Nothing outside can be reached, whatever lies in the folder already.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    sys::stat::{Mode, SFlag, fstatat, mkdirat},
    unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat},
};

/// The longest name that is taken from an archive, in bytes: the longest path that Linux takes.
const NAME_BYTES_MAX: usize = 4096;

/// The parts of a name in an archive, from the root down. Never empty parts, `.`, or `..`.
pub(super) type Parts = Vec<OsString>;

/// Takes a name apart.
///
/// # Errors
/// Says why the name is refused.
pub(super) fn parts(name: &[u8]) -> Result<Parts, &'static str> {
    if name.len() > NAME_BYTES_MAX {
        return Err("its name is too long");
    }
    if name.starts_with(b"/") {
        return Err("its name is absolute");
    }
    if name.contains(&0) {
        return Err("its name has a zero byte");
    }
    let mut parts = Vec::new();
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("its name leads out of the folder with \"..\""),
            part => parts.push(OsStr::from_bytes(part).to_owned()),
        }
    }
    Ok(parts)
}

/// Whether a symbolic link in a folder `depth` levels below the root leads to something at or below the root.
///
/// `..` may only stand at the beginning: the folder of the link is a real one, so each `..` goes up exactly one level.
/// After another name it could go up from wherever a link leads.
#[must_use]
pub(super) fn link_stays_inside(depth: usize, target: &[u8]) -> bool {
    if target.is_empty() || target.starts_with(b"/") || target.contains(&0) {
        return false;
    }
    let steps = || target.split(|b| *b == b'/').filter(|s| !matches!(*s, b"" | b"."));
    let up = steps().take_while(|s| *s == b"..").count();
    up <= depth && steps().skip(up).all(|s| s != b"..")
}

/// The folder.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
}

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

fn through_link(error: Errno) -> io::Error {
    match error {
        Errno::ELOOP | Errno::ENOTDIR => {
            io::Error::new(io::ErrorKind::NotADirectory, "a symbolic link or a file stands where a folder should be")
        }
        other => other.into(),
    }
}

impl Tree {
    /// Opens a folder that the user named (their own links are followed), made if it is missing.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self { root: File::open(path)?.into() })
    }

    /// The folder of these parts, made where it is missing.
    fn folder(&self, parts: &[OsString], mode: Mode) -> io::Result<OwnedFd> {
        let mut at = self.root.try_clone()?;
        for part in parts {
            let next = match openat(at.as_fd(), part.as_os_str(), FOLDER, Mode::empty()) {
                Err(Errno::ENOENT) => {
                    match mkdirat(at.as_fd(), part.as_os_str(), mode) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    openat(at.as_fd(), part.as_os_str(), FOLDER, Mode::empty())
                }
                other => other,
            };
            at = next.map_err(through_link)?;
        }
        Ok(at)
    }

    fn parent<'p>(&self, parts: &'p [OsString]) -> io::Result<(OwnedFd, &'p OsStr)> {
        let (name, folders) =
            parts.split_last().ok_or_else(|| io::Error::other("the folder itself stands where a file should be"))?;
        Ok((self.folder(folders, Mode::from_bits_truncate(0o755))?, name))
    }

    /// Makes a folder.
    pub(super) fn make_folder(&self, parts: &[OsString], mode: u32) -> io::Result<()> {
        // Its owner must be able to fill it, whatever the mode says.
        self.folder(parts, Mode::from_bits_truncate(mode & 0o777 | 0o700)).map(drop)
    }

    /// Makes a new file. What has its name is removed first, so that nothing is ever written to another file that the
    /// name leads to by a symbolic or a hard link.
    pub(super) fn create(&self, parts: &[OsString], mode: u32) -> io::Result<File> {
        let (folder, name) = self.parent(parts)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(mode & 0o777);
        match openat(folder.as_fd(), name, flags, mode) {
            Err(Errno::EEXIST) => {
                unlinkat(folder.as_fd(), name, UnlinkatFlags::NoRemoveDir)?;
                Ok(openat(folder.as_fd(), name, flags, mode)?.into())
            }
            other => Ok(other?.into()),
        }
    }

    /// Makes a symbolic link. The caller has checked with [`link_stays_inside`] where it leads.
    pub(super) fn symlink(&self, parts: &[OsString], target: &[u8]) -> io::Result<()> {
        let (folder, name) = self.parent(parts)?;
        let target = OsStr::from_bytes(target);
        match symlinkat(target, folder.as_fd(), name) {
            Err(Errno::EEXIST) => {
                unlinkat(folder.as_fd(), name, UnlinkatFlags::NoRemoveDir)?;
                Ok(symlinkat(target, folder.as_fd(), name)?)
            }
            other => Ok(other?),
        }
    }

    /// Gives the file `from`, which must be a regular one, a second name.
    pub(super) fn hard_link(&self, from: &[OsString], to: &[OsString]) -> io::Result<()> {
        let (from_folder, from_name) = self.parent(from)?;
        let stat = fstatat(from_folder.as_fd(), from_name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(io::Error::other("what it is a link to is no regular file"));
        }
        let (folder, name) = self.parent(to)?;
        let link = || linkat(from_folder.as_fd(), from_name, folder.as_fd(), name, AtFlags::empty());
        match link() {
            Err(Errno::EEXIST) if from != to => {
                unlinkat(folder.as_fd(), name, UnlinkatFlags::NoRemoveDir)?;
                Ok(link()?)
            }
            Err(Errno::EEXIST) => Ok(()),
            other => Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_or_refused() {
        let check = |name: &str, expected: &[&str]| {
            let expected: Vec<OsString> = expected.iter().map(OsString::from).collect();
            assert_eq!(parts(name.as_bytes()), Ok(expected), "{name:?}");
        };
        check("./a//b/", &["a", "b"]);
        check("./", &[]);
        check("...", &["..."]);
        check("a\nb/-rf/ ", &["a\nb", "-rf", " "]);
        for bad in ["/etc/passwd", "..", "a/../b", "../x", "a\0b"] {
            assert!(parts(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(parts(&[b'a'; NAME_BYTES_MAX + 1]).is_err());
        assert_eq!(parts(b"\xff").expect("no UTF-8 is needed")[0].as_bytes(), b"\xff");
    }

    #[test]
    fn links_that_stay_inside() {
        let check = |depth: usize, target: &str, expected: bool| {
            assert_eq!(link_stays_inside(depth, target.as_bytes()), expected, "{depth} {target:?}");
        };
        check(0, "file", true);
        check(0, "./folder/file", true);
        check(1, "../file", true);
        check(2, ".././../file", true);
        check(0, "..", false);
        check(0, "../file", false);
        check(1, "../../file", false);
        check(5, "/etc/passwd", false);
        check(5, "folder/../file", false);
        check(5, "a/../../../../../../..", false);
        check(5, "", false);
        check(5, "a\0", false);
    }
}
