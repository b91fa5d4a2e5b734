//! The node's table of processes, and which of them belong to a command; pure but for the reading.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::RangeInclusive,
};

use serde::{Deserialize, Serialize};

/// A process beyond doubt: its number may be given to another one, but not with the same time of start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Its number, as the node sees it.
    pub(crate) pid: i32,
    /// When it started, in ticks since the machine did.
    pub(crate) started: u64,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) parent: i32,
    pub(super) session: i32,
    pub(super) started: u64,
    /// It has ended, and waits for its parent to ask how.
    pub(super) ended: bool,
}

/// Reads one line: `pid (name) state parent group session …`; the name may contain anything.
fn parse(text: &str) -> Option<Entry> {
    const STARTED: usize = 19;
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<i32>().ok());
    Some(Entry {
        parent: number(1)?,
        session: number(3)?,
        started: fields.get(STARTED)?.parse().ok()?,
        ended: matches!(*fields.first()?, "Z" | "X"),
    })
}

pub(super) fn entry(pid: i32) -> Option<Entry> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Every process.
pub(super) fn read() -> BTreeMap<i32, Entry> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|name| name.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, entry(pid)?))).collect()
}

/// The processes that belong to a command: itself, those of its session, and everything that they started. `known` are
/// those that were found before: their own children count though their parent is gone meanwhile. A session whose leader
/// has ended could be another one's under the same number, so that `ours` has the word on its members.
pub(super) fn belonging(
    table: &BTreeMap<i32, Entry>,
    leader: Identity,
    known: &BTreeSet<Identity>,
    ours: impl Fn(i32) -> bool,
) -> BTreeSet<Identity> {
    let is = |id: &Identity| table.get(&id.pid).is_some_and(|entry| entry.started == id.started);
    let mut found: BTreeSet<i32> = known.iter().filter(|id| is(id)).map(|id| id.pid).collect();
    let (alive, reused) = (is(&leader), table.contains_key(&leader.pid) && !is(&leader));
    if alive {
        found.insert(leader.pid);
    }
    let members = table.iter().filter(|(_, entry)| entry.session == leader.pid && !reused);
    found.extend(members.map(|(pid, _)| *pid).filter(|pid| alive || ours(*pid)));
    loop {
        let children = table.iter().filter(|(pid, entry)| found.contains(&entry.parent) && !found.contains(pid));
        let children: Vec<i32> = children.map(|(pid, _)| *pid).collect();
        if children.is_empty() {
            break;
        }
        found.extend(children);
    }
    let living = found.into_iter().filter_map(|pid| Some((pid, table.get(&pid).filter(|entry| !entry.ended)?)));
    living.map(|(pid, entry)| Identity { pid, started: entry.started }).collect()
}

/// The processes in a container that were begun from outside it within a time, each as the head of a session: commands.
/// What the container itself has begun is not among them.
pub(super) fn entered(
    table: &BTreeMap<i32, Entry>,
    within: RangeInclusive<u64>,
    inside: impl Fn(i32) -> bool,
) -> BTreeSet<Identity> {
    let heads = table.iter().filter(|(pid, entry)| entry.session == **pid && within.contains(&entry.started));
    let entered = heads.filter(|(pid, entry)| !entry.ended && inside(**pid) && !inside(entry.parent));
    entered.map(|(pid, entry)| Identity { pid: *pid, started: entry.started }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_from_outside() {
        let entry = |parent, session, started| Entry { parent, session, started, ended: false };
        let table = BTreeMap::from([
            (5, entry(1, 5, 10)),
            (10, entry(5, 10, 20)),
            (11, entry(10, 10, 50)),
            (12, entry(10, 12, 50)),
            (20, entry(5, 20, 50)),
            (21, entry(20, 20, 50)),
            (30, entry(5, 30, 70)),
            (40, entry(5, 40, 50)),
        ]);
        // 5 looks after the container of 10; 40 is in another one.
        let inside = |pid: i32| ![1, 5, 40].contains(&pid);
        assert_eq!(entered(&table, 40..=60, inside), BTreeSet::from([Identity { pid: 20, started: 50 }]));
    }

    #[test]
    fn a_line_is_read_whatever_the_name() {
        let tail = "7 7 4 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1";
        let check = |text: String, expected: Option<Entry>| assert_eq!(parse(&text), expected, "{text}");
        let entry = |ended| Entry { parent: 7, session: 4, started: 4711, ended };
        check(format!("9 (sh) S {tail}"), Some(entry(false)));
        check(format!("9 (a) b) (c) S {tail}"), Some(entry(false)));
        check(format!("9 (sh) Z {tail}"), Some(entry(true)));
        check("9 (sh) S 7".to_owned(), None);
        check(String::new(), None);
    }

    /// `pid parent session started`
    fn table(rows: &[(i32, i32, i32, u64)]) -> BTreeMap<i32, Entry> {
        let entry = |(pid, parent, session, started): &(i32, i32, i32, u64)| {
            (*pid, Entry { parent: *parent, session: *session, started: *started, ended: *started == 99 })
        };
        rows.iter().map(entry).collect()
    }

    #[test]
    fn a_command_is_its_session_and_all_descendants() {
        let leader = Identity { pid: 10, started: 5 };
        let known = BTreeSet::from([Identity { pid: 30, started: 7 }]);
        let check = |rows: &[(i32, i32, i32, u64)], known: &BTreeSet<Identity>, ours: bool, expected: &[i32]| {
            let found = belonging(&table(rows), leader, known, |_| ours);
            assert_eq!(found.iter().map(|id| id.pid).collect::<Vec<_>>(), expected, "{rows:?}");
        };
        let none = BTreeSet::new();
        // A child, a grandchild in a session of its own, a member of the session whose parent has gone, a stranger.
        let rows = [(10, 2, 10, 5), (11, 10, 10, 6), (12, 11, 12, 6), (13, 1, 10, 6), (20, 1, 20, 1)];
        check(&rows, &none, false, &[10, 11, 12, 13]);
        // The leader has ended: its session is ours where somebody vouches for the members.
        check(&rows[1..], &none, true, &[11, 12, 13]);
        check(&rows[1..], &none, false, &[]);
        // Its number is another one's now.
        check(&[(10, 2, 10, 6), (11, 10, 10, 7)], &none, true, &[]);
        // Known ones count with their children, but not under a number that was given away.
        check(&[(30, 1, 30, 7), (31, 30, 30, 8)], &known, false, &[30, 31]);
        check(&[(30, 1, 30, 8), (31, 30, 30, 8)], &known, false, &[]);
        // What has ended needs no end.
        check(&[(10, 2, 10, 5), (11, 10, 10, 99)], &none, false, &[10]);
    }
}
