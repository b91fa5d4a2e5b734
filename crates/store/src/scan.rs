//! Walks JSON text without decoding it: finds members and their byte positions.
//!
//! Meant for text that is known to be valid JSON; on anything else it ends early and never panics.

use std::ops::Range;

use memchr::memchr2;

/// Bytes that open or close something.
static NESTING: [bool; 256] = {
    let mut nesting = [false; 256];
    let bytes = b"\"{}[]";
    let mut at = 0;
    while at < bytes.len() {
        nesting[bytes[at] as usize] = true;
        at += 1;
    }
    nesting
};

/// One member of an object, as byte positions in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// The key without its quotes, escapes not resolved.
    pub(crate) key: Range<usize>,
    /// The value, quotes and brackets included.
    pub(crate) value: Range<usize>,
}

/// The members of the object that opens at a given position, in order.
pub(crate) struct Members<'a> {
    json: &'a [u8],
    at: usize,
}

/// The members of the object whose `{` is at `at` (white space before it is skipped).
pub(crate) fn members(json: &[u8], at: usize) -> Members<'_> {
    let at = skip_space(json, at);
    let at = if json.get(at) == Some(&b'{') { at + 1 } else { json.len() };
    Members { json, at }
}

impl Members<'_> {
    /// The next member's name, and where its value starts.
    fn name(&self) -> Option<(Range<usize>, usize)> {
        let mut at = skip_space(self.json, self.at);
        if self.json.get(at) == Some(&b',') {
            at = skip_space(self.json, at + 1);
        }
        if self.json.get(at) != Some(&b'"') {
            return None;
        }
        let key_end = skip_string(self.json, at);
        let key = at + 1..key_end - 1;
        let colon = skip_space(self.json, key_end);
        let start = skip_space(self.json, colon + 1);
        (key.start <= key.end).then_some((key, start))
    }

    /// Where the value of the next member of this name starts. Nothing of it is looked at.
    pub(crate) fn start_of(mut self, name: &str) -> Option<usize> {
        loop {
            let (key, start) = self.name()?;
            if self.json.get(key)? == name.as_bytes() {
                return Some(start);
            }
            self.at = skip_value(self.json, start);
            if self.at <= start {
                return None;
            }
        }
    }
}

impl Iterator for Members<'_> {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        let (key, start) = self.name()?;
        let end = skip_value(self.json, start);
        if end <= start {
            return None;
        }
        self.at = end;
        Some(Member { key, value: start..end })
    }
}

/// The value that starts at `at`.
pub(crate) fn value_at(json: &[u8], at: usize) -> Option<&[u8]> {
    json.get(at..skip_value(json, at))
}

/// The members of an object that come after the value which ends at `at`.
pub(crate) fn members_after(json: &[u8], at: usize) -> Members<'_> {
    Members { json, at }
}

fn skip_space(json: &[u8], mut at: usize) -> usize {
    while matches!(json.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// Most strings of an object end within so many words: names, and the values of what is no text. To begin a search that is made
/// for long texts costs more than to look at a few words.
const SHORT_WORDS: usize = 4;

/// The first quote or backslash among eight bytes, of which the lowest comes first (Mycroft's test for a zero byte; what it
/// finds above the first is not to be believed).
fn end_in(word: u64) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let found = zero_byte(word ^ (ONES * b'"' as u64)) | zero_byte(word ^ (ONES * b'\\' as u64));
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// The position after the string whose opening quote is at `at`.
fn skip_string(json: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    for _ in 0..SHORT_WORDS {
        let Some(word) = json.get(at..).and_then(|rest| rest.first_chunk()) else { break };
        match end_in(u64::from_le_bytes(*word)) {
            Some(end) if json[at + end] == b'"' => return at + end + 1,
            Some(escape) => {
                at += escape;
                break;
            }
            None => at += word.len(),
        }
    }
    while let Some(found) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    json.len()
}

/// The position after the value that starts at `at`.
fn skip_value(json: &[u8], at: usize) -> usize {
    match json.get(at) {
        Some(b'"') => skip_string(json, at),
        Some(b'{' | b'[') => skip_nested(json, at),
        _ => {
            let rest = json.get(at..).unwrap_or_default();
            let length = rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
            at + length.unwrap_or(rest.len())
        }
    }
}

fn skip_nested(json: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(found) = json.get(at..).and_then(|rest| rest.iter().position(|byte| NESTING[usize::from(*byte)])) {
        at += found;
        match json[at] {
            b'"' => {
                at = skip_string(json, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            _ => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
        }
        at += 1;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, path: &[&str], expected: Option<&str>) {
        let found = path.iter().try_fold(0, |start, step| members(json.as_bytes(), start).start_of(step));
        let found = found.and_then(|start| value_at(json.as_bytes(), start));
        let found = found.map(|value| std::str::from_utf8(value).unwrap());
        assert_eq!(found, expected, "{json} at {path:?}");
    }

    #[test]
    fn finds_values() {
        let json = r#"{"a":1,"b":{"c":"x\"}","d":[{"e":2},3]},"f":true , "g" : null}"#;
        check(json, &["a"], Some("1"));
        check(json, &["b", "c"], Some(r#""x\"}""#));
        check(json, &["b", "d"], Some(r#"[{"e":2},3]"#));
        check(json, &["f"], Some("true"));
        check(json, &["g"], Some("null"));
        check(json, &["h"], None);
        check(json, &["a", "b"], None);
        check("{}", &["a"], None);
    }

    #[test]
    fn strings_of_every_length_end_where_they_end() {
        for length in 0..80 {
            for (ends, text) in [("", "a"), ("\\\\", "\u{e9}"), ("\\\"", "\u{80}x"), ("\\\\\\\"b", "#[")] {
                let string = format!("\"{}{ends}\"", text.repeat(length));
                for behind in ["", ",", ",\"next\"", "                                  \""] {
                    let json = format!("{string}{behind}");
                    assert_eq!(skip_string(json.as_bytes(), 0), string.len(), "{json}");
                }
            }
        }
    }

    #[test]
    fn survives_what_is_not_json() {
        for json in
            ["", "{", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":\"", "{\"a\":{", "[1]", "null", "{\"a\\", "{:1}"]
        {
            assert_eq!(members(json.as_bytes(), 0).filter(|member| member.key.is_empty()).count(), 0, "{json}");
        }
    }
}
