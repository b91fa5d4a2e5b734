//! Conflicts of an apply: paths that others own and that it would change.

use super::element;
use super::owners::Owner;
use super::set::Set;
use crate::status::Status;

/// One owner and the paths in question.
#[derive(Debug)]
pub(super) struct Conflict {
    /// As upstream names the owner.
    owner: String,
    paths: Vec<Vec<String>>,
}

/// All conflicts of one apply.
#[derive(Debug, Default)]
pub(super) struct Conflicts(Vec<Conflict>);

impl Conflicts {
    /// The paths of `owner` that `changed` changes.
    pub(super) fn find(&mut self, owner: &Owner, changed: &Set) {
        let paths = owner.paths.common(changed).paths();
        if !paths.is_empty() {
            self.0.push(Conflict { owner: owner.shown(), paths });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leaves out the paths that are in `allowed`.
    pub(super) fn excuse(&mut self, allowed: &Set) {
        for conflict in &mut self.0 {
            conflict.paths.retain(|path| !allowed.has(path));
        }
        self.0.retain(|conflict| !conflict.paths.is_empty());
    }

    /// 409 with a cause for each path.
    pub(super) fn status(mut self) -> Status {
        self.0.sort_by(|a, b| a.owner.cmp(&b.owner));
        let shown = |path: &[String]| path.iter().map(|e| element::shown(e)).collect::<String>();
        let all: Vec<(&str, String)> =
            self.0.iter().flat_map(|c| c.paths.iter().map(|p| (c.owner.as_str(), shown(p)))).collect();
        let message = if let [(owner, path)] = all.as_slice() {
            format!("Apply failed with 1 conflict: conflict with {owner}: {path}")
        } else {
            let mut lines = Vec::new();
            for conflict in &self.0 {
                lines.push(format!("conflicts with {}:", conflict.owner));
                lines.extend(conflict.paths.iter().map(|p| format!("- {}", shown(p))));
            }
            format!("Apply failed with {} conflicts: {}", all.len(), lines.join("\n"))
        };
        all.iter().fold(Status::failure(409, "Conflict", message), |status, (owner, path)| {
            status.with_cause("FieldManagerConflict", &format!("conflict with {owner}"), path)
        })
    }
}
