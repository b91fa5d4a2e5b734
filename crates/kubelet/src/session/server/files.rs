//! The node's log files, for reading. The kernel resolves each path below the folder, and follows no links: what a
//! container writes into its log folder cannot point elsewhere.

use std::{
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use futures::stream;
use gantry_api::status::Status;
use hyper::{Response, StatusCode};
use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
};
use tokio::io::AsyncReadExt;

use super::{Answer, query::decode, streamed, with};

const FOLDER: &str = "/var/log";
/// Names of a folder that are shown.
const NAMES_MAX: usize = 10_000;
const READ_BYTES: usize = 64 * 1024;

enum Found {
    Folder(Vec<String>),
    File(File),
}

fn failed(path: &str) -> impl Fn(Errno) -> Status {
    move |errno| match errno {
        Errno::ENOENT | Errno::ENOTDIR => Status::failure(404, "NotFound", "404 page not found"),
        Errno::ELOOP | Errno::EXDEV => {
            Status::failure(403, "Forbidden", format!("{path:?} is, or leads through, a symbolic link"))
        }
        other => Status::internal(format!("cannot open the log file {path:?}: {other}")),
    }
}

fn open(folder: &Path, path: &str) -> Result<Found, Status> {
    let root = File::open(folder).map_err(|error| Status::internal(format!("cannot open {folder:?}: {error}")))?;
    let relative = match path.trim_matches('/') {
        "" => PathBuf::from("."),
        name => PathBuf::from(name),
    };
    // Nobody waits for the other end of a pipe.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file: File = openat2(&root, &relative, how).map_err(failed(path))?.into();
    let kind = file.metadata().map_err(|error| Status::internal(format!("cannot look at {path:?}: {error}")))?;
    if kind.is_dir() {
        return names(&file).map(Found::Folder).map_err(|e| Status::internal(format!("cannot read {path:?}: {e}")));
    }
    if !kind.is_file() {
        return Err(Status::failure(403, "Forbidden", format!("{path:?} is no file")));
    }
    Ok(Found::File(file))
}

fn names(folder: &File) -> std::io::Result<Vec<String>> {
    let entries = std::fs::read_dir(format!("/proc/self/fd/{}", folder.as_raw_fd()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .take(NAMES_MAX)
        .map(|entry| {
            let slash = if entry.file_type().is_ok_and(|kind| kind.is_dir()) { "/" } else { "" };
            format!("{}{slash}", entry.file_name().to_string_lossy())
        })
        .collect();
    names.sort();
    Ok(names)
}

/// A folder as upstream's server shows it.
fn listing(names: &[String]) -> String {
    let escape = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&#34;")
            .replace('\'', "&#39;")
    };
    let lines = names.iter().map(|name| {
        let link = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string();
        format!("<a href=\"{}\">{}</a>\n", link.replace("%2F", "/"), escape(name))
    });
    format!(
        "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n{}</pre>\n",
        lines.collect::<String>()
    )
}

/// A file's bytes up to the length that it had: one that grows would never end.
fn content(file: File) -> Answer {
    let length = file.metadata().map_or(0, |kind| kind.len());
    let reader = tokio::fs::File::from_std(file).take(length);
    let chunks = stream::try_unfold(reader, |mut reader| async move {
        let mut buffer = bytes::BytesMut::with_capacity(READ_BYTES);
        let read = reader.read_buf(&mut buffer).await?;
        Ok((read > 0).then(|| (buffer.freeze(), reader)))
    });
    let mut response = Response::new(streamed(chunks));
    let kind = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

/// Answers for a path below `/logs/`.
pub(super) async fn answer(path: &str) -> Result<Answer, Status> {
    let path = decode(path)?;
    let opened = tokio::task::spawn_blocking(move || open(Path::new(FOLDER), &path)).await;
    match opened.map_err(Status::internal)?? {
        Found::Folder(names) => Ok(with(StatusCode::OK, "text/html; charset=utf-8", listing(&names))),
        Found::File(file) => Ok(content(file)),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn nothing_outside_the_folder_is_read() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("log");
        fs::create_dir_all(folder.join("pods")).unwrap();
        fs::write(place.path().join("secret"), "s").unwrap();
        fs::write(folder.join("pods/a.log"), "text").unwrap();
        symlink(place.path().join("secret"), folder.join("link")).unwrap();
        symlink(place.path(), folder.join("up")).unwrap();
        nix::unistd::mkfifo(&folder.join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let check = |path: &str, expected: Result<&str, u16>| {
            let found = open(&folder, path).map(|found| match found {
                Found::Folder(names) => names.join(" "),
                Found::File(mut file) => {
                    let mut text = String::new();
                    file.read_to_string(&mut text).unwrap();
                    text
                }
            });
            assert_eq!(found.map_err(|status| status.code), expected.map(str::to_owned), "{path}");
        };
        check("", Ok("link pipe pods/ up"));
        check("pods/", Ok("a.log"));
        check("pods/a.log", Ok("text"));
        // The folder is the root of all there is.
        check("../../pods/a.log", Ok("text"));
        check("../secret", Err(404));
        check("link", Err(403));
        check("up/secret", Err(403));
        check("pipe", Err(403));
        check("pods/a.log/x", Err(404));
    }

    #[test]
    fn names_cannot_become_markup() {
        let text = listing(&["a b/".to_owned(), "<x>\"".to_owned()]);
        assert!(text.contains("<a href=\"a%20b/\">a b/</a>") && text.contains("&lt;x&gt;&#34;"), "{text}");
        assert!(!text.contains("<x>"));
    }
}
