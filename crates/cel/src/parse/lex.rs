//! Tokens.

use std::sync::Arc;

/// A token and the byte offset where it starts.
#[derive(Debug, Clone)]
pub(super) struct Spanned {
    pub at: u32,
    pub end: u32,
    pub token: Token,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Punctuation and operators, and the words `in`, `true`, `false`, `null`.
    Sign(&'static str),
    Ident(Arc<str>),
    /// Digits without sign; hexadecimal with `0x`.
    Int(String),
    Uint(String),
    Double(String),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
    End,
}

/// The longest first.
const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")", "[", "]",
    "{", "}",
];
const WORDS: &[&str] = &["in", "true", "false", "null"];

/// What stopped the reading: where, and a message.
pub(super) type Fault = (u32, String);

pub(super) fn tokens(source: &str) -> Result<Vec<Spanned>, Fault> {
    let mut lexer = Lexer { source, at: 0 };
    let mut found = Vec::new();
    loop {
        lexer.skip_space();
        let at = lexer.at;
        let token = lexer.next()?;
        let end = token == Token::End;
        found.push(Spanned { at: at as u32, end: lexer.at as u32, token });
        if end {
            return Ok(found);
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{c}']);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn next(&mut self) -> Result<Token, Fault> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        if let Some((raw, bytes, quote_at)) = string_prefix(rest) {
            return self.string(raw, bytes, quote_at);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            self.at += length;
            let word = &rest[..length];
            return Ok(match WORDS.iter().find(|w| **w == word) {
                Some(sign) => Token::Sign(sign),
                None => Token::Ident(word.into()),
            });
        }
        let after_dot = rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        if first.is_ascii_digit() || (first == '.' && after_dot) {
            return Ok(self.number());
        }
        if let Some(sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) {
            self.at += sign.len();
            return Ok(Token::Sign(sign));
        }
        Err((self.at as u32, format!("Syntax error: token recognition error at: '{first}'")))
    }

    fn number(&mut self) -> Token {
        let rest = self.rest();
        let digits = |from: usize| rest[from..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |n| from + n);
        if rest.starts_with("0x") && rest.as_bytes().get(2).is_some_and(u8::is_ascii_hexdigit) {
            let end = rest[2..].find(|c: char| !c.is_ascii_hexdigit()).map_or(rest.len(), |n| 2 + n);
            return self.whole(end);
        }
        let mut end = digits(0);
        let mut double = false;
        let bytes = rest.as_bytes();
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            double = true;
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
                double = true;
                end = digits(end + 1 + sign);
            }
        }
        if !double {
            return self.whole(end);
        }
        self.at += end;
        Token::Double(rest[..end].to_owned())
    }

    /// A whole number of `length` bytes, perhaps with a `u` behind it.
    fn whole(&mut self, length: usize) -> Token {
        let rest = self.rest();
        let text = rest[..length].to_owned();
        if matches!(rest.as_bytes().get(length), Some(b'u' | b'U')) {
            self.at += length + 1;
            return Token::Uint(text);
        }
        self.at += length;
        Token::Int(text)
    }

    fn string(&mut self, raw: bool, bytes: bool, quote_at: usize) -> Result<Token, Fault> {
        let start = self.at;
        let rest = self.rest();
        let quote = &rest[quote_at..=quote_at];
        let triple = quote.repeat(3);
        let delimiter = if rest[quote_at..].starts_with(&triple) { triple.as_str() } else { quote };
        let body_at = quote_at + delimiter.len();
        let recognition = |upto: &str| (start as u32, format!("Syntax error: token recognition error at: '{upto}'"));
        let mut end = body_at;
        loop {
            let left = &rest[end..];
            if left.starts_with(delimiter) {
                break;
            }
            let Some(c) = left.chars().next() else { return Err(recognition(rest)) };
            if delimiter.len() == 1 && matches!(c, '\n' | '\r') {
                return Err(recognition(&rest[..end]));
            }
            end += c.len_utf8();
            if c == '\\' && !raw {
                end += rest[end..].chars().next().map_or(0, char::len_utf8);
            }
        }
        self.at += end + delimiter.len();
        let body = &rest[body_at..end];
        let place = start as u32;
        if bytes {
            let content = if raw { Some(body.as_bytes().to_vec()) } else { super::unquote::bytes(body) };
            return content.map(|b| Token::Bytes(b.into())).ok_or_else(|| (place, "invalid bytes literal".to_owned()));
        }
        let content = if raw { Some(body.to_owned()) } else { super::unquote::text(body) };
        content.map(|s| Token::String(s.into())).ok_or_else(|| (place, "invalid string literal".to_owned()))
    }
}

/// Whether a string starts here: raw, bytes, and where its quote is.
fn string_prefix(rest: &str) -> Option<(bool, bool, usize)> {
    let (mut raw, mut bytes) = (false, false);
    for (at, byte) in rest.bytes().enumerate().take(3) {
        match byte {
            b'"' | b'\'' => return Some((raw, bytes, at)),
            b'r' | b'R' if !raw => raw = true,
            b'b' | b'B' if !bytes => bytes = true,
            _ => return None,
        }
    }
    None
}
