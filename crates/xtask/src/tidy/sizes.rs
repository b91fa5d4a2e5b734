//! Files and functions that have grown too long to be read in one go.

use super::{Source, verdict};

/// A file this long fails.
const FILE_LINES: usize = 800;
/// A function longer than this fails.
const FUNCTION_LINES: usize = 70;

pub(crate) fn check(sources: &[Source]) -> anyhow::Result<()> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|s| s.path.ends_with(".rs")) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES {
            found.push(format!("{}: {lines} lines, at most {FILE_LINES}", source.path));
        }
        for (name, line, length) in functions(&source.text) {
            if length > FUNCTION_LINES {
                found.push(format!("{}:{line}: fn {name} has {length} lines, at most {FUNCTION_LINES}", source.path));
            }
        }
    }
    verdict(found)
}

/// Name, first line and length of each function, in text as rustfmt leaves it: the closing brace stands under the first
/// word of the signature.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let close = format!("{}}}", &line[..indent]);
        let one_line = line.ends_with('}') || line.ends_with(';');
        let end = if one_line { Some(at) } else { (at..lines.len()).find(|l| lines[*l] == close) };
        if let Some(end) = end {
            found.push((name, at + 1, end - at + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let mut rest = line.trim_start();
    for word in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async ", "unsafe ", "extern \"C\" "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name: String = rest.strip_prefix("fn ")?.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured() {
        let text = "impl X {\n    pub async fn one(\n        &self,\n    ) -> u8 {\n        1\n    }\n    fn two(&self) {}\n}\nfn three() {\n}\n";
        let found = functions(text);
        let expected = [("one".to_owned(), 2, 5), ("two".to_owned(), 7, 1), ("three".to_owned(), 9, 2)];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_too_long_is_found() {
        let long = format!("fn f() {{\n{}}}\n", "    x();\n".repeat(FUNCTION_LINES));
        let source = |text: String| Source { path: "a.rs".into(), text };
        assert!(check(&[source(long)]).is_err());
        assert!(check(&[source("//\n".repeat(FILE_LINES + 1))]).is_err());
        assert!(check(&[source("//\n".repeat(FILE_LINES))]).is_ok());
    }
}
