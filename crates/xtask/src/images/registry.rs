//! The part of the registry HTTP API that pushing needs, over plain HTTP to the cluster's own registry.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail, ensure};

/// A registry's answer.
struct Answer {
    status: u16,
    location: Option<String>,
    body: String,
}

/// Sends a blob, unless the registry has it.
pub(super) fn push_blob(registry: &str, image: &str, digest: &str, path: &Path) -> anyhow::Result<()> {
    let known = request(registry, "HEAD", &format!("/v2/{image}/blobs/{digest}"), "", &[])?;
    if known.status == 200 {
        return Ok(());
    }
    let begun = request(registry, "POST", &format!("/v2/{image}/blobs/uploads/"), "", &[])?;
    ensure!(begun.status == 202, "the registry refuses an upload ({}): {}", begun.status, begun.body);
    let location = begun.location.context("the registry names no place for the upload")?;
    let place = match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]).to_owned(),
        None => location,
    };
    let separator = if place.contains('?') { '&' } else { '?' };
    let target = format!("{place}{separator}digest={}", digest.replace(':', "%3A"));
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let done = request(registry, "PUT", &target, "application/octet-stream", &bytes)?;
    ensure!(done.status == 201, "the registry refuses the layer ({}): {}", done.status, done.body);
    Ok(())
}

/// Names an image.
pub(super) fn push_manifest(registry: &str, image: &str, tag: &str, kind: &str, manifest: &str) -> anyhow::Result<()> {
    let done = request(registry, "PUT", &format!("/v2/{image}/manifests/{tag}"), kind, manifest.as_bytes())?;
    ensure!(done.status == 201, "the registry refuses the manifest ({}): {}", done.status, done.body);
    Ok(())
}

fn request(registry: &str, method: &str, target: &str, kind: &str, body: &[u8]) -> anyhow::Result<Answer> {
    let mut stream =
        TcpStream::connect(registry).with_context(|| format!("the registry {registry} does not answer"))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    let kind = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {registry}\r\nConnection: close\r\n{kind}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    read_answer(BufReader::new(stream))
}

fn read_answer(mut reader: impl BufRead) -> anyhow::Result<Answer> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split_whitespace().nth(1).and_then(|s| s.parse().ok());
    let Some(status) = status else { bail!("the registry's answer is no HTTP: {line:?}") };
    let mut location = None;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("location")
        {
            location = Some(value.trim().to_owned());
        }
    }
    let mut body = String::new();
    // An error's text is short; a HEAD has none.
    reader.take(16 * 1024).read_to_string(&mut body)?;
    Ok(Answer { status, location, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_place_and_text_are_read() {
        let text = "HTTP/1.1 202 Accepted\r\nLOCATION: http://x:1/v2/a?b=c\r\nX: y\r\n\r\nbody";
        let answer = read_answer(text.as_bytes()).expect("it is HTTP");
        assert_eq!(
            (answer.status, answer.location.as_deref(), answer.body.as_str()),
            (202, Some("http://x:1/v2/a?b=c"), "body")
        );
        assert!(read_answer("nonsense".as_bytes()).is_err());
    }
}
