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
