//! Packs files of this machine into an archive for a container's `tar`.

use std::{
    ffi::OsStr,
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tar::{Builder, EntryType, Header};

use super::tally::Tally;

/// Packs `source` under the name `name`. Symbolic links are packed as links.
///
/// # Errors
/// When the archive cannot be written. What cannot be read is counted in `tally`.
pub(super) fn run(archive: impl Write, source: &Path, name: &OsStr, tally: &mut Tally) -> Result<()> {
    let mut builder = Builder::new(archive);
    // Folders whose contents are still to be packed; what is deepest comes last.
    let mut waiting: Vec<(PathBuf, PathBuf)> = vec![(source.to_owned(), PathBuf::from(name))];
    while let Some((path, name)) = waiting.pop() {
        tally.begin(&name.to_string_lossy());
        let found = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => folder(&mut builder, &path, &name, &metadata, &mut waiting, tally)?,
            Ok(metadata) => one(&mut builder, &path, &name, &metadata, tally)?,
            Err(error) => Err(error),
        };
        if let Err(error) = found {
            tally.fail(&format!("{} is left out: {error}", path.display()));
        }
    }
    builder.into_inner().and_then(|mut out| out.flush()).context("cannot send the archive")
}

fn header(metadata: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_metadata(metadata);
    header
}

/// The outer error is the archive's, the inner one the file's.
type Packed = Result<io::Result<()>>;

const SENDING: &str = "cannot send the archive";

fn folder<W: Write>(
    builder: &mut Builder<W>,
    path: &Path,
    name: &Path,
    metadata: &Metadata,
    waiting: &mut Vec<(PathBuf, PathBuf)>,
    tally: &mut Tally,
) -> Packed {
    let entries: io::Result<Vec<_>> = fs::read_dir(path).and_then(|all| all.map(|e| Ok(e?.file_name())).collect());
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => return Ok(Err(error)),
    };
    entries.sort_unstable();
    let mut header = header(metadata);
    header.set_size(0);
    builder.append_data(&mut header, name, io::empty()).context(SENDING)?;
    tally.folders += 1;
    waiting.extend(entries.iter().rev().map(|entry| (path.join(entry), name.join(entry))));
    Ok(Ok(()))
}

fn one<W: Write>(builder: &mut Builder<W>, path: &Path, name: &Path, metadata: &Metadata, tally: &mut Tally) -> Packed {
    let mut header = header(metadata);
    if metadata.is_symlink() {
        let target = match fs::read_link(path) {
            Ok(target) => target,
            Err(error) => return Ok(Err(error)),
        };
        header.set_size(0);
        builder.append_link(&mut header, name, target).context(SENDING)?;
        tally.links += 1;
    } else if metadata.is_file() {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        return content(builder, header, file, name, metadata.len(), tally);
    } else {
        tally.skip(&format!("{} is left out: it is no file, folder or symbolic link", path.display()));
    }
    Ok(Ok(()))
}

/// The archive says the size first, so exactly that much follows, whatever happens to the file meanwhile.
fn content<W: Write>(
    builder: &mut Builder<W>,
    mut header: Header,
    file: File,
    name: &Path,
    size: u64,
    tally: &mut Tally,
) -> Packed {
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    let mut data = Exactly { file, left: size, failure: None, tally };
    builder.append_data(&mut header, name, &mut data).context(SENDING)?;
    match data.failure {
        Some(error) => Ok(Err(error)),
        None => {
            tally.files += 1;
            Ok(Ok(()))
        }
    }
}

/// A file's first bytes; zeros where the file has become shorter or cannot be read.
struct Exactly<'t> {
    file: File,
    left: u64,
    failure: Option<io::Error>,
    tally: &'t mut Tally,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let mut length = 0;
        if self.failure.is_none() {
            match self.file.read(&mut buffer[..room]) {
                Ok(0) => self.failure = Some(io::Error::other("it became shorter while it was read")),
                Ok(n) => length = n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(e),
                Err(error) => self.failure = Some(error),
            }
        }
        if self.failure.is_some() {
            buffer[..room].fill(0);
            length = room;
        } else {
            self.tally.add_bytes(length);
        }
        self.left -= length as u64;
        Ok(length)
    }
}
