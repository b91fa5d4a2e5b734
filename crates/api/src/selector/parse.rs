//! The grammar of label selector strings.

use std::collections::BTreeSet;

use super::{Operator, Requirement};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<'a> {
    End,
    Open,
    Close,
    Comma,
    Not,
    Equals,
    DoubleEquals,
    NotEquals,
    Greater,
    Less,
    Word(&'a str),
}

struct Parser<'a> {
    tokens: Vec<(Token<'a>, &'a str)>,
    at: usize,
}

pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser { tokens: scan(text), at: 0 };
    let mut found = Vec::new();
    loop {
        match parser.peek() {
            (Token::End, _) => return Ok(found),
            (Token::Word(_) | Token::Not, _) => {}
            (_, literal) => return Err(format!("found '{literal}', expected: !, identifier, or 'end of string'")),
        }
        found.push(parser.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?);
        match parser.next() {
            (Token::End, _) => return Ok(found),
            (Token::Comma, _) => {
                if let (token, literal) = parser.peek()
                    && !matches!(token, Token::Word(_) | Token::Not)
                {
                    return Err(format!("found '{literal}', expected: identifier after ','"));
                }
            }
            (_, literal) => return Err(format!("found '{literal}', expected: ',' or 'end of string'")),
        }
    }
}

fn scan(text: &str) -> Vec<(Token<'_>, &str)> {
    const SYMBOLS: &[char] = &['=', '!', '(', ')', ',', '>', '<'];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '>' => (Token::Greater, 1),
            '<' => (Token::Less, 1),
            '=' if rest.starts_with("==") => (Token::DoubleEquals, 2),
            '=' => (Token::Equals, 1),
            '!' if rest.starts_with("!=") => (Token::NotEquals, 2),
            '!' => (Token::Not, 1),
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || SYMBOLS.contains(&c)).unwrap_or(rest.len());
                (Token::Word(&rest[..end]), end)
            }
        };
        tokens.push((token, &rest[..length]));
        rest = rest[length..].trim_start();
    }
    tokens
}

impl<'a> Parser<'a> {
    fn peek(&self) -> (Token<'a>, &'a str) {
        self.tokens.get(self.at).cloned().unwrap_or((Token::End, ""))
    }

    fn next(&mut self) -> (Token<'a>, &'a str) {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let negated = self.peek().0 == Token::Not;
        if negated {
            self.next();
        }
        let key = match self.next() {
            (Token::Word(key), _) => key,
            (_, literal) => return Err(format!("found '{literal}', expected: identifier")),
        };
        let bad = crate::names::qualified_name(key);
        if !bad.is_empty() {
            return Err(format!("<nil>: Invalid value: {key:?}: {}", bad.join("; ")));
        }
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Requirement::new(key, Operator::Exists, Vec::new());
        }
        let operator = match self.next() {
            (Token::Word("in"), _) => Operator::In,
            (Token::Word("notin"), _) => Operator::NotIn,
            (Token::Equals | Token::DoubleEquals, _) => Operator::Equals,
            (Token::NotEquals, _) => Operator::NotEquals,
            (Token::Greater, _) => Operator::GreaterThan,
            (Token::Less, _) => Operator::LessThan,
            (_, literal) => return Err(format!("found '{literal}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        Requirement::new(key, operator, values)
    }

    /// `(a,b)`; empty items are empty strings.
    fn values(&mut self) -> Result<Vec<String>, String> {
        let (token, literal) = self.next();
        if token != Token::Open {
            return Err(format!("found '{literal}' expected: '('"));
        }
        if self.peek().0 == Token::Close {
            self.next();
            return Ok(vec![String::new()]);
        }
        // In the order of upstream's sets, which requirements have anyway.
        let mut found: BTreeSet<String> = BTreeSet::new();
        loop {
            let item = match self.peek().0 {
                Token::Word(word) => {
                    self.next();
                    word.to_owned()
                }
                _ => String::new(),
            };
            found.insert(item);
            match self.next() {
                (Token::Comma, _) => {}
                (Token::Close, _) => return Ok(found.into_iter().collect()),
                (_, literal) => return Err(format!("found '{literal}', expected: ',' or ')'")),
            }
        }
    }

    fn exact_value(&mut self) -> Result<String, String> {
        match self.peek() {
            (Token::End | Token::Comma, _) => Ok(String::new()),
            (Token::Word(word), _) => {
                self.next();
                Ok(word.to_owned())
            }
            (_, literal) => Err(format!("found '{literal}', expected: identifier")),
        }
    }
}
