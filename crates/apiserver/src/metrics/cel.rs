//! Figures of the rules of custom kinds, with upstream's names. The compiled rules are the process's, and so are their figures.

use std::sync::LazyLock;
use std::time::Duration;

use gantry_common::metrics::{Histogram, Page};

/// Upper bounds of Prometheus' buckets by default, in seconds.
static SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

static COMPILED: LazyLock<Histogram> = LazyLock::new(|| Histogram::seconds(&SECONDS));
static EVALUATED: LazyLock<Histogram> = LazyLock::new(|| Histogram::seconds(&SECONDS));

/// The rules of a schema were compiled.
pub(crate) fn compiled(took: Duration) {
    COMPILED.observe(took);
}

/// The rules of a schema were asked about an object.
pub(crate) fn evaluated(took: Duration) {
    EVALUATED.observe(took);
}

pub(super) fn render(page: &mut Page) {
    for (name, help, histogram) in [
        ("apiserver_cel_compilation_duration_seconds", "[BETA] How long rules took to compile, in seconds.", &COMPILED),
        (
            "apiserver_cel_evaluation_duration_seconds",
            "[BETA] How long rules took to be checked, in seconds.",
            &EVALUATED,
        ),
    ] {
        page.family(name, "histogram", help).histogram(&[], &histogram.snapshot());
    }
}
