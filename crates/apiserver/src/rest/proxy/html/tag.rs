//! One start tag: its attributes, and which of them are links.

use std::ops::Range;

/// An attribute with a value, both as ranges of the tag's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    name: Range<usize>,
    pub(super) value: Range<usize>,
}

/// A start tag.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tag {
    name: Range<usize>,
    attributes: Vec<Attribute>,
    /// Where the tag ends, its bracket included.
    pub(super) end: usize,
}

/// Which attributes of which elements are links (HTML 4 and 5).
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("track", &["src"]),
    ("video", &["poster", "src"]),
];

impl Tag {
    /// The element's name.
    pub(super) fn name<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.name.clone()]
    }

    /// The attributes that are links, in order.
    pub(super) fn links<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = &'a Attribute> {
        let element = self.name(bytes);
        let known = LINKS.iter().find(|(name, _)| element.eq_ignore_ascii_case(name.as_bytes()));
        let names = known.map_or(&[][..], |(_, names)| names);
        let is_link =
            move |a: &&Attribute| names.iter().any(|name| bytes[a.name.clone()].eq_ignore_ascii_case(name.as_bytes()));
        self.attributes.iter().filter(is_link)
    }
}

/// Walks along a tag; every step fails where the bytes end.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Goes on while `of_this` holds.
    fn skip(&mut self, of_this: impl Fn(u8) -> bool) -> Option<Range<usize>> {
        let start = self.at;
        while of_this(self.peek()?) {
            self.at += 1;
        }
        Some(start..self.at)
    }

    fn value(&mut self) -> Option<Range<usize>> {
        let quote = self.peek()?;
        if !matches!(quote, b'"' | b'\'') {
            return self.skip(|b| !b.is_ascii_whitespace() && b != b'>');
        }
        self.at += 1;
        let value = self.skip(|b| b != quote)?;
        self.at += 1;
        Some(value)
    }
}

/// Reads a tag that begins at the first byte; nothing while it is not complete.
pub(super) fn parse(bytes: &[u8]) -> Option<Tag> {
    let mut walk = Walk { bytes, at: 1 };
    let name = walk.skip(|b| !b.is_ascii_whitespace() && !matches!(b, b'/' | b'>'))?;
    let mut attributes = Vec::new();
    loop {
        walk.skip(|b| b.is_ascii_whitespace() || b == b'/')?;
        if walk.peek()? == b'>' {
            return Some(Tag { name, attributes, end: walk.at + 1 });
        }
        let start = walk.at;
        // An equals sign at the beginning is part of the name.
        walk.at += 1;
        walk.skip(|b| !b.is_ascii_whitespace() && !matches!(b, b'/' | b'>' | b'='))?;
        let name = start..walk.at;
        walk.skip(|b| b.is_ascii_whitespace())?;
        if walk.peek()? == b'=' {
            walk.at += 1;
            walk.skip(|b| b.is_ascii_whitespace())?;
            let value = walk.value()?;
            attributes.push(Attribute { name, value });
        }
    }
}
