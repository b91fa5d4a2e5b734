//! What names may look like, with upstream's messages, and generated names.

use std::borrow::Cow;
use std::cmp::Ordering;

use rand::Rng;

/// Versions as clients prefer them: `v2`, `v1`, `v2beta1`, `v1beta2`, `v1alpha1`; then what has another form, by its letters.
#[must_use]
pub fn version_order(a: &str, b: &str) -> Ordering {
    match (parts(a), parts(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Stability, major version, and what follows `alpha` or `beta`.
fn parts(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| !text.starts_with('0'));
    let major = number(&rest[..digits])?;
    match &rest[digits..] {
        "" => Some((2, major, 0)),
        stage => {
            let (stability, minor) = match stage.strip_prefix("beta") {
                Some(minor) => (1, minor),
                None => (0, stage.strip_prefix("alpha")?),
            };
            Some((stability, major, if minor.is_empty() { 0 } else { number(minor)? }))
        }
    }
}

/// The messages of a check; empty when the value is fine.
pub type Messages = Vec<String>;

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;
const GENERATED_BASE_MAX: usize = 58;
const GENERATED_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

const LABEL_FORM: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_1035_FORM: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED_FORM: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_TEXT: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

fn form(text: &str, pattern: &str, examples: &[&str]) -> String {
    let shown: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{text} (e.g. {}regex used for validation is '{pattern}')", shown.join(" or "))
}

fn too_long(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

/// Alphanumeric at both ends (by `edge`), `inner` between.
fn spans(value: &str, edge: fn(u8) -> bool, inner: fn(u8) -> bool) -> bool {
    let bytes = value.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(a), Some(z)) if edge(*a) && edge(*z))
        && bytes.iter().all(|b| inner(*b))
}

fn lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn is_label(value: &str) -> bool {
    spans(value, lower, |b| lower(b) || b == b'-')
}

fn is_qualified(value: &str) -> bool {
    spans(value, |b| b.is_ascii_alphanumeric(), |b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// RFC 1123 label: namespaces, containers, port names of Services.
#[must_use]
pub fn dns_label(value: &str) -> Messages {
    let mut found = Messages::new();
    if value.len() > LABEL_MAX {
        found.push(too_long(LABEL_MAX));
    }
    if !is_label(value) && found.is_empty() && value.split('.').all(is_label) {
        // A fine subdomain that is no label has dots.
        found.push("must not contain dots".to_owned());
    } else if !is_label(value) {
        let text = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
        found.push(form(text, LABEL_FORM, &["my-name", "123-abc"]));
    }
    found
}

/// RFC 1035 label: Services.
#[must_use]
pub fn dns_1035_label(value: &str) -> Messages {
    let mut found = Messages::new();
    if value.len() > LABEL_MAX {
        found.push(too_long(LABEL_MAX));
    }
    if !is_label(value) || value.as_bytes()[0].is_ascii_digit() {
        let text = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
        found.push(form(text, LABEL_1035_FORM, &["my-name", "abc-123"]));
    }
    found
}

/// RFC 1123 subdomain: most object names.
#[must_use]
pub fn dns_subdomain(value: &str) -> Messages {
    let mut found = Messages::new();
    if value.len() > SUBDOMAIN_MAX {
        found.push(too_long(SUBDOMAIN_MAX));
    }
    if !value.split('.').all(is_label) {
        let text = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
        let pattern = format!("{LABEL_FORM}(\\.{LABEL_FORM})*");
        found.push(form(text, &pattern, &["example.com"]));
    }
    found
}

/// An RFC 1123 subdomain with underscores, as names of services in DNS have them: at the start of a label, or within.
#[must_use]
pub fn dns_subdomain_with_underscores(value: &str) -> Messages {
    const FORM: &str = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    let mut found = Messages::new();
    if value.len() > SUBDOMAIN_MAX {
        found.push(too_long(SUBDOMAIN_MAX));
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_label = |label: &str| {
        let label = label.strip_prefix('_').unwrap_or(label).as_bytes();
        let ends = [label.first(), label.last()];
        ends.iter().all(|end| end.is_some_and(|b| plain(*b))) && label.iter().all(|b| plain(*b) || b"-_".contains(b))
    };
    if !value.split('.').all(is_label) {
        let text = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character";
        found.push(form(text, &format!("{FORM}(\\.{FORM})*"), &["example.com"]));
    }
    found
}

/// What is checked of the beginning of a name (`generateName`), which may end in a dash. As upstream puts a letter in place of the
/// dash and of what stands before it, neither counts.
#[must_use]
pub fn masked(prefix: &str) -> Cow<'_, str> {
    let kept = prefix.strip_suffix('-').and_then(|start| start.get(..start.len().checked_sub(1)?));
    kept.map_or(Cow::Borrowed(prefix), |kept| Cow::Owned(format!("{kept}a")))
}

/// A path segment: names of RBAC objects.
#[must_use]
pub fn path_segment(value: &str) -> Messages {
    if value == "." || value == ".." {
        return vec![format!("may not be '{value}'")];
    }
    ["/", "%"].iter().filter(|c| value.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// A label key, annotation key, finalizer: `[prefix/]name`.
#[must_use]
pub fn qualified_name(value: &str) -> Messages {
    let mut found = Messages::new();
    let examples = ["MyName", "my.name", "123-abc"];
    let mut parts = value.split('/');
    let name = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => name,
        (Some(prefix), Some(name), None) => {
            if prefix.is_empty() {
                found.push("prefix part must be non-empty".to_owned());
            } else {
                found.extend(dns_subdomain(prefix).into_iter().map(|m| format!("prefix part {m}")));
            }
            name
        }
        _ => {
            let text = form(QUALIFIED_TEXT, QUALIFIED_FORM, &examples);
            found.push(format!(
                "a qualified name {text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return found;
        }
    };
    if name.is_empty() {
        found.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        found.push(format!("name part {}", too_long(LABEL_MAX)));
    }
    if !is_qualified(name) {
        found.push(format!("name part {}", form(QUALIFIED_TEXT, QUALIFIED_FORM, &examples)));
    }
    found
}

/// The value of a label.
#[must_use]
pub fn label_value(value: &str) -> Messages {
    let mut found = Messages::new();
    if value.len() > LABEL_MAX {
        found.push(too_long(LABEL_MAX));
    }
    if !value.is_empty() && !is_qualified(value) {
        let text = format!("a valid label must be an empty string or {}", QUALIFIED_TEXT.trim_start_matches("must "));
        found.push(form(&text, &format!("({QUALIFIED_FORM})?"), &["MyValue", "my_value", "12345"]));
    }
    found
}

/// The name of a container's port (IANA service name).
#[must_use]
pub fn port_name(value: &str) -> Messages {
    let mut found = Messages::new();
    if value.len() > 15 {
        found.push(too_long(15));
    }
    if value.is_empty() || !value.bytes().all(|b| lower(b) || b == b'-') {
        found.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !value.bytes().any(|b| b.is_ascii_lowercase()) {
        found.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        found.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        found.push("must not begin or end with a hyphen".to_owned());
    }
    found
}

/// A key of a ConfigMap or Secret.
#[must_use]
pub fn config_key(value: &str) -> Messages {
    let mut found = Messages::new();
    if value.len() > SUBDOMAIN_MAX {
        found.push(too_long(SUBDOMAIN_MAX));
    }
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        let text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        found.push(form(text, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    } else if value == "." || value == ".." {
        found.push(format!("must not be '{value}'"));
    } else if value.starts_with("..") {
        found.push("must not start with '..'".to_owned());
    }
    found
}

/// What is wrong with `value` as the reason of a condition, but for its length.
#[must_use]
pub fn condition_reason(value: &str) -> Messages {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let inner = |b: u8| word(b) || b == b',' || b == b':';
    let fits = match value.as_bytes() {
        [only] => only.is_ascii_alphabetic(),
        [first, middle @ .., last] => first.is_ascii_alphabetic() && middle.iter().all(|b| inner(*b)) && word(*last),
        [] => false,
    };
    if fits {
        return Messages::new();
    }
    let text = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
    let examples = ["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"];
    vec![form(text, "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", &examples)]
}

/// `base` (cut to 58 bytes) and five random letters, as upstream makes names from `generateName`.
pub fn generate_name(base: &str, random: &mut impl Rng) -> String {
    let mut end = base.len().min(GENERATED_BASE_MAX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = base[..end].to_owned();
    name.push_str(&suffix(5, random));
    name
}

/// `length` letters of the alphabet that makes no words.
pub fn suffix(length: usize, random: &mut impl Rng) -> String {
    (0..length).map(|_| char::from(GENERATED_ALPHABET[random.random_range(0..GENERATED_ALPHABET.len())])).collect()
}

/// Words that no identifier of the Common Expression Language may be (cel-spec, "RESERVED").
const EXPRESSION_WORDS: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether expressions keep the word back for themselves.
#[must_use]
pub fn is_expression_word(word: &str) -> bool {
    EXPRESSION_WORDS.contains(&word)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn names() {
        let check = |f: fn(&str) -> Messages, good: &[&str], bad: &[&str]| {
            for value in good {
                assert_eq!(f(value), Messages::new(), "{value}");
            }
            for value in bad {
                assert_ne!(f(value), Messages::new(), "{value}");
            }
        };
        let long = "a".repeat(64);
        check(dns_label, &["a", "my-name", "0a"], &["", "-a", "a-", "A", "a.b", "a_b", &long]);
        check(dns_1035_label, &["a", "a0"], &["", "0a", "A"]);
        check(dns_subdomain, &["a", "a.b", &long], &["", ".", "a..b", "a.B", "-a.b", &"a.".repeat(127)]);
        check(path_segment, &["system:node", "a"], &[".", "..", "a/b", "a%b"]);
        check(qualified_name, &["a", "A_b.c", "a.b/C"], &["", "/a", "a/", "a/b/c", "A.b/c", "-a"]);
        check(label_value, &["", "A_b-1.c"], &["-a", "a b", &long]);
        check(port_name, &["http", "a-1"], &["", "1", "-a", "a--b", "Http", "sixteen-letters-x"]);
        check(config_key, &["a", "..a".trim_start_matches('.'), "A_b.c"], &["", ".", "..", "..a", "a/b"]);
    }

    #[test]
    fn messages_are_upstreams() {
        assert_eq!(
            dns_subdomain("POD-B"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert!(dns_label("A")[0].ends_with(
            "(e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        ));
        assert!(label_value("-")[0].starts_with("a valid label must be an empty string or consist of alphanumeric"));
    }

    #[test]
    fn generated_names_fit() {
        let mut random = rand::rngs::StdRng::seed_from_u64(1);
        let name = generate_name(&"x".repeat(80), &mut random);
        assert_eq!((name.len(), dns_label(&name)), (63, Messages::new()));
        assert_ne!(generate_name("a-", &mut random), generate_name("a-", &mut random));
    }
}
