//! Words that must not be in the repository: signs of unfinished work, and tests that do not run.

use super::{Source, verdict};

/// Each in two parts, so that this file does not hold it.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("TO", "DO", "finish it or leave it out"),
    ("FIX", "ME", "fix it or leave it out"),
    ("XX", "X", "say what is meant"),
    ("todo", "!(", "finish it or leave it out"),
    ("unimpl", "emented!(", "finish it or leave it out"),
    ("#[ign", "ore", "a test runs or is not there"),
    ("thread::sl", "eep_ms", "deprecated"),
    ("/work", "/main", "a path of one machine"),
];

pub(crate) fn check(sources: &[Source]) -> anyhow::Result<()> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|s| is_ours(&s.path)) {
        for (number, line) in source.text.lines().enumerate() {
            for (first, second, why) in FORBIDDEN {
                let word = [*first, *second].concat();
                if has_word(line, &word) {
                    found.push(format!("{}:{}: {word:?}: {why}", source.path, number + 1));
                }
            }
        }
    }
    verdict(found)
}

fn is_ours(path: &str) -> bool {
    !path.ends_with(".lock") && !path.starts_with("LICENSE") && !path.starts_with("crates/fuzz/corpus/")
}

/// Whether the word stands there by itself, not within a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let before = is_letter(line[..at].chars().next_back());
        let after = word.ends_with(char::is_alphanumeric) && is_letter(line[at + word.len()..].chars().next());
        !before && !after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_count() {
        let word = ["TO", "DO"].concat();
        assert!(has_word(&format!("// {word}: later"), &word));
        assert!(!has_word(&format!("MY{word}"), &word));
        assert!(!has_word(&format!("{word}S"), &word));
    }
}
