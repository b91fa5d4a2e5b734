//! What Go finds wrong with a regular expression (package regexp/syntax): which mistake it tells of, and of which part.

/// The most copies that repetitions within each other may ask for.
const COPIES: u64 = 1000;
/// How high the tree of an expression may grow.
const HEIGHT: u32 = 1000;
/// Numbers from here on are too large to be counts, whatever they are.
const COUNT_END: u64 = 100_000_000;

const NAMED_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// A mistake and the part of the pattern that it is in.
type Fault = (&'static str, String);

/// Checks a pattern.
///
/// # Errors
/// Go's message.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    let mut parser = Parser { pattern, at: 0, frames: vec![Frame::default()], last_repeat: None, nodes: 0 };
    parser.run().map_err(|(what, part)| format!("error parsing regexp: {what}: `{part}`"))
}

/// What stands on the parser's stack for an operator to repeat.
#[derive(Debug, Clone, Copy)]
struct Element {
    /// The most copies of a part of it that its repetitions ask for.
    copies: u64,
    height: u32,
}

const LEAF: Element = Element { copies: 1, height: 1 };

/// A group that is open, or the whole.
#[derive(Debug, Default)]
struct Frame {
    captures: bool,
    /// The last element of the branch; none at its start.
    top: Option<Element>,
    copies: u64,
    /// Height of this branch's elements and how many there are, then the same of all branches.
    height: u32,
    elements: u32,
    tallest: u32,
    branches: u32,
}

impl Frame {
    fn push(&mut self, element: Element) {
        self.settle();
        self.top = Some(element);
        self.elements += 1;
    }

    /// The last element can no longer be repeated.
    fn settle(&mut self) {
        if let Some(top) = self.top.take() {
            self.copies = self.copies.max(top.copies);
            self.height = self.height.max(top.height);
        }
    }

    /// Ends a branch.
    fn bar(&mut self) {
        self.settle();
        self.tallest = self.tallest.max(self.height.max(1) + u32::from(self.elements > 1));
        (self.height, self.elements) = (0, 0);
        self.branches += 1;
    }

    /// All of it as one element.
    fn close(mut self) -> Element {
        self.bar();
        let height = self.tallest + u32::from(self.branches > 1) + u32::from(self.captures);
        Element { copies: self.copies.max(1), height }
    }
}

struct Parser<'p> {
    pattern: &'p str,
    at: usize,
    frames: Vec<Frame>,
    /// Where the repetition before this operator starts, if it stands directly before.
    last_repeat: Option<usize>,
    nodes: u32,
}

