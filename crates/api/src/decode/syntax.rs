//! What is wrong with text that is not JSON, in the words of Go's scanner: clients show them, and people search for them.

/// What may come next.
#[derive(Clone, Copy)]
enum Next {
    Value,
    /// A value, or the end of the array that has just begun.
    First,
    Key,
    /// A key, or the end of the object that has just begun.
    FirstKey,
    Colon,
    /// What follows a value.
    After,
}

#[derive(Clone, Copy)]
enum Within {
    Object,
    Array,
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

const ENDED: &str = "unexpected end of JSON input";

/// Why `bytes` are not one JSON value; nothing where they are.
#[must_use]
pub fn error(bytes: &[u8]) -> Option<String> {
    Scanner { bytes, at: 0 }.document().err()
}

fn invalid(byte: u8, context: &str) -> String {
    let shown = match byte {
        b'\'' => "\\'".to_owned(),
        b'"' => "\"".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        b'\\' => "\\\\".to_owned(),
        0..0x20 | 0x7f => format!("\\x{byte:02x}"),
        other => char::from(other).to_string(),
    };
    format!("invalid character '{shown}' {context}")
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    fn take(&mut self) -> Result<u8, String> {
        self.next().ok_or_else(|| ENDED.to_owned())
    }

    fn after_space(&mut self) -> Option<u8> {
        loop {
            let byte = self.next()?;
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(byte);
            }
        }
    }

    fn document(&mut self) -> Result<(), String> {
        let (mut within, mut next) = (Vec::new(), Next::Value);
        loop {
            let Some(byte) = self.after_space() else {
                let is_whole = matches!(next, Next::After) && within.is_empty();
                return if is_whole { Ok(()) } else { Err(ENDED.to_owned()) };
            };
            next = match (next, byte) {
                (Next::First, b']') | (Next::FirstKey, b'}') => {
                    within.pop();
                    Next::After
                }
                (Next::Value | Next::First, byte) => self.value(byte, &mut within)?,
                (Next::Key | Next::FirstKey, b'"') => {
                    self.string()?;
                    Next::Colon
                }
                (Next::Key | Next::FirstKey, byte) => {
                    return Err(invalid(byte, "looking for beginning of object key string"));
                }
                (Next::Colon, b':') => Next::Value,
                (Next::Colon, byte) => return Err(invalid(byte, "after object key")),
                (Next::After, byte) => after(byte, &mut within)?,
            };
        }
    }

    fn value(&mut self, first: u8, within: &mut Vec<Within>) -> Result<Next, String> {
        match first {
            b'{' => {
                within.push(Within::Object);
                return Ok(Next::FirstKey);
            }
            b'[' => {
                within.push(Within::Array);
                return Ok(Next::First);
            }
            b'"' => self.string()?,
            b'-' | b'0'..=b'9' => self.number(first)?,
            b't' => self.literal("true")?,
            b'f' => self.literal("false")?,
            b'n' => self.literal("null")?,
            other => return Err(invalid(other, "looking for beginning of value")),
        }
        Ok(Next::After)
    }

    fn string(&mut self) -> Result<(), String> {
        loop {
            match self.take()? {
                b'"' => return Ok(()),
                b'\\' => match self.take()? {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let digit = self.take()?;
                            if !digit.is_ascii_hexdigit() {
                                return Err(invalid(digit, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    other => return Err(invalid(other, "in string escape code")),
                },
                control @ 0..0x20 => return Err(invalid(control, "in string literal")),
                _ => {}
            }
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), String> {
        for expected in word.bytes().skip(1) {
            let found = self.take()?;
            if found != expected {
                let context = format!("in literal {word} (expecting '{}')", char::from(expected));
                return Err(invalid(found, &context));
            }
        }
        Ok(())
    }

    fn number(&mut self, first: u8) -> Result<(), String> {
        let whole = if first == b'-' { self.digit("in numeric literal")? } else { first };
        if whole != b'0' {
            self.digits();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn digit(&mut self, context: &str) -> Result<u8, String> {
        let found = self.take()?;
        if found.is_ascii_digit() { Ok(found) } else { Err(invalid(found, context)) }
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }
}

fn after(byte: u8, within: &mut Vec<Within>) -> Result<Next, String> {
    match (within.last(), byte) {
        (Some(Within::Object), b',') => return Ok(Next::Key),
        (Some(Within::Array), b',') => return Ok(Next::Value),
        (Some(Within::Object), b'}') | (Some(Within::Array), b']') => {}
        (Some(Within::Object), other) => return Err(invalid(other, "after object key:value pair")),
        (Some(Within::Array), other) => return Err(invalid(other, "after array element")),
        (None, other) => return Err(invalid(other, "after top-level value")),
    }
    within.pop();
    Ok(Next::After)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_in_gos_words() {
        for (text, why) in [
            ("", ENDED),
            (r#"{"a""#, ENDED),
            (r#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (r#"{"a":1 "b":2}"#, "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("{}x", "invalid character 'x' after top-level value"),
            ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
            ("'a'", "invalid character '\\'' looking for beginning of value"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            (r#""\x""#, "invalid character 'x' in string escape code"),
            (r#""\u12G4""#, "invalid character 'G' in \\u hexadecimal character escape"),
            ("tru e", "invalid character ' ' in literal true (expecting 'e')"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1ex", "invalid character 'x' in exponent of numeric literal"),
            ("01", "invalid character '1' after top-level value"),
        ] {
            assert_eq!(error(text.as_bytes()).as_deref(), Some(why), "{text}");
        }
        for text in ["{}", " [1, -2.5e+3, true, null, \"\\u00e9\\n\", {\"a\": {}}] ", "0"] {
            assert_eq!(error(text.as_bytes()), None, "{text}");
        }
    }
}
