//! Log files of bounded size. Services hold the file open for appending, so it is copied and emptied, not renamed.

use std::{fs, io, path::Path};

/// A log file may grow to this size in bytes; the part before it is kept once, as `NAME.log.1`.
const LIMIT_BYTES: u64 = 8 << 20;

/// Shortens every log file that has outgrown the limit.
///
/// # Errors
/// The first failure; the other files were still looked at.
pub(super) fn limit_all(folder: &Path) -> io::Result<()> {
    let mut result = Ok(());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "log") {
            let limited = limit(&path, LIMIT_BYTES);
            result = result.and(limited);
        }
    }
    result
}

fn limit(path: &Path, bytes: u64) -> io::Result<()> {
    if fs::metadata(path)?.len() <= bytes {
        return Ok(());
    }
    fs::copy(path, path.with_extension("log.1"))?;
    fs::OpenOptions::new().write(true).open(path)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_writer_goes_on_after_the_file_was_emptied() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.log");
        let mut writer = fs::OpenOptions::new().create(true).append(true).open(&path).expect("it opens");
        writer.write_all(b"0123456789").expect("it is written");
        limit(&path, 10).expect("nothing to do");
        assert_eq!(fs::read(&path).expect("it is read"), b"0123456789");
        limit(&path, 9).expect("it is shortened");
        writer.write_all(b"new").expect("it is written");
        assert_eq!(fs::read(&path).expect("it is read"), b"new");
        assert_eq!(fs::read(folder.path().join("x.log.1")).expect("it is read"), b"0123456789");
    }
}
