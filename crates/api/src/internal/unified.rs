//! Unified diffs by the method of Python's difflib, whose choice of common lines upstream's messages show: the longest run of
//! common lines first, then what is before and behind it. Lines that occur often in a long text do not begin a run.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;

/// Texts of at least so many lines have lines that occur too often to begin a run: those of more than a hundredth, and one.
const LONG_LINES: usize = 200;

/// Lines that are compared for one diff. Texts that say the same again and again would take the square of their length; what
/// is not compared any more counts as changed.
const COMPARED_MAX: usize = 10_000_000;

/// A run of lines that both have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    old: usize,
    new: usize,
    length: usize,
}

/// Lines of the old text and those of the new one in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    same: bool,
    old: Range<usize>,
    new: Range<usize>,
}

struct Texts<'a> {
    old: &'a [&'a str],
    new: &'a [&'a str],
    /// Where the lines of the new text are, but for those that occur too often.
    places: HashMap<&'a str, Vec<usize>>,
    /// Comparisons that are left.
    left: Cell<usize>,
}

/// The hunks that make `old` to `new`, with `context` unchanged lines around each change; nothing where they are the same.
pub(super) fn diff(old: &[&str], new: &[&str], context: usize) -> String {
    let mut text = String::new();
    for hunk in hunks(parts(old, new), context) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { continue };
        let (of_old, of_new) = (first.old.start..last.old.end, first.new.start..last.new.end);
        let _ = writeln!(text, "@@ -{} +{} @@", shown(&of_old), shown(&of_new));
        for part in &hunk {
            let mut lines = |sign: char, lines: &[&str]| {
                for line in lines {
                    let _ = writeln!(text, "{sign}{line}");
                }
            };
            if part.same {
                lines(' ', &old[part.old.clone()]);
            } else {
                lines('-', &old[part.old.clone()]);
                lines('+', &new[part.new.clone()]);
            }
        }
    }
    text
}

/// The range as a hunk's head tells it: its first line counted from 1, and how many unless it is one.
fn shown(range: &Range<usize>) -> String {
    match range.len() {
        1 => format!("{}", range.start + 1),
        // No lines are said to be behind the line before them.
        0 => format!("{},0", range.start),
        length => format!("{},{length}", range.start + 1),
    }
}

impl<'a> Texts<'a> {
    fn of(old: &'a [&'a str], new: &'a [&'a str]) -> Self {
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, line) in new.iter().enumerate() {
            places.entry(line).or_default().push(at);
        }
        if new.len() >= LONG_LINES {
            places.retain(|_, at| at.len() <= new.len() / 100 + 1);
        }
        Self { old, new, places, left: Cell::new(COMPARED_MAX) }
    }

    /// The longest run within the ranges; of several the one that begins first in the old text, then in the new one.
    fn longest(&self, old: &Range<usize>, new: &Range<usize>) -> Run {
        let mut best = Run { old: old.start, new: new.start, length: 0 };
        // How long the run is that ends at a line of the new text and the line of the old one that was looked at last.
        let mut lengths: HashMap<usize, usize> = HashMap::new();
        for at in old.clone() {
            let mut next = HashMap::new();
            let places = self.places.get(self.old[at]).map_or(&[][..], Vec::as_slice);
            self.left.set(self.left.get().saturating_sub(places.len() + 1));
            if self.left.get() == 0 {
                break;
            }
            for place in places.iter().copied().filter(|place| new.contains(place)) {
                let before = place.checked_sub(1).and_then(|before| lengths.get(&before));
                let length = before.copied().unwrap_or(0) + 1;
                next.insert(place, length);
                if length > best.length {
                    best = Run { old: at + 1 - length, new: place + 1 - length, length };
                }
            }
            lengths = next;
        }
        self.widened(best, old, new)
    }

    /// With the lines around it that are the same but occur too often to have been looked at.
    fn widened(&self, mut run: Run, old: &Range<usize>, new: &Range<usize>) -> Run {
        while run.old > old.start && run.new > new.start && self.old[run.old - 1] == self.new[run.new - 1] {
            run = Run { old: run.old - 1, new: run.new - 1, length: run.length + 1 };
        }
        let (mut next_old, mut next_new) = (run.old + run.length, run.new + run.length);
        while next_old < old.end && next_new < new.end && self.old[next_old] == self.new[next_new] {
            (next_old, next_new, run.length) = (next_old + 1, next_new + 1, run.length + 1);
        }
        run
    }

    /// All runs, in order.
    fn runs(&self) -> Vec<Run> {
        let mut found = Vec::new();
        let mut open = vec![(0..self.old.len(), 0..self.new.len())];
        while let Some((old, new)) = open.pop() {
            let run = self.longest(&old, &new);
            if run.length == 0 {
                continue;
            }
            let (old_behind, new_behind) = (run.old + run.length..old.end, run.new + run.length..new.end);
            for (old, new) in [(old.start..run.old, new.start..run.new), (old_behind, new_behind)] {
                if !old.is_empty() && !new.is_empty() {
                    open.push((old, new));
                }
            }
            found.push(run);
        }
        found.sort_unstable_by_key(|run| run.old);
        found
    }
}

/// Both texts from the beginning to the end.
fn parts(old: &[&str], new: &[&str]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let (mut of_old, mut of_new) = (0, 0);
    let end = Run { old: old.len(), new: new.len(), length: 0 };
    for run in Texts::of(old, new).runs().into_iter().chain([end]) {
        if of_old < run.old || of_new < run.new {
            parts.push(Part { same: false, old: of_old..run.old, new: of_new..run.new });
        }
        (of_old, of_new) = (run.old + run.length, run.new + run.length);
        match parts.last_mut() {
            Some(last) if last.same => (last.old.end, last.new.end) = (of_old, of_new),
            _ if run.length > 0 => parts.push(Part { same: true, old: run.old..of_old, new: run.new..of_new }),
            _ => {}
        }
    }
    parts
}

/// The changes that are near each other, with the unchanged lines around them.
fn hunks(parts: Vec<Part>, context: usize) -> Vec<Vec<Part>> {
    let count = parts.len();
    let mut hunks = Vec::new();
    let mut hunk: Vec<Part> = Vec::new();
    for (at, part) in parts.into_iter().enumerate() {
        if !part.same {
            hunk.push(part);
            continue;
        }
        let length = part.old.len();
        let head = |lines: usize| Part {
            same: true,
            old: part.old.start..part.old.start + lines,
            new: part.new.start..part.new.start + lines,
        };
        let tail = |lines: usize| Part {
            same: true,
            old: part.old.end - lines..part.old.end,
            new: part.new.end - lines..part.new.end,
        };
        let (first, last) = (at == 0, at + 1 == count);
        if first {
            hunk.push(tail(length.min(context)));
        } else if last {
            hunk.push(head(length.min(context)));
        } else if length > 2 * context {
            hunk.push(head(context));
            hunks.push(std::mem::take(&mut hunk));
            hunk.push(tail(context));
        } else {
            hunk.push(part);
        }
    }
    if hunk.iter().any(|part| !part.same) {
        hunks.push(hunk);
    }
    hunks
}

#[cfg(test)]
mod tests;
