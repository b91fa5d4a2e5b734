//! What all rules of a schema may cost together.

use gantry_api::field::{Error, Errors, Path};
use gantry_cel::ESTIMATED_DEFINITION_LIMIT;

/// How many of the dearest rules are named.
const NAMED: usize = 4;

/// The sum, and what contributed most to it.
#[derive(Default)]
pub(super) struct Costs {
    sum: u64,
    dearest: Vec<(Path, u64)>,
}

impl Costs {
    /// Adds an expression. One of less than a hundredth of the limit is never named.
    pub(super) fn add(&mut self, at: &Path, cost: u64) {
        self.sum = self.sum.saturating_add(cost);
        if cost >= ESTIMATED_DEFINITION_LIMIT / 100 {
            self.dearest.push((at.clone(), cost));
            self.dearest.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
            self.dearest.truncate(NAMED);
        }
    }

    /// Refuses a sum that is too large.
    pub(super) fn total(&self, schema: &Path, errors: &mut Errors) {
        if self.sum <= ESTIMATED_DEFINITION_LIMIT {
            return;
        }
        for (at, _) in &self.dearest {
            let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            errors.push(Error::forbidden(at, why));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.push(Error::forbidden(schema, &exceeds(what, self.sum, ESTIMATED_DEFINITION_LIMIT)));
    }
}

/// That a cost is beyond its limit, and how far.
#[allow(clippy::cast_precision_loss, reason = "the factor is shown with a few digits")]
pub(super) fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = match cost as f64 / limit as f64 {
        factor if factor > 100.0 => "more than 100x".to_owned(),
        // One digit could say that it is the limit itself.
        factor if factor < 1.5 => format!("{factor:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}
