//! Checks of the repository that no compiler makes.

use std::path::PathBuf;

use crate::sh;

pub(crate) mod layers;
pub(crate) mod ledger;
pub(crate) mod sizes;
pub(crate) mod words;

/// A file that git knows or would know, by its path in the repository.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// All text files of the repository.
pub(crate) fn sources() -> anyhow::Result<Vec<Source>> {
    let listed = sh::output(&mut sh::command("git", &["ls-files", "--cached", "--others", "--exclude-standard"]))?;
    let read = |path: &str| {
        let full: PathBuf = sh::root().join(path);
        // A file that is gone from the working tree but not from the index, or is not text, has nothing to check.
        let text = std::fs::read_to_string(full).ok()?;
        Some(Source { path: path.to_owned(), text })
    };
    Ok(listed.lines().filter_map(read).collect())
}

/// Joins what a check found into one error.
pub(crate) fn verdict(found: Vec<String>) -> anyhow::Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = found.iter().map(|f| format!("  {f}")).collect();
    anyhow::bail!("{} findings:\n{}", found.len(), list.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sources: &[Source], path: &str) -> String {
        sources.iter().find(|s| s.path == path).unwrap_or_else(|| panic!("{path} is missing")).text.clone()
    }

    #[test]
    fn the_workspace_has_what_it_needs() {
        let sources = sources().expect("git lists the files");
        let toolchains: Vec<&str> =
            sources.iter().map(|s| s.path.as_str()).filter(|p| p.contains("rust-toolchain")).collect();
        assert_eq!(toolchains, ["rust-toolchain.toml"]);
        let root = text(&sources, "Cargo.toml");
        let between = |text: &str| text.split('"').nth(1).unwrap_or_default().to_owned();
        let value = |file: &str, key: &str| {
            let found = file.lines().find(|l| l.starts_with(key)).unwrap_or_else(|| panic!("{key} is missing"));
            between(found)
        };
        let channel = value(&text(&sources, "rust-toolchain.toml"), "channel");
        assert!(channel.starts_with(&value(&root, "rust-version")), "{channel}");
        assert_eq!(value(&root, "license"), "Apache-2.0");
        assert!(text(&sources, "LICENSE").contains("Apache License"));
        // What CI runs is what the README names.
        let commands: Vec<String> = text(&sources, ".ci/run")
            .lines()
            .filter(|l| !l.starts_with('#') && !l.starts_with("set ") && !l.starts_with("cd "))
            .map(str::to_owned)
            .collect();
        assert_eq!(commands, ["exec cargo xtask test"]);
        assert!(text(&sources, "README.md").contains("cargo xtask up"));
        assert!(text(&sources, "README.md").contains("cargo xtask test"));
    }

    #[test]
    fn every_crate_takes_the_lints_and_stands_in_the_architecture() {
        let sources = sources().expect("git lists the files");
        let architecture = text(&sources, "docs/architecture.md");
        assert!(architecture.contains("\n## Invariants\n"));
        let crates: Vec<&Source> =
            sources.iter().filter(|s| s.path.starts_with("crates/") && s.path.ends_with("/Cargo.toml")).collect();
        assert!(crates.len() > 10, "{crates:?}");
        for manifest in crates {
            assert!(manifest.text.contains("[lints]\nworkspace = true"), "{}", manifest.path);
            let name = manifest.path.split('/').nth(1).expect("crates/<name>/Cargo.toml");
            assert!(architecture.contains(&format!("`{name}`")), "{name} is not in docs/architecture.md");
        }
    }
}
