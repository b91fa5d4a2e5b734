//! Conflicts of an apply: paths that others own and that it would change.

use super::element;
use super::owners::Owner;
use super::set::Set;
use crate::brief;
use crate::status::Status;

/// Conflicts that are told one by one: there can be as many as an object has fields, and the path of each repeats its parents'.
const TOLD_MAX: usize = 1_000;

/// What one owner would lose.
#[derive(Debug)]
pub(super) struct Conflict {
    owner: String,
    paths: Set,
}

/// The conflicts found so far.
#[derive(Debug, Default)]
pub(super) struct Conflicts(Vec<Conflict>);

impl Conflicts {
    /// Adds what `owner` has of what changes.
    pub(super) fn find(&mut self, owner: &Owner, changed: &Set) {
        let paths = owner.paths.common(changed);
        if !paths.is_empty() {
            self.0.push(Conflict { owner: owner.shown(), paths });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets conflicts about paths that may be taken over.
    pub(super) fn excuse(&mut self, allowed: &Set) {
        for conflict in &mut self.0 {
            conflict.paths.subtract(allowed);
        }
        self.0.retain(|conflict| !conflict.paths.is_empty());
    }

    /// The 409 that lists them, or the first [`TOLD_MAX`] of very many.
    pub(super) fn status(mut self) -> Status {
        self.0.sort_by(|a, b| a.owner.cmp(&b.owner));
        let count: usize = self.0.iter().map(|conflict| conflict.paths.count()).sum();
        let mut told: Vec<(&str, String)> = Vec::new();
        for conflict in &self.0 {
            conflict.paths.each_path(&mut |path| {
                if told.len() < TOLD_MAX {
                    told.push((&conflict.owner, shown(path)));
                }
                told.len() < TOLD_MAX
            });
        }
        let message = match told.as_slice() {
            [(owner, path)] => format!("Apply failed with 1 conflict: conflict with {owner}: {path}"),
            told => format!("Apply failed with {count} conflicts: {}", lines(told, count).join("\n")),
        };
        told.iter().fold(Status::failure(409, "Conflict", message), |status, (owner, path)| {
            status.with_cause("FieldManagerConflict", &format!("conflict with {owner}"), path)
        })
    }
}

fn shown(path: &[&str]) -> String {
    let mut shown = brief::Path::default();
    path.iter().for_each(|element| shown.push(&element::shown(element)));
    shown.text()
}

/// What was told of `count` conflicts, under the name of each owner.
fn lines(told: &[(&str, String)], count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for of_owner in told.chunk_by(|(a, _), (b, _)| std::ptr::eq(*a, *b)) {
        lines.push(format!("conflicts with {}:", of_owner[0].0));
        lines.extend(of_owner.iter().map(|(_, path)| format!("- {path}")));
    }
    if told.len() < count {
        lines.push(format!("and {} more", count - told.len()));
    }
    lines
}
