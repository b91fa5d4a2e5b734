//! Figures of several runs, printed as a table and as JSON.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

/// All figures of one invocation.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: String,
    figures: Vec<Figure>,
}

/// One thing that was measured, once per run.
#[derive(Serialize)]
struct Figure {
    name: String,
    unit: &'static str,
    p50: f64,
    max: f64,
    min: f64,
    runs: Vec<f64>,
}

impl Report {
    pub(crate) fn new(machine: String) -> Self {
        Self { machine, figures: Vec::new() }
    }

    /// Adds one run's value of the figure `name`.
    pub(crate) fn add(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        let name = name.into();
        eprintln!("  {name}: {} {unit}", short(value));
        let found = self.figures.iter().position(|figure| figure.name == name);
        let at = found.unwrap_or_else(|| {
            self.figures.push(Figure { name, unit, p50: 0.0, max: 0.0, min: 0.0, runs: Vec::new() });
            self.figures.len() - 1
        });
        let figure = &mut self.figures[at];
        figure.runs.push(value);
        let mut sorted = figure.runs.clone();
        sorted.sort_by(f64::total_cmp);
        figure.p50 = sorted[sorted.len() / 2];
        figure.min = sorted[0];
        figure.max = sorted[sorted.len() - 1];
    }

    pub(crate) fn print(&self, json: Option<&Path>) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let width = self.figures.iter().map(|figure| figure.name.len()).max().unwrap_or(4);
        writeln!(out, "{}\n", self.machine)?;
        writeln!(out, "| {:width$} | {:>10} | {:>10} | {:>10} | unit |", "what", "p50", "min", "max")?;
        writeln!(out, "|{:-<1$}|-----------:|-----------:|-----------:|------|", "", width + 2)?;
        for figure in &self.figures {
            let [p50, min, max] = [figure.p50, figure.min, figure.max].map(short);
            writeln!(out, "| {:width$} | {p50:>10} | {min:>10} | {max:>10} | {} |", figure.name, figure.unit)?;
        }
        match json {
            Some(path) if path == Path::new("-") => writeln!(out, "\n{}", serde_json::to_string(self)?)?,
            Some(path) => std::fs::write(path, serde_json::to_vec_pretty(self)?)?,
            None => {}
        }
        Ok(())
    }
}

/// Three significant digits are what such a measurement is worth.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_knows_its_middle_and_its_extremes() {
        let mut report = Report::new(String::new());
        for value in [3.0, 1.0, 9.0, 5.0, 4.0] {
            report.add("x", "ms", value);
        }
        let figure = &report.figures[0];
        assert_eq!((figure.p50, figure.min, figure.max, figure.runs.len()), (4.0, 1.0, 9.0, 5));
    }
}
