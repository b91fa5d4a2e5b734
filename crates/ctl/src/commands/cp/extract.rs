//! Unpacks what a container's `tar` sends. The container is not trusted: a compromised one sends what it likes.
//!
//! - Names are relative, without `..`, and below the name that was asked for.
//! - Nothing is written through a symbolic link, whoever made it ([`super::tree`]).
//! - Symbolic links are made where they stay inside the folder, hard links to files of the archive; devices and the like
//!   are left out. No set-user-ID bits, no owners, no times.
//! - Names and extended headers have a bound; the data of files passes through a buffer.

use std::{
    cell::Cell,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context, Result, bail};
use tar::{Archive, Entry, EntryType};

use super::{
    tally::Tally,
    tree::{self, Tree},
};

/// Bytes that may come between the data of one file and that of the next: headers, long names, extensions.
const HEADER_BYTES_MAX: u64 = 1 << 20;
/// Characters of a name that are shown.
const SHOWN_CHARS_MAX: usize = 200;
const BUFFER_BYTES: usize = 64 << 10;

/// Where to unpack to.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The name that the archive's entries are below; `.` for all.
    pub(super) name: String,
    /// What the user named on this machine.
    pub(super) destination: PathBuf,
    /// Whether the user wrote it as a folder, with a slash at the end.
    pub(super) is_folder: bool,
}

/// What the first entry has decided.
enum Target {
    Undecided,
    /// The source is a folder.
    Folder(Tree),
    /// The source was a file; nothing may follow.
    File,
}

/// Bounds what is read outside the data of files.
struct Metered<R> {
    inner: R,
    /// `None` while the data of a file is read.
    left: Rc<Cell<Option<u64>>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.left.get() else { return self.inner.read(buffer) };
        if left == 0 {
            let message = format!("the archive has more than {HEADER_BYTES_MAX} bytes of names between two files");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.inner.read(&mut buffer[..room])?;
        self.left.set(Some(left - length as u64));
        Ok(length)
    }
}

/// Unpacks an archive until it ends.
///
/// # Errors
/// When the archive is damaged or a file cannot be written. Entries that are refused are counted in `tally`.
pub(super) fn run(archive: impl Read, wanted: &Wanted, tally: &mut Tally) -> Result<()> {
    let left = Rc::new(Cell::new(None));
    let mut archive = Archive::new(Metered { inner: archive, left: Rc::clone(&left) });
    let mut unpack = Unpack { wanted, tally, target: Target::Undecided };
    let mut entries = archive.entries().context("cannot read the archive")?;
    loop {
        left.set(Some(HEADER_BYTES_MAX));
        let entry = entries.next();
        left.set(None);
        let Some(entry) = entry else { break };
        let mut entry = entry.context("the archive that the container sent is damaged")?;
        unpack.entry(&mut entry)?;
        // What was not wanted is read over here, without the bound on headers.
        io::copy(&mut entry, &mut io::sink()).context("the archive that the container sent is cut off")?;
    }
    if matches!(unpack.target, Target::Undecided) && unpack.tally.failed == 0 {
        bail!("the container sent an empty archive");
    }
    // The archive is padded; its sender must not be cut off before it has ended.
    io::copy(&mut archive.into_inner(), &mut io::sink()).context("cannot read the end of the archive")?;
    Ok(())
}

struct Unpack<'a> {
    wanted: &'a Wanted,
    tally: &'a mut Tally,
    target: Target,
}