impl<'p> Parser<'p> {
    fn rest(&self) -> &'p str {
        &self.pattern[self.at..]
    }

    fn fault<T>(&self, what: &'static str, from: usize) -> Result<T, Fault> {
        Err((what, self.pattern[from..self.at].to_owned()))
    }

    fn whole<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err((what, self.pattern.to_owned()))
    }

    /// Takes the next character.
    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn takes(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the whole is never closed")
    }

    fn push(&mut self, element: Element) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes >= HEIGHT && element.height > HEIGHT {
            return self.whole("expression nests too deeply");
        }
        self.frame().push(element);
        Ok(())
    }

    fn run(&mut self) -> Result<(), Fault> {
        while let Some(c) = self.rest().chars().next() {
            let start = self.at;
            let mut repeat = None;
            match c {
                '(' if self.rest().starts_with("(?") => self.perl_group()?,
                '(' => self.open("(", true),
                ')' if self.frames.len() == 1 => return self.whole("unexpected )"),
                ')' => {
                    self.at += 1;
                    let closed = self.frames.pop().map_or(LEAF, Frame::close);
                    self.push(closed)?;
                }
                '|' => {
                    self.at += 1;
                    self.frame().bar();
                }
                '[' => self.class()?,
                '*' | '+' | '?' => {
                    self.at += 1;
                    self.repeat(start, None)?;
                    repeat = Some(start);
                }
                '{' => repeat = self.count(start)?,
                '\\' => self.backslash()?,
                _ => {
                    self.at += c.len_utf8();
                    self.push(LEAF)?;
                }
            }
            self.last_repeat = repeat;
        }
        if self.frames.len() > 1 { self.whole("missing closing )") } else { Ok(()) }
    }

    fn open(&mut self, sign: &str, captures: bool) {
        self.at += sign.len();
        self.nodes += 1;
        self.frames.push(Frame { captures, ..Frame::default() });
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else is a brace that means itself. Gives where a repetition starts.
    fn count(&mut self, start: usize) -> Result<Option<usize>, Fault> {
        let Some((least, most, length)) = counts(self.rest()) else {
            self.at += 1;
            self.push(LEAF)?;
            return Ok(None);
        };
        self.at += length;
        if least > COPIES || most.is_some_and(|most| most > COPIES || least > most) {
            return self.fault("invalid repeat count", start);
        }
        self.repeat(start, Some((least, most)))?;
        Ok(Some(start))
    }

    /// Repeats the last element. `counts`: how often at least and at most.
    fn repeat(&mut self, start: usize, counts: Option<(u64, Option<u64>)>) -> Result<(), Fault> {
        self.takes("?");
        if let Some(last) = self.last_repeat {
            return self.fault("invalid nested repetition operator", last);
        }
        let Some(mut element) = self.frame().top.take() else {
            return self.fault("missing argument to repetition operator", start);
        };
        element.height += 1;
        if let Some((least, most)) = counts {
            element.copies = match most.unwrap_or(least) {
                0 if most.is_some() => 0,
                times => element.copies * times.max(1),
            };
            let many = least >= 2 || most.is_some_and(|most| most >= 2);
            if many && element.copies > COPIES {
                return self.fault("invalid repeat count", start);
            }
        }
        self.nodes += 1;
        if self.nodes >= HEIGHT && element.height > HEIGHT {
            return self.whole("expression nests too deeply");
        }
        self.frame().top = Some(element);
        Ok(())
    }

    /// `(?P<name>`, `(?<name>`, `(?flags)` and `(?flags:`.
    fn perl_group(&mut self) -> Result<(), Fault> {
        let (start, rest) = (self.at, self.rest());
        let name_at = match () {
            () if rest.starts_with("(?P<") && rest.len() > 4 => Some(4),
            () if rest.starts_with("(?<") && rest.len() > 3 => Some(3),
            () => None,
        };
        if let Some(name_at) = name_at {
            let Some(end) = rest.find('>') else { return Err(("invalid named capture", rest.to_owned())) };
            let name = &rest[name_at.min(end)..end];
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(("invalid named capture", rest[..=end].to_owned()));
            }
            self.open(&rest[..=end], true);
            return Ok(());
        }
        self.at += "(?".len();
        let (mut negated, mut flag) = (false, false);
        while let Some(c) = self.next() {
            match c {
                'i' | 'm' | 's' | 'U' => flag = true,
                '-' if !negated => (negated, flag) = (true, false),
                ':' | ')' if !negated || flag => {
                    if c == ':' {
                        self.open("", false);
                    }
                    return Ok(());
                }
                _ => break,
            }
        }
        self.fault("invalid or unsupported Perl syntax", start)
    }

    fn backslash(&mut self) -> Result<(), Fault> {
        let start = self.at;
        if self.takes("\\C") {
            return self.fault("invalid escape sequence", start);
        }
        if self.takes("\\Q") {
            let rest = self.rest();
            let (quoted, length) = match rest.find("\\E") {
                Some(end) => (&rest[..end], end + "\\E".len()),
                None => (rest, rest.len()),
            };
            self.at += length;
            return quoted.chars().try_for_each(|_| self.push(LEAF));
        }
        let assertion = ["\\A", "\\b", "\\B", "\\z"].into_iter().any(|text| self.takes(text));
        if !assertion && !self.unicode_class()? && !self.perl_class() {
            self.escape()?;
        }
        self.push(LEAF)
    }

    fn perl_class(&mut self) -> bool {
        ["\\d", "\\D", "\\s", "\\S", "\\w", "\\W"].into_iter().any(|text| self.takes(text))
    }

    /// `\pL`, `\p{Greek}` and their negations; whether there is one.
    fn unicode_class(&mut self) -> Result<bool, Fault> {
        let (start, rest) = (self.at, self.rest());
        if !rest.starts_with("\\p") && !rest.starts_with("\\P") {
            return Ok(false);
        }
        self.at += 2;
        let name = match self.next() {
            Some('{') => {
                let Some(end) = rest.find('}') else { return Err(("invalid character class range", rest.to_owned())) };
                self.at = start + end + 1;
                &rest[3..end]
            }
            _ => &self.pattern[start + 2..self.at],
        };
        if !is_unicode_class(name.strip_prefix('^').unwrap_or(name)) {
            return self.fault("invalid character class range", start);
        }
        Ok(true)
    }

    /// One escaped character.
    fn escape(&mut self) -> Result<char, Fault> {
        let start = self.at;
        self.at += 1;
        let Some(c) = self.next() else { return Err(("trailing backslash at end of expression", String::new())) };
        let escaped = match c {
            '0' => Some(self.octal(0)),
            '1'..='7' if self.rest().starts_with(|next| ('0'..='7').contains(&next)) => {
                Some(self.octal(c.to_digit(8).unwrap_or_default()))
            }
            'x' => self.hexadecimal(),
            'a' => Some('\u{7}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            c => (c.is_ascii() && !c.is_ascii_alphanumeric()).then_some(c),
        };
        match escaped {
            Some(c) => Ok(c),
            None => self.fault("invalid escape sequence", start),
        }
    }

    /// Up to two more octal digits.
    fn octal(&mut self, mut value: u32) -> char {
        for _ in 0..2 {
            let Some(digit) = self.rest().chars().next().and_then(|c| c.to_digit(8)) else { break };
            self.at += 1;
            value = value * 8 + digit;
        }
        char::from_u32(value).unwrap_or_default()
    }

    /// Two digits, or any number of them in braces.
    fn hexadecimal(&mut self) -> Option<char> {
        let first = self.next()?;
        if first != '{' {
            let second = self.next();
            return char::from_u32(first.to_digit(16)? * 16 + second?.to_digit(16)?);
        }
        let (mut value, mut digits) = (0_u32, 0);
        loop {
            match self.next()? {
                '}' if digits > 0 => break,
                c => value = value * 16 + c.to_digit(16)?,
            }
            if value > u32::from(char::MAX) {
                return None;
            }
            digits += 1;
        }
        // Go takes halves of surrogate pairs, which no text has.
        Some(char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn class(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.at += 1;
        self.takes("^");
        let mut first = true;
        while first || !self.takes("]") {
            first = false;
            if self.named_class()? || self.unicode_class()? || self.perl_class() {
                continue;
            }
            let from = self.at;
            let low = self.class_character(start)?;
            let rest = self.rest();
            if rest.len() >= 2 && rest.starts_with('-') && !rest.starts_with("-]") {
                self.at += 1;
                let high = self.class_character(start)?;
                if high < low {
                    return self.fault("invalid character class range", from);
                }
            }
        }
        self.push(LEAF)
    }

    fn class_character(&mut self, class: usize) -> Result<char, Fault> {
        if self.rest().starts_with('\\') {
            return self.escape();
        }
        self.next().ok_or_else(|| ("missing closing ]", self.pattern[class..].to_owned()))
    }

    /// `[:alnum:]`; whether there is one.
    fn named_class(&mut self) -> Result<bool, Fault> {
        let (start, rest) = (self.at, self.rest());
        let Some(end) = rest.strip_prefix("[:").and_then(|inner| inner.find(":]")) else { return Ok(false) };
        let name = &rest[2..2 + end];
        self.at += end + 4;
        if !NAMED_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return self.fault("invalid character class range", start);
        }
        Ok(true)
    }
}

/// The counts at the start of a text, and how long they are with their braces.
pub(super) fn counts(text: &str) -> Option<(u64, Option<u64>, usize)> {
    let (inner, _) = text.strip_prefix('{')?.split_once('}')?;
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let leads = digits.len() > 1 && digits.starts_with('0');
        (plain && !leads).then(|| digits.parse().unwrap_or(COUNT_END).min(COUNT_END))
    };
    let (least, most) = match inner.split_once(',') {
        None => (number(inner)?, Some(number(inner)?)),
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    Some((least, most, inner.len() + 2))
}

/// Whether Unicode has a general category or script of that name.
fn is_unicode_class(name: &str) -> bool {
    let known = |property: &str| regex::Regex::new(&format!("\\p{{{property}={name}}}")).is_ok();
    let safe = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' '));
    safe && (matches!(name.to_ascii_lowercase().as_str(), "any" | "assigned" | "ascii") || known("gc") || known("sc"))
}
