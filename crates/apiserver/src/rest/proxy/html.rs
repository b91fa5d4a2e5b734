//! Links in pages, rewritten as the page passes by: whatever is no link stays as it is, byte by byte.

mod tag;

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::header::{self, HeaderMap};
use http::{Method, StatusCode};

use super::links::Links;

/// Bytes of one tag; in a longer one no link is rewritten.
const TAG_BYTES_MAX: usize = 64 * 1024;

/// Where in the page it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    Comment,
    /// In an element whose content is no markup, up to this end.
    Raw(&'static [u8]),
}

/// Elements whose content is no markup.
const RAW: &[(&[u8], &[u8])] = &[
    (b"script", b"</script"),
    (b"style", b"</style"),
    (b"textarea", b"</textarea"),
    (b"title", b"</title"),
    (b"xmp", b"</xmp"),
    (b"iframe", b"</iframe"),
    (b"noembed", b"</noembed"),
    (b"noframes", b"</noframes"),
];

/// Rewrites one page.
pub(super) struct Rewriter {
    page: Page,
    unpack: Option<MultiGzDecoder<Vec<u8>>>,
}

/// The page as it was written.
struct Page {
    links: Links,
    place: Place,
    /// Read and not passed on yet: the beginning of something.
    held: Vec<u8>,
}

impl Rewriter {
    /// For an answer that is a page, in a form that can be read. Its length and encoding change, so their headers go.
    pub(super) fn for_answer(
        method: &Method,
        status: StatusCode,
        headers: &mut HeaderMap,
        links: &Links,
    ) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().trim();
        let media = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
        // A part of a page begins and ends anywhere.
        if method == Method::HEAD || status == StatusCode::PARTIAL_CONTENT || !media.eq_ignore_ascii_case("text/html") {
            return None;
        }
        let unpack = match text(header::CONTENT_ENCODING).to_ascii_lowercase().as_str() {
            "" | "identity" => None,
            "gzip" | "x-gzip" => Some(MultiGzDecoder::new(Vec::new())),
            _ => return None,
        };
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::CONTENT_ENCODING);
        Some(Self { page: Page { links: links.clone(), place: Place::Text, held: Vec::new() }, unpack })
    }

    /// Takes bytes of the answer; returns bytes of the page.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<Bytes> {
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 8);
        match &mut self.unpack {
            None => self.page.push(bytes, &mut out),
            Some(unpack) => {
                unpack.write_all(bytes)?;
                let plain = std::mem::take(unpack.get_mut());
                self.page.push(&plain, &mut out);
            }
        }
        Ok(Bytes::from(out))
    }

    /// The rest of the page.
    pub(super) fn finish(mut self) -> io::Result<Bytes> {
        let mut out = Vec::new();
        if let Some(unpack) = self.unpack {
            let plain = unpack.finish()?;
            self.page.push(&plain, &mut out);
        }
        out.append(&mut self.page.held);
        Ok(Bytes::from(out))
    }
}

impl Page {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let mut at = 0;
        while let Some(next) = self.step(&held[at..], out) {
            at += next;
        }
        self.held.extend_from_slice(&held[at..]);
    }

    /// Passes one thing on; nothing when more has to be read to know what it is.
    fn step(&mut self, rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let end: &[u8] = match self.place {
            Place::Text => return self.markup(rest, out),
            Place::Comment => b"-->",
            Place::Raw(end) => end,
        };
        // Up to the end, or as far as it cannot have begun.
        let found = rest.windows(end.len()).position(|w| w.eq_ignore_ascii_case(end));
        let upto = found.unwrap_or_else(|| rest.len().saturating_sub(end.len() - 1));
        if found.is_some() {
            self.place = Place::Text;
        }
        out.extend_from_slice(&rest[..upto]);
        (upto > 0 || found.is_some()).then_some(upto)
    }

    fn markup(&mut self, rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let plain = rest.iter().position(|b| *b == b'<').unwrap_or(rest.len());
        if plain > 0 {
            out.extend_from_slice(&rest[..plain]);
            return Some(plain);
        }
        const COMMENT: &[u8] = b"<!--";
        if rest.starts_with(COMMENT) {
            self.place = Place::Comment;
            // `<!-->` is a comment already.
            out.extend_from_slice(&rest[..2]);
            return Some(2);
        }
        if COMMENT.starts_with(rest) {
            return None;
        }
        if !rest[1].is_ascii_alphabetic() {
            out.push(b'<');
            return Some(1);
        }
        match tag::parse(rest) {
            Some(tag) => {
                self.write(&tag, rest, out);
                let raw = RAW.iter().find(|(name, _)| tag.name(rest).eq_ignore_ascii_case(name));
                self.place = raw.map_or(Place::Text, |(_, end)| Place::Raw(end));
                Some(tag.end)
            }
            // All of it at once: to look for tags in it again and again would cost a page's length squared.
            None if rest.len() > TAG_BYTES_MAX => {
                out.extend_from_slice(rest);
                Some(rest.len())
            }
            None => None,
        }
    }

    fn write(&self, tag: &tag::Tag, bytes: &[u8], out: &mut Vec<u8>) {
        let mut written = 0;
        for attribute in tag.links(bytes) {
            let value = std::str::from_utf8(&bytes[attribute.value.clone()]).ok();
            if let Some(link) = value.and_then(|value| self.links.rewritten(value)) {
                out.extend_from_slice(&bytes[written..attribute.value.start]);
                out.extend_from_slice(escaped(&link).as_bytes());
                written = attribute.value.end;
            }
        }
        out.extend_from_slice(&bytes[written..tag.end]);
    }
}

/// The link as an attribute's value. Its own escapes stay: only quotes and brackets of the prefix could do harm.
fn escaped(link: &str) -> String {
    link.replace('"', "&#34;").replace('\'', "&#39;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests;
