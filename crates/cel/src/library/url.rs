//! URLs as Go's `net/url` reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::opaque::Opaque;
use super::strings::made;
use super::{NO_OVERLOAD, Result, fail};
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::{Key, Value};

const PART: &[&str] = &["kubernetes.URL.() string"];

pub(super) const ENTRIES: &[Entry] = &[
    entry("url", url, &["(string) kubernetes.URL"]),
    entry("isURL", is_url, &["(string) bool"]),
    entry("getScheme", |c, a| part(c, a, |u| u.scheme.clone()), PART),
    entry("getHost", |c, a| part(c, a, |u| u.host.clone()), PART),
    entry("getHostname", |c, a| part(c, a, |u| u.hostname().to_owned()), PART),
    entry("getPort", |c, a| part(c, a, |u| u.port().to_owned()), PART),
    entry("getEscapedPath", |c, a| part(c, a, |u| u.escaped_path()), PART),
    entry("getQuery", query, &["kubernetes.URL.() map<string, list<string>>"]),
];

/// A URL in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    pub(crate) text: String,
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl Url {
    /// Reads an absolute URL or path (Go's `ParseRequestURI`); the error is what follows `parse "..": `.
    pub(super) fn parse(text: &str) -> std::result::Result<Self, &'static str> {
        if text.is_empty() {
            return Err("empty url");
        }
        if text.chars().any(|c| c.is_ascii_control()) {
            return Err("net/url: invalid control character in URL");
        }
        let (scheme, rest) = split_scheme(text)?;
        let (rest, _fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !rest.starts_with('/') && scheme.is_empty() {
            return Err("invalid URI for request");
        }
        let mut url =
            Self { text: text.to_owned(), scheme, host: String::new(), path: String::new(), query: query.to_owned() };
        if !rest.starts_with('/') {
            // `mailto:x`: neither host nor path.
            return Ok(url);
        }
        let mut path = rest;
        if let Some(after) = rest.strip_prefix("//").filter(|a| !url.scheme.is_empty() || !a.starts_with('/')) {
            let end = after.find('/').unwrap_or(after.len());
            let authority = &after[..end];
            path = &after[end..];
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            url.host = check_host(host)?;
        }
        check_escapes(path)?;
        url.path = path.to_owned();
        Ok(url)
    }

    fn hostname(&self) -> &str {
        let host = self.host.strip_suffix(self.port()).unwrap_or(&self.host);
        let host = if self.port().is_empty() { host } else { host.strip_suffix(':').unwrap_or(host) };
        let host = host.strip_suffix(':').filter(|_| self.host.ends_with(':')).unwrap_or(host);
        host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
    }

    fn port(&self) -> &str {
        match self.host.rfind(':') {
            Some(colon) if !self.host[colon..].contains(']') => &self.host[colon + 1..],
            _ => "",
        }
    }

    fn escaped_path(&self) -> String {
        let mut out = String::with_capacity(self.path.len());
        for byte in self.path.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
                b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' | b'%' => {
                    out.push(char::from(byte));
                }
                b'!' | b'\'' | b'(' | b')' | b'*' | b'[' | b']' => out.push(char::from(byte)),
                other => out.push_str(&format!("%{other:02X}")),
            }
        }
        out
    }
}

fn split_scheme(text: &str) -> std::result::Result<(String, &str), &'static str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            _ => break,
        }
    }
    // A colon in the first segment would make it a scheme, and it is none.
    let first = text.split(['/', '?', '#']).next().unwrap_or_default();
    if first.contains(':') && !text.starts_with('/') {
        return Err("first path segment in URL cannot contain colon");
    }
    Ok((String::new(), text))
}

fn check_host(host: &str) -> std::result::Result<String, &'static str> {
    let port = match host.strip_prefix('[') {
        Some(inner) => match inner.split_once(']') {
            Some((_, port)) => port,
            None => return Err("missing ']' in host"),
        },
        None => host.rfind(':').map_or("", |colon| &host[colon..]),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if !digits.bytes().all(|b| b.is_ascii_digit()) || (!port.is_empty() && !port.starts_with(':')) {
        return Err("invalid port after host");
    }
    if host.chars().any(|c| matches!(c, ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')) {
        return Err("invalid character in host name");
    }
    check_escapes(host)?;
    Ok(host.to_owned())
}

fn check_escapes(text: &str) -> std::result::Result<(), &'static str> {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let fine = (0..bytes.len()).all(|at| bytes[at] != b'%' || (hex(at + 1) && hex(at + 2)));
    if fine { Ok(()) } else { Err("invalid URL escape") }
}

fn url<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(text)] = args else { return Err(NO_OVERLOAD) };
    match Url::parse(text) {
        Ok(url) => Ok(Value::Opaque(Arc::new(Opaque::Url(url)))),
        Err(why) => fail(format!("URL parse error during conversion from string: parse {:?}: {why}", &**text)),
    }
}

fn is_url<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::String(text)] = args else { return Err(NO_OVERLOAD) };
    Ok(Value::Bool(Url::parse(text).is_ok()))
}

fn of<'v>(args: &'v [Value<'_>]) -> Result<&'v Url> {
    match args {
        [Value::Opaque(opaque)] => match &**opaque {
            Opaque::Url(url) => Ok(url),
            _ => Err(NO_OVERLOAD),
        },
        _ => Err(NO_OVERLOAD),
    }
}

fn part<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>], part: fn(&Url) -> String) -> Result<Value<'a>> {
    let text = part(of(args)?);
    made(context, text)
}

fn query<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let url = of(args)?;
    context.budget.allocate((url.query.matches('&').count() as u64 + 1) * 200 + url.query.len() as u64)?;
    let mut found: BTreeMap<Key, Vec<Value<'a>>> = BTreeMap::new();
    for pair in url.query.split('&').filter(|p| !p.is_empty() && !p.contains(';')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let (Some(name), Some(value)) = (unescape(name), unescape(value)) {
            found.entry(Key::String(name.into())).or_default().push(Value::text(&value));
        }
    }
    let map: BTreeMap<Key, Value<'a>> = found.into_iter().map(|(k, v)| (k, Value::list(v))).collect();
    Ok(Value::Map(map.into()))
}

/// The text of a part of a query: `+` is a space.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            other => bytes.push(*other),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
