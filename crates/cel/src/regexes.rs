//! Regular expressions in RE2's syntax, run by the `regex` crate: linear in time, bounded in size. Where the two read a pattern differently, the
//! pattern is rewritten: `\d`, `\s`, `\w` and `\b` mean ASCII, `\Q..\E` quotes, and in brackets `[`, `&`, `~` mean themselves.

use regex::{Regex, RegexBuilder};

use crate::limits::MAX_REGEX_BYTES;

/// Compiles a pattern.
///
/// # Errors
/// A message when it is no pattern, or too large.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let rewritten = rewrite(pattern).ok_or_else(|| message(pattern))?;
    RegexBuilder::new(&rewritten)
        .size_limit(MAX_REGEX_BYTES)
        .dfa_size_limit(MAX_REGEX_BYTES)
        .nest_limit(100)
        .build()
        .map_err(|_| message(pattern))
}

fn message(pattern: &str) -> String {
    format!("error parsing regexp: `{pattern}` is no valid or allowed expression")
}

fn rewrite(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let mut bracket = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        if c == '\\' {
            let escaped = after.chars().next()?;
            rest = &after[escaped.len_utf8()..];
            if escaped == 'Q' && !bracket {
                let end = rest.find("\\E").unwrap_or(rest.len());
                out.push_str(&regex::escape(&rest[..end]));
                rest = rest[end..].strip_prefix("\\E").unwrap_or("");
                continue;
            }
            escape(&mut out, escaped, bracket)?;
            continue;
        }
        rest = after;
        match c {
            '[' if !bracket => {
                bracket = true;
                out.push('[');
                if let Some(negated) = rest.strip_prefix('^') {
                    out.push('^');
                    rest = negated;
                }
                // A bracket that closes at once is meant as itself.
                if let Some(literal) = rest.strip_prefix(']') {
                    out.push_str("\\]");
                    rest = literal;
                }
            }
            '[' if rest.starts_with(':') && rest.contains(":]") => {
                let end = rest.find(":]")? + 2;
                out.push('[');
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            '[' | '&' | '~' if bracket => {
                out.push('\\');
                out.push(c);
            }
            ']' => {
                bracket = false;
                out.push(']');
            }
            other => out.push(other),
        }
    }
    Some(out)
}

/// An escape in the meaning that RE2 gives it; `None` for those that it does not know.
fn escape(out: &mut String, escaped: char, bracket: bool) -> Option<()> {
    let class = match escaped {
        'd' => "0-9",
        'w' => "0-9A-Za-z_",
        's' => "\\t\\n\\f\\r ",
        'D' => "^0-9",
        'W' => "^0-9A-Za-z_",
        'S' => "^\\t\\n\\f\\r ",
        'b' if !bracket => {
            out.push_str("(?-u:\\b)");
            return Some(());
        }
        'C' | '<' | '>' | 'u' | 'U' => return None,
        other => {
            out.push('\\');
            out.push(other);
            return Some(());
        }
    };
    if bracket && !class.starts_with('^') {
        out.push_str(class);
    } else {
        out.push('[');
        out.push_str(class);
        out.push(']');
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_re2_says() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(compile(pattern).expect(pattern).is_match(text), expected, "{pattern} on {text}");
        };
        check(r"^\d+$", "123", true);
        check(r"^\d$", "\u{663}", false);
        check(r"^[\d.]+$", "1.2", true);
        check(r"^[\D]$", "x", true);
        check(r"^[^\d]$", "5", false);
        check(r"^\w+$", "\u{e4}", false);
        check(r"^\Qa.b\E$", "a.b", true);
        check(r"^\Qa.b\E$", "axb", false);
        check(r"^[[a&&b~~]+$", "[&~", true);
        check(r"^[]a]+$", "]a", true);
        check(r"^[[:alpha:]]+$", "abc", true);
        check(r"\bfoo\b", "a foo b", true);
        check(r"^[a-z]([-a-z0-9]*[a-z0-9])?$", "my-name", true);
    }

    #[test]
    fn what_is_no_pattern_or_too_large_is_refused() {
        for pattern in ["(", "a**b(", r"\C", r"(?=a)", r"\1", "(a{1000}){1000}", &"(".repeat(500)] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }
}
