//! Portions of a total, as workloads and budgets state them.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A number, or a percentage of `total`, rounded up or down.
#[must_use]
pub fn scaled(value: Option<&IntOrString>, total: i32, up: bool) -> i32 {
    let text = match value {
        None => return 0,
        Some(IntOrString::Int(n)) => return (*n).max(0),
        Some(IntOrString::String(text)) => text,
    };
    let Some(percent) = text.strip_suffix('%').and_then(|p| p.parse::<i64>().ok()) else { return 0 };
    let product = percent.max(0) * i64::from(total);
    let rounded = if up { (product + 99) / 100 } else { product / 100 };
    i32::try_from(rounded).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_are_numbers_or_percentages() {
        let check = |value: IntOrString, total, up, expected| assert_eq!(scaled(Some(&value), total, up), expected);
        check(IntOrString::Int(3), 10, true, 3);
        check(IntOrString::String("25%".to_owned()), 10, true, 3);
        check(IntOrString::String("25%".to_owned()), 10, false, 2);
        check(IntOrString::String("100%".to_owned()), i32::MAX, true, i32::MAX);
        assert_eq!(scaled(None, 10, true), 0);
    }
}
