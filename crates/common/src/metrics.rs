//! Figures in Prometheus' text form (version 0.0.4), as upstream's components show them: families in the order of their names,
//! labels in the order of theirs, numbers as Go writes them. A family without samples is left out.

mod histogram;
mod process;

use std::collections::BTreeMap;

pub use self::histogram::{Histogram, Snapshot};
pub use self::process::{build_info, process};

/// The media type of the form.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A label and its value.
pub type Label<'a> = (&'a str, &'a str);

/// Puts a page of figures together.
#[derive(Debug, Default)]
pub struct Page(BTreeMap<String, String>);

/// One family of a page, written when it is dropped.
pub struct Family<'p> {
    page: &'p mut Page,
    name: String,
    text: String,
    head_bytes: usize,
}

impl Page {
    /// Begins a family; `kind` is `counter`, `gauge` or `histogram`. `help` begins with the level of stability where the name is
    /// upstream's: `[STABLE] Requests`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) -> Family<'_> {
        let text = format!("# HELP {name} {}\n# TYPE {name} {kind}\n", help.replace('\\', "\\\\").replace('\n', "\\n"));
        Family { page: self, name: name.to_owned(), head_bytes: text.len(), text }
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// The page.
    #[must_use]
    pub fn text(self) -> String {
        self.0.into_values().collect()
    }
}

impl Family<'_> {
    /// Adds a sample.
    pub fn sample(&mut self, labels: &[Label<'_>], value: f64) {
        self.line("", labels, None, value, None);
    }

    /// Adds a sample that was taken at a time, in milliseconds since 1970.
    pub fn sample_at(&mut self, labels: &[Label<'_>], value: f64, milliseconds: Option<i64>) {
        self.line("", labels, None, value, milliseconds);
    }

    /// Adds the samples of a histogram.
    pub fn histogram(&mut self, labels: &[Label<'_>], histogram: &Snapshot) {
        let mut below = 0;
        for (bound, count) in histogram.bounds.iter().copied().chain([f64::INFINITY]).zip(&histogram.counts) {
            below += count;
            self.line("_bucket", labels, Some(&number(bound)), float(below), None);
        }
        self.line("_sum", labels, None, histogram.sum, None);
        self.line("_count", labels, None, float(below), None);
    }

    fn line(&mut self, suffix: &str, labels: &[Label<'_>], le: Option<&str>, value: f64, time: Option<i64>) {
        let mut sorted = labels.to_vec();
        sorted.sort_unstable();
        self.text.push_str(&self.name);
        self.text.push_str(suffix);
        let all = sorted.into_iter().chain(le.map(|bound| ("le", bound)));
        for (at, (name, value)) in all.enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            self.text.push_str(&format!("{}{name}=\"{value}\"", if at == 0 { '{' } else { ',' }));
        }
        if !labels.is_empty() || le.is_some() {
            self.text.push('}');
        }
        self.text.push(' ');
        self.text.push_str(&number(value));
        if let Some(time) = time {
            self.text.push_str(&format!(" {time}"));
        }
        self.text.push('\n');
    }
}

impl Drop for Family<'_> {
    fn drop(&mut self) {
        if self.text.len() > self.head_bytes {
            self.page.0.insert(std::mem::take(&mut self.name), std::mem::take(&mut self.text));
        }
    }
}

/// A number as Go's `strconv.FormatFloat(value, 'g', -1, 64)` writes it: clients compare bounds as text.
#[must_use]
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((digits, power)) = scientific.split_once('e') else { return scientific };
    let power: i32 = power.parse().unwrap_or_default();
    if (-4..6).contains(&power) {
        return value.to_string();
    }
    format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
}

/// A count as the form's numbers are.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "the form's numbers are floats")]
pub fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn numbers_are_written_as_in_go() {
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.005, "0.005"),
            (1.25, "1.25"),
            (100_000.0, "100000"),
            (999_999.0, "999999"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1e9, "1e+09"),
            (0.0001, "0.0001"),
            (5e-7, "5e-07"),
            (-2.5, "-2.5"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn families_and_labels_are_in_order_and_cannot_break_out() {
        static BOUNDS: [f64; 2] = [0.5, 1.0];
        let mut page = Page::default();
        page.single("b_total", "counter", "[ALPHA] Second.", 2.0);
        drop(page.family("nothing", "gauge", "Has no samples."));
        page.family("a", "gauge", "First.").sample_at(&[("z", "1"), ("l", "a\"b\\c\nd")], 0.5, Some(7));
        let histogram = Histogram::seconds(&BOUNDS);
        [250, 750, 2000].into_iter().map(Duration::from_millis).for_each(|took| histogram.observe(took));
        page.family("c", "histogram", "Third.").histogram(&[("x", "y")], &histogram.snapshot());
        let expected = "# HELP a First.\n# TYPE a gauge\na{l=\"a\\\"b\\\\c\\nd\",z=\"1\"} 0.5 7\n\
                        # HELP b_total [ALPHA] Second.\n# TYPE b_total counter\nb_total 2\n\
                        # HELP c Third.\n# TYPE c histogram\nc_bucket{x=\"y\",le=\"0.5\"} 1\nc_bucket{x=\"y\",le=\"1\"} 2\n\
                        c_bucket{x=\"y\",le=\"+Inf\"} 3\nc_sum{x=\"y\"} 3\nc_count{x=\"y\"} 3\n";
        assert_eq!(page.text(), expected);
    }
}
