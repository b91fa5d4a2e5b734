//! "Did you mean": the known name nearest to an unknown one.

use crate::table::{FieldType, Type, TypeTable};

/// The field that was meant by an unknown one: `suggest("apps/v1.Deployment", "unknown field \"spec.relicas\"")` is `replicas`.
///
/// Takes the messages of [`super::conform`], or a bare path.
#[must_use]
pub fn suggest(type_name: &str, unknown: &str) -> Option<&'static str> {
    let path = unknown.split('"').nth(1).unwrap_or(unknown);
    let (parents, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut ty = TypeTable::builtin().ty(type_name)?;
    for segment in parents.split('.').filter(|s| !s.is_empty()) {
        let field = ty.fields.get(segment.split('[').next()?)?;
        ty = held(&field.ty)?;
    }
    nearest(name, ty.fields.keys().copied())
}

/// The struct in a field, its list or its map.
fn held(ty: &'static FieldType) -> Option<&'static Type> {
    match ty {
        FieldType::Struct(id) => Some(TypeTable::builtin().get(id)),
        FieldType::List(item) | FieldType::Map(item) => held(item),
        FieldType::Merged(field) => held(&field.ty),
        _ => None,
    }
}

/// The candidate with the smallest edit distance to `name`, if it is near enough to be what was meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    let scored = candidates.into_iter().map(|c| (distance(&name.to_ascii_lowercase(), &c.to_ascii_lowercase()), c));
    scored.filter(|(d, _)| *d <= limit).min_by_key(|(d, _)| *d).map(|(_, c)| c)
}

/// Edit distance with neighbours swapped counted once (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + changed);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}