impl Unpack<'_> {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<()> {
        let name = entry.path_bytes().into_owned();
        let shown = shown(&name);
        let parts = match self.below(&name) {
            Ok(parts) => parts,
            Err(why) => {
                self.tally.fail(&format!("{shown} is left out: {why}"));
                return Ok(());
            }
        };
        if is_sparse(entry) {
            bail!("{shown} is a sparse file in a form that cannot be unpacked: copy it with `exec` and `cat`");
        }
        self.tally.begin(&shown);
        if matches!(self.target, Target::Undecided) {
            return self.first(entry, &parts, &shown);
        }
        let Target::Folder(tree) = &self.target else {
            self.tally.fail(&format!("{shown} is left out: a single file was asked for"));
            return Ok(());
        };
        match below_folder(tree, self.wanted, entry, &parts, self.tally) {
            Ok(()) => Ok(()),
            Err(Refused::Entry(why)) => {
                self.tally.fail(&format!("{shown} is left out: {why}"));
                Ok(())
            }
            Err(Refused::Kind(why)) => {
                self.tally.skip(&format!("{shown} is left out: {why}"));
                Ok(())
            }
            Err(Refused::All(error)) => Err(error).with_context(|| format!("cannot copy {shown}")),
        }
    }

    /// The parts of a name below the one that was asked for.
    fn below(&self, name: &[u8]) -> Result<Vec<OsString>, &'static str> {
        below(self.wanted, name)
    }

    /// The first entry is what was asked for itself.
    fn first<R: Read>(&mut self, entry: &mut Entry<'_, R>, parts: &[OsString], shown: &str) -> Result<()> {
        let destination = &self.wanted.destination;
        let mode = entry.header().mode().unwrap_or(0o644);
        match entry.header().entry_type() {
            EntryType::Directory if parts.is_empty() => {
                let open = Tree::open(destination);
                let tree = open.with_context(|| format!("cannot use {} as a folder", destination.display()))?;
                self.target = Target::Folder(tree);
                self.tally.folders += 1;
                Ok(())
            }
            EntryType::Regular | EntryType::Continuous if parts.is_empty() => {
                let mut file = self.single(mode)?;
                write(entry, &mut file, self.tally).with_context(|| format!("cannot copy {shown}"))?;
                self.target = Target::File;
                self.tally.files += 1;
                Ok(())
            }
            EntryType::Symlink => {
                let to = entry.link_name_bytes().unwrap_or_default().into_owned();
                bail!("{shown} is a symbolic link to {}: copy that instead", self::shown(&to))
            }
            _ => bail!("{shown} is neither a file nor a folder"),
        }
    }

    /// The file for a single file: the path that the user named, or its name in the folder that the user named.
    fn single(&self, mode: u32) -> Result<File> {
        let destination = &self.wanted.destination;
        let opened = if self.wanted.is_folder || destination.is_dir() {
            Tree::open(destination).and_then(|tree| tree.create(&[OsString::from(&self.wanted.name)], mode))
        } else {
            make_parent(destination).and_then(|()| {
                OpenOptions::new().write(true).create(true).truncate(true).mode(mode & 0o777).open(destination)
            })
        };
        opened.with_context(|| format!("cannot write {}", destination.display()))
    }
}

/// A name as it is shown.
fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into_owned(),
    }
}

fn make_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::create_dir_all(parent),
        _ => Ok(()),
    }
}

fn below(wanted: &Wanted, name: &[u8]) -> Result<Vec<OsString>, &'static str> {
    let mut parts = tree::parts(name)?;
    if wanted.name == "." {
        return Ok(parts);
    }
    if parts.first().is_none_or(|first| first.as_bytes() != wanted.name.as_bytes()) {
        return Err("it is not below what was asked for");
    }
    parts.remove(0);
    Ok(parts)
}

/// Sparse files, in the old form (a header may claim any number of zeros) and in the extended one.
fn is_sparse<R: Read>(entry: &mut Entry<'_, R>) -> bool {
    let extended = |e: &mut Entry<'_, R>| match e.pax_extensions() {
        Ok(Some(mut all)) => all.any(|x| x.is_ok_and(|x| x.key_bytes().starts_with(b"GNU.sparse."))),
        _ => false,
    };
    entry.header().entry_type() == EntryType::GNUSparse || extended(entry)
}

/// Why an entry is not there afterwards.
enum Refused {
    /// It should be.
    Entry(String),
    /// It is of a kind that is not copied.
    Kind(String),
    /// Nothing more can be copied.
    All(anyhow::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem => {
                Self::All(error.into())
            }
            _ => Self::Entry(error.to_string()),
        }
    }
}

fn below_folder<R: Read>(
    tree: &Tree,
    wanted: &Wanted,
    entry: &mut Entry<'_, R>,
    parts: &[OsString],
    tally: &mut Tally,
) -> Result<(), Refused> {
    let kind = entry.header().entry_type();
    let mode = entry.header().mode().unwrap_or(0o644);
    match kind {
        EntryType::Directory => {
            tree.make_folder(parts, mode)?;
            tally.folders += 1;
        }
        EntryType::Regular | EntryType::Continuous => {
            let mut file = tree.create(parts, mode)?;
            write(entry, &mut file, tally).map_err(Refused::All)?;
            tally.files += 1;
        }
        EntryType::Symlink => {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            if !tree::link_stays_inside(parts.len().saturating_sub(1), &target) {
                let target = shown(&target);
                return Err(Refused::Kind(format!("as a symbolic link it would lead to {target}, outside the copy")));
            }
            tree.symlink(parts, &target)?;
            tally.links += 1;
        }
        EntryType::Link => {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            let from = below(wanted, &target)
                .map_err(|why| Refused::Entry(format!("what it is a hard link to is refused: {why}")))?;
            tree.hard_link(&from, parts)?;
            tally.links += 1;
        }
        other => return Err(Refused::Kind(format!("it is no file, folder or link but {other:?}"))),
    }
    Ok(())
}

fn write(from: &mut impl Read, to: &mut File, tally: &mut Tally) -> Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("the archive that the container sent is cut off"),
        };
        to.write_all(&buffer[..length]).context("cannot write the file")?;
        tally.add_bytes(length);
    }
}

#[cfg(test)]
mod tests;
