//! URLs as Go's `net/url` reads them.

use std::borrow::Cow;
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

/// Something of a URL, or what is wrong in Go's words.
type Parsed<T> = std::result::Result<T, Cow<'static, str>>;

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
    pub(super) fn parse(text: &str) -> Parsed<Self> {
        if text.chars().any(|c| c.is_ascii_control()) {
            return Err("net/url: invalid control character in URL".into());
        }
        if text.is_empty() {
            return Err("empty url".into());
        }
        let (scheme, rest) = split_scheme(text)?;
        // What a request asks for has no fragment, but a URL may have one behind its path.
        let whole = rest;
        let (rest, _fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !rest.starts_with('/') && scheme.is_empty() {
            return Err("invalid URI for request".into());
        }
        let mut url =
            Self { text: text.to_owned(), scheme, host: String::new(), path: String::new(), query: query.to_owned() };
        if !rest.starts_with('/') {
            // `mailto:x`: neither host nor path.
            return Ok(url);
        }
        let mut path = rest;
        if let Some(after) = rest.strip_prefix("//").filter(|a| !url.scheme.is_empty() || !a.starts_with('/')) {
            path = &after[after.find('/').unwrap_or(after.len())..];
            let authority = whole[2..].split(['/', '?']).next().unwrap_or_default();
            let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
            url.host = check_host(host)?;
            check_user(user)?;
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

fn split_scheme(text: &str) -> Parsed<(String, &str)> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".into()),
            ':' => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), text))
}

fn check_user(user: &str) -> Parsed<()> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b);
    if !user.bytes().all(fine) {
        return Err("net/url: invalid userinfo".into());
    }
    check_escapes(user)
}

fn check_host(host: &str) -> Parsed<String> {
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        &host[end + 1..]
    } else {
        host.rfind(':').map_or("", |colon| &host[colon..])
    };
    let is_port = port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    if !port.is_empty() && !is_port {
        return Err(format!("invalid port {port:?} after host").into());
    }
    check_escapes(host)?;
    match host.chars().find(|c| matches!(c, ' ' | '#' | '\\' | '^' | '`' | '{' | '|' | '}')) {
        Some(bad) => Err(format!("invalid character {:?} in host name", bad.to_string()).into()),
        None => Ok(host.to_owned()),
    }
}

fn check_escapes(text: &str) -> Parsed<()> {
    let wrong = |after: &&str| !after.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    match text.split('%').skip(1).find(wrong) {
        Some(after) => {
            let shown: String = after.chars().take(2).collect();
            Err(format!("invalid URL escape {:?}", format!("%{shown}")).into())
        }
        None => Ok(()),
    }
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
