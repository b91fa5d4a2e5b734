//! docs/ledger.toml: what was promised, and the test that shows it. A row that says `done` must name a test that exists.

use super::{Source, verdict};

const PATH: &str = "docs/ledger.toml";

/// One promise.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    line: usize,
    id: String,
    text: String,
    test: String,
    state: String,
}

pub(crate) fn check(sources: &[Source]) -> anyhow::Result<()> {
    let Some(ledger) = sources.iter().find(|s| s.path == PATH) else { anyhow::bail!("{PATH} is missing") };
    verdict(faults(&rows(&ledger.text)?, sources))
}

/// Reads the part of TOML that the ledger uses: `[[item]]` and `key = "text"`.
fn rows(text: &str) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(n, l)| (n + 1, l.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "[[item]]" {
            rows.push(Row { line: number, ..Row::default() });
            continue;
        }
        let bad = || anyhow::anyhow!("{PATH}:{number}: expected `[[item]]` or `key = \"text\"`, found {line:?}");
        let (key, value) = line.split_once('=').ok_or_else(bad)?;
        let value = value.trim().strip_prefix('"').and_then(|v| v.strip_suffix('"')).ok_or_else(bad)?;
        let row = rows.last_mut().ok_or_else(bad)?;
        match key.trim() {
            "id" => value.clone_into(&mut row.id),
            "text" => value.clone_into(&mut row.text),
            "test" => value.clone_into(&mut row.test),
            "state" => value.clone_into(&mut row.state),
            other => anyhow::bail!("{PATH}:{number}: unknown key {other:?}"),
        }
    }
    Ok(rows)
}

fn faults(rows: &[Row], sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let mut fault = |what: String| found.push(format!("{PATH}:{}: {} {what}", row.line, row.id));
        if row.id.is_empty() || row.text.is_empty() {
            fault("needs an id and a text".to_owned());
        }
        if rows[..at].iter().any(|r| r.id == row.id) {
            fault("is there twice".to_owned());
        }
        match row.state.as_str() {
            "open" | "partly" => {}
            "done" => {
                if let Err(why) = test_exists(&row.test, sources) {
                    fault(why);
                }
            }
            other => fault(format!("has the state {other:?}; known are open, partly, done")),
        }
    }
    found
}

/// A test is named `path/of/file.rs::function`, a check of this tool `xtask check NAME`; several are separated by commas.
fn test_exists(tests: &str, sources: &[Source]) -> Result<(), String> {
    if tests.is_empty() {
        return Err("is done, but names no test".to_owned());
    }
    for test in tests.split(',').map(str::trim) {
        if let Some(name) = test.strip_prefix("xtask check ") {
            if !crate::suite::check_names().contains(&name) {
                return Err(format!("names the check {name:?}, which does not exist"));
            }
            continue;
        }
        let Some((file, function)) = test.split_once("::") else {
            return Err(format!("names the test {test:?}, which is not of the form file.rs::function"));
        };
        let source =
            sources.iter().find(|s| s.path == file).ok_or_else(|| format!("names {file}, which does not exist"))?;
        if !source.text.contains(&format!("fn {function}(")) {
            return Err(format!("names {function}, which is not in {file}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Vec<Source> {
        vec![Source { path: "a/b.rs".into(), text: "#[test]\nfn it_works() {}\n".into() }]
    }

    #[test]
    fn a_done_row_needs_a_test_that_exists() {
        let check = |test: &str, state: &str, expected: usize| {
            let text = format!("[[item]]\nid = \"x\"\ntext = \"y\"\ntest = \"{test}\"\nstate = \"{state}\"\n");
            assert_eq!(faults(&rows(&text).expect("it is a ledger"), &sources()).len(), expected, "{test} {state}");
        };
        check("a/b.rs::it_works", "done", 0);
        check("a/b.rs::it_works, xtask check layers", "done", 0);
        check("a/b.rs::it_fails", "done", 1);
        check("xtask check nothing", "done", 1);
        check("a/c.rs::it_works", "done", 1);
        check("", "done", 1);
        check("", "open", 0);
        check("", "finished", 1);
    }

    #[test]
    fn what_is_no_ledger_is_refused() {
        for bad in ["id = \"x\"", "[[item]]\nid = x", "[[item]]\ncolour = \"x\"", "nonsense"] {
            assert!(rows(bad).is_err(), "{bad}");
        }
    }
}
