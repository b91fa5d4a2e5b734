//! Static tokens from a CSV file: `token,user,uid,"group1,group2"`.

use super::User;

/// Why the file was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error("line {line} has {columns} columns, but at least 3 are needed: token,user,uid[,\"group1,group2\"]")]
    Columns { line: usize, columns: usize },
    #[error("line {line} has an empty {column}")]
    Empty { line: usize, column: &'static str },
    #[error("line {line} has a quote that is never closed")]
    Quote { line: usize },
    #[error("line {line} repeats the token of an earlier line")]
    Duplicate { line: usize },
}

/// The tokens and whom they stand for.
#[derive(Debug, Default)]
pub(crate) struct TokenFile {
    entries: Vec<(String, User)>,
}

/// Compares in a time that depends on the lengths alone.
pub(crate) fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0_u8, |difference, (x, y)| difference | (x ^ y)) == 0
}

/// The cells of one CSV line; `None` when a quote stays open.
fn cells(line: &str) -> Option<Vec<String>> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let cell = cells.last_mut()?;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            other => cell.push(other),
        }
    }
    (!quoted).then(|| cells.into_iter().map(|c| c.trim().to_owned()).collect())
}

impl TokenFile {
    /// Reads the file's text; empty lines and lines that start with `#` are skipped.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let mut file = Self::default();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let cells = cells(line).ok_or(Error::Quote { line: number })?;
            let [token, name, uid, groups @ ..] = cells.as_slice() else {
                return Err(Error::Columns { line: number, columns: cells.len() });
            };
            if token.is_empty() || name.is_empty() {
                return Err(Error::Empty { line: number, column: if token.is_empty() { "token" } else { "user" } });
            }
            if file.entries.iter().any(|(t, _)| t == token) {
                return Err(Error::Duplicate { line: number });
            }
            let groups: Vec<&str> = groups.first().map_or("", String::as_str).split(',').map(str::trim).collect();
            let groups: Vec<&str> = groups.into_iter().filter(|g| !g.is_empty()).collect();
            let mut user = User::new(name, &groups);
            uid.clone_into(&mut user.uid);
            file.entries.push((token.clone(), user));
        }
        Ok(file)
    }

    /// Whom the token stands for. Every entry is compared, so that the time tells nothing.
    pub(crate) fn user(&self, token: &str) -> Option<&User> {
        let mut found = None;
        for (candidate, user) in &self.entries {
            if equal_in_constant_time(candidate.as_bytes(), token.as_bytes()) {
                found = Some(user);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_give_users() {
        let file = TokenFile::parse("# tokens\nabc,alice,1,\"dev,system:masters\"\n\nxyz,bob,2\n").expect("valid");
        let alice = file.user("abc").expect("known");
        assert_eq!(alice.groups, ["dev", "system:masters", "system:authenticated"]);
        assert_eq!(file.user("xyz").map(|u| u.uid.as_str()), Some("2"));
        assert_eq!(file.user("xy"), None);
        assert_eq!(file.user(""), None);
    }

    #[test]
    fn broken_lines_are_named() {
        let check = |text, expected| assert_eq!(TokenFile::parse(text).expect_err(text), expected);
        check("a,b", Error::Columns { line: 1, columns: 2 });
        check("a,b,c\n,x,y", Error::Empty { line: 2, column: "token" });
        check("a,b,c\na,x,y", Error::Duplicate { line: 2 });
        check("a,b,c,\"g", Error::Quote { line: 1 });
    }
}
