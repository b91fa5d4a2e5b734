//! What can go wrong, in cel-go's words.

use std::borrow::Cow;
use std::fmt;

/// Why a source is no program: one or more mistakes with their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    issues: Vec<Issue>,
    source: String,
    /// Why there is no program, where the source itself is right.
    unplanned: Option<String>,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Line, from 1.
    pub line: usize,
    /// Column in code points, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// So many mistakes are reported, the rest is counted.
const MAX_ISSUES: usize = 100;

impl CompileError {
    /// From messages with byte offsets; `None` is nowhere.
    pub(crate) fn new(source: &str, mut found: Vec<(Option<u32>, String)>) -> Self {
        found.sort_by_key(|(at, _)| *at);
        let more = found.len().saturating_sub(MAX_ISSUES);
        found.truncate(MAX_ISSUES);
        let mut issues: Vec<Issue> = found.into_iter().map(|(at, message)| issue(source, at, message)).collect();
        if more > 0 {
            issues.push(Issue { line: 0, column: 0, message: format!("{more} more errors were truncated") });
        }
        // A source that is too long is not shown.
        let source =
            if source.len() > crate::limits::MAX_SOURCE_CODE_POINTS { String::new() } else { source.to_owned() };
        Self { issues, source, unplanned: None }
    }

    /// The source is right, but no program can be made of it.
    pub(crate) fn unplanned(why: String) -> Self {
        Self { issues: Vec::new(), source: String::new(), unplanned: Some(why) }
    }

    /// What failed, as Kubernetes calls it: the `compilation`, or the `instantiation` of the program.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        if self.unplanned.is_some() { "instantiation" } else { "compilation" }
    }

    /// The mistakes, in the order of the source.
    #[must_use]
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }
}

fn issue(source: &str, at: Option<u32>, message: String) -> Issue {
    let Some(before) = at.and_then(|at| source.get(..at as usize)) else {
        return Issue { line: 0, column: 0, message };
    };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Issue { line, column, message }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.unplanned {
            return f.write_str(why);
        }
        for (number, issue) in self.issues.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            if issue.line == 0 {
                write!(f, "ERROR: <input>:-1:0: {}", issue.message)?;
                continue;
            }
            write!(f, "ERROR: <input>:{}:{}: {}", issue.line, issue.column, issue.message)?;
            let Some(line) = self.source.split('\n').nth(issue.line - 1) else { continue };
            write!(f, "\n | {}\n | ", line.replace('\t', " "))?;
            for c in line.chars().take(issue.column - 1) {
                // A wide dot under a wide character keeps the mark in its place.
                f.write_str(if c.len_utf8() > 1 { "\u{ff0e}" } else { "." })?;
            }
            let wide = line.chars().nth(issue.column - 1).is_some_and(|c| c.len_utf8() > 1);
            f.write_str(if wide { "\u{ff3e}" } else { "^" })?;
        }
        Ok(())
    }
}

impl std::error::Error for CompileError {}

/// Why an evaluation gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A function or operator was applied to values of other types.
    #[error("no such overload")]
    NoSuchOverload,
    /// An error within the language (`no such key: x`); `&&`, `||` and `all` may absorb it.
    #[error("{0}")]
    Failed(Cow<'static, str>),
    /// The evaluation did more than one may; nothing absorbs this.
    #[error("operation cancelled: actual cost limit exceeded")]
    OverBudget(Scope),
}

/// Which limit an evaluation has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// That of one expression.
    Call,
    /// That of all expressions which share the budget.
    Set,
}

impl EvalError {
    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Failed(message.into())
    }
}
