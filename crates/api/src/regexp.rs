//! Regular expressions as Go reads them (RE2's syntax), run by the `regex` crate: linear in time, bounded in size. Where the two read a pattern
//! differently, the pattern is rewritten: `\d`, `\s`, `\w` and `\b` mean ASCII, `\Q..\E` quotes, `{` that counts nothing and, in brackets, `[`,
//! `&`, `~` mean themselves. What Go refuses is refused in its words.

mod syntax;

use regex::{Regex, RegexBuilder};

/// Bytes that a compiled expression may take.
const BYTES_MAX: usize = 1 << 20;
/// How deep groups and repetitions may nest. Go's bound is higher; nobody's patterns come near either.
const DEPTH_MAX: u32 = 250;

/// Compiles a pattern.
///
/// # Errors
/// Go's message when it is no pattern; that it is too large where this server cannot run it.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    syntax::check(pattern)?;
    let too_large = || format!("error parsing regexp: expression too large: `{pattern}`");
    let rewritten = rewrite(pattern).ok_or_else(too_large)?;
    RegexBuilder::new(&rewritten)
        .octal(true)
        .size_limit(BYTES_MAX)
        .dfa_size_limit(BYTES_MAX)
        .nest_limit(DEPTH_MAX)
        .build()
        .map_err(|_error| too_large())
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
            if let ('p' | 'P', Some(named)) = (escaped, rest.strip_prefix('{')) {
                let end = named.find('}')?;
                let (name, negated) = match named[..end].strip_prefix('^') {
                    Some(name) => (name, escaped == 'p'),
                    None => (&named[..end], escaped == 'P'),
                };
                out.push_str(if negated { "\\P{" } else { "\\p{" });
                out.push_str(name);
                out.push('}');
                rest = &named[end + 1..];
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
            '{' if !bracket && syntax::counts(&pattern[pattern.len() - after.len() - 1..]).is_none() => {
                out.push_str("\\{");
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
        // To the crate these are ends of words.
        '<' | '>' => {
            out.push(escaped);
            return Some(());
        }
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
    fn braces_and_escapes_are_gos() {
        for (pattern, text) in [
            (r"^a{,2}$", "a{,2}"),
            (r"^{$", "{"),
            (r"^\<\>$", "<>"),
            (r"^\101\x{42}\x43$", "ABC"),
            (r"^(?P<a>x)(?<b>y)(?i:Z)$", "xyz"),
            (r"^\p{Greek}\pL[\p{^Greek}]$", "\u{3b1}xy"),
            (r"^a{2}{$", "aa{"),
        ] {
            assert!(compile(pattern).expect(pattern).is_match(text), "{pattern} on {text}");
        }
    }

    #[test]
    fn refusals_are_gos() {
        for (pattern, told) in [
            ("+", "missing argument to repetition operator: `+`"),
            ("a|*?b", "missing argument to repetition operator: `*?`"),
            ("(*a)", "missing argument to repetition operator: `*`"),
            ("(?i)*", "missing argument to repetition operator: `*`"),
            ("a**b", "invalid nested repetition operator: `**`"),
            ("a{2}+?", "invalid nested repetition operator: `{2}+?`"),
            ("(ab", "missing closing ): `(ab`"),
            ("ab)c", "unexpected ): `ab)c`"),
            ("x[a-", "missing closing ]: `[a-`"),
            ("x[]", "missing closing ]: `[]`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("[a-\\x20-]", "invalid character class range: `a-\\x20`"),
            ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
            (r"\p{Foo}x", r"invalid character class range: `\p{Foo}`"),
            (r"\pX", r"invalid character class range: `\pX`"),
            (r"\p{Greek", r"invalid character class range: `\p{Greek`"),
            (r"a\", "trailing backslash at end of expression: ``"),
            (r"\1a", r"invalid escape sequence: `\1`"),
            (r"\u0041", r"invalid escape sequence: `\u`"),
            (r"\Z", r"invalid escape sequence: `\Z`"),
            (r"\C", r"invalid escape sequence: `\C`"),
            (r"\xg1", r"invalid escape sequence: `\xg1`"),
            (r"\x{}", r"invalid escape sequence: `\x{}`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("a(?!b)", "invalid or unsupported Perl syntax: `(?!`"),
            ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
            ("(?<=a)b", "invalid named capture: `(?<=a)b`"),
            ("(?<n a>b)", "invalid named capture: `(?<n a>`"),
            ("(?P<n", "invalid named capture: `(?P<n`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("a{3,2}", "invalid repeat count: `{3,2}`"),
            ("(a{100}){100}?", "invalid repeat count: `{100}?`"),
        ] {
            assert_eq!(compile(pattern).err(), Some(format!("error parsing regexp: {told}")), "{pattern}");
        }
        let deep = "(".repeat(1001) + &")".repeat(1001);
        assert_eq!(compile(&deep).err(), Some(format!("error parsing regexp: expression nests too deeply: `{deep}`")));
        let large = r"(\pL{1000})";
        assert!(compile(large).is_err_and(|why| why.contains("expression too large")));
    }
}
