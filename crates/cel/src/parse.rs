//! From source to [`Expr`]: precedence climbing over tokens. Depth and size are bounded while parsing, so nothing behind it can overflow the stack.

mod build;
mod lex;
mod macros;
mod unquote;

use std::sync::Arc;

use crate::ast::{Entry, Expr, FieldInit, Item, Kind, Literal};
use crate::limits::{MAX_NESTING, MAX_SOURCE_CODE_POINTS, PARSER_STACK_BYTES, SHALLOW_NESTING};
use build::Builder;
use lex::{Spanned, Token};

/// What stopped the parser: a byte offset, if it is at a place, and a message.
pub(crate) type Fault = (Option<u32>, String);
type Parsed<T> = Result<T, Fault>;

/// An expression and how many ids it uses.
pub(crate) struct Parse {
    pub root: Expr,
    pub ids: u32,
}

/// Which macros beyond the common ones are known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Macros {
    /// `cel.bind`.
    pub bind: bool,
}

/// Parses a source.
pub(crate) fn parse(source: &str, macros: Macros) -> Parsed<Parse> {
    let length = source.chars().count();
    if length > MAX_SOURCE_CODE_POINTS {
        let message =
            format!("expression code point size exceeds limit: size: {length}, limit {MAX_SOURCE_CODE_POINTS}");
        return Err((None, message));
    }
    let tokens = lex::tokens(source).map_err(|(at, message)| (Some(at), message))?;
    let deepest = deepest(&tokens);
    let parser = Parser { source, tokens, next: 0, nesting: 0, build: Builder::default(), macros };
    if deepest <= SHALLOW_NESTING {
        return parser.whole();
    }
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("cel-parser".to_owned()).stack_size(PARSER_STACK_BYTES);
        let parsed = builder.spawn_scoped(scope, || parser.whole()).map(std::thread::ScopedJoinHandle::join);
        match parsed {
            Ok(Ok(parsed)) => parsed,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // There is no thread to be had now.
            Err(_) => Err((None, build::too_deep(MAX_NESTING))),
        }
    })
}

/// The most that the parser may recurse into these tokens: brackets that are open at once, and the conditionals that follow each other.
fn deepest(tokens: &[Spanned]) -> usize {
    let (mut open, mut most, mut conditionals) = (0_usize, 0, 0);
    for token in tokens {
        match token.token {
            Token::Sign("(" | "[" | "{") => open += 1,
            Token::Sign(")" | "]" | "}") => open = open.saturating_sub(1),
            Token::Sign("?") => conditionals += 1,
            _ => {}
        }
        most = most.max(open);
    }
    most + conditionals
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Spanned>,
    next: usize,
    nesting: u16,
    build: Builder,
    macros: Macros,
}

/// Precedence of `||`, the least.
const OR: u8 = 1;
/// Precedence of `&&`.
const AND: u8 = 2;

/// Precedence of the operators that take two operands, and the names of their functions.
fn binary(sign: &str) -> Option<(u8, &'static str)> {
    Some(match sign {
        "||" => (OR, "_||_"),
        "&&" => (AND, "_&&_"),
        "<" => (3, "_<_"),
        "<=" => (3, "_<=_"),
        ">" => (3, "_>_"),
        ">=" => (3, "_>=_"),
        "==" => (3, "_==_"),
        "!=" => (3, "_!=_"),
        "in" => (3, "@in"),
        "+" => (4, "_+_"),
        "-" => (4, "_-_"),
        "*" => (5, "_*_"),
        "/" => (5, "_/_"),
        "%" => (5, "_%_"),
        _ => return None,
    })
}

/// What may start an operand, as messages name it.
const OPERAND: &str =
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

impl Parser<'_> {
    fn whole(mut self) -> Parsed<Parse> {
        let root = self.expression()?;
        if *self.peek() != Token::End {
            return Err(self.unexpected("<EOF>"));
        }
        Ok(Parse { root, ids: self.build.ids() })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next.min(self.tokens.len() - 1)].token
    }

    fn at(&self) -> u32 {
        self.tokens[self.next.min(self.tokens.len() - 1)].at
    }

    /// Takes the sign if it is next, and gives its place.
    fn take(&mut self, sign: &str) -> Option<u32> {
        let at = self.at();
        (matches!(self.peek(), Token::Sign(s) if *s == sign)).then(|| {
            self.next += 1;
            at
        })
    }

    fn expect(&mut self, sign: &str) -> Parsed<u32> {
        self.take(sign).ok_or_else(|| self.unexpected(&format!("'{sign}'")))
    }

    fn unexpected(&self, expected: &str) -> Fault {
        let token = &self.tokens[self.next.min(self.tokens.len() - 1)];
        let text =
            if token.token == Token::End { "<EOF>" } else { &self.source[token.at as usize..token.end as usize] };
        let problem = if expected == "<EOF>" { "extraneous" } else { "mismatched" };
        (Some(token.at), format!("Syntax error: {problem} input '{text}' expecting {expected}"))
    }

    fn identifier(&mut self) -> Parsed<(Arc<str>, u32)> {
        let at = self.at();
        match self.peek() {
            Token::Ident(name) => {
                let name = Arc::clone(name);
                self.next += 1;
                Ok((name, at))
            }
            _ => Err(self.unexpected("IDENTIFIER")),
        }
    }

    /// `condition ? a : b`, or what binds tighter. All nesting passes through here.
    fn expression(&mut self) -> Parsed<Expr> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err((None, build::too_deep(MAX_NESTING)));
        }
        let condition = self.operators(OR)?;
        let result = if self.peek() == &Token::Sign("?") { self.ternary(condition)? } else { condition };
        self.nesting -= 1;
        Ok(result)
    }

    #[inline(never)]
    fn ternary(&mut self, condition: Expr) -> Parsed<Expr> {
        let at = self.expect("?")?;
        let truthy = self.operators(OR)?;
        self.expect(":")?;
        let falsy = self.expression()?;
        self.build.call(at, "_?_:_", None, vec![condition, truthy, falsy])
    }

    /// Operands and the operators between them that bind at least so tightly.
    fn operators(&mut self, least: u8) -> Parsed<Expr> {
        let mut left = self.unary()?;
        while let Some((precedence, function)) = self.operator(least) {
            left = if precedence <= AND {
                self.logic(left, precedence, function)?
            } else {
                self.right_operand(left, precedence, function)?
            };
        }
        Ok(left)
    }

    /// The next operator, if it binds tightly enough.
    fn operator(&self, least: u8) -> Option<(u8, &'static str)> {
        match self.peek() {
            Token::Sign(sign) => binary(sign).filter(|(precedence, _)| *precedence >= least),
            _ => None,
        }
    }

    #[inline(never)]
    fn right_operand(&mut self, left: Expr, precedence: u8, function: &str) -> Parsed<Expr> {
        let at = self.at();
        self.next += 1;
        let right = self.operators(precedence + 1)?;
        self.build.call(at, function, None, vec![left, right])
    }

    /// Operands between `||` or `&&`, as a balanced tree: the depth grows with the logarithm of their number.
    #[inline(never)]
    fn logic(&mut self, left: Expr, precedence: u8, function: &str) -> Parsed<Expr> {
        let mut operands = vec![left];
        let mut places = Vec::new();
        while self.operator(precedence).is_some_and(|(p, _)| p == precedence) {
            places.push(self.at());
            self.next += 1;
            operands.push(self.operators(precedence + 1)?);
        }
        self.build.balance(function, operands, &places)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let at = self.at();
        let (sign, function) = match self.peek() {
            Token::Sign(sign @ "!") => (*sign, "!_"),
            Token::Sign(sign @ "-") => (*sign, "-_"),
            _ => return self.member(),
        };
        let mut count = 0;
        while self.take(sign).is_some() {
            count += 1;
        }
        // The last minus before a number belongs to the number, so that the smallest one can be written.
        if sign == "-" && matches!(self.peek(), Token::Int(_) | Token::Double(_)) {
            self.next -= 1;
            count -= 1;
        }
        let operand = self.member()?;
        // Signs in pairs cancel each other out.
        if count % 2 == 0 { Ok(operand) } else { self.build.call(at, function, None, vec![operand]) }
    }

    /// A primary with its selections, indices and calls.
    fn member(&mut self) -> Parsed<Expr> {
        let mut expr = self.primary()?;
        loop {
            if let Some(at) = self.take(".") {
                expr = self.selection(expr, at)?;
            } else if let Some(at) = self.take("[") {
                let function = if self.take("?").is_some() { "_[?_]" } else { "_[_]" };
                let index = self.expression()?;
                self.expect("]")?;
                expr = self.build.call(at, function, None, vec![expr, index])?;
            } else if *self.peek() == Token::Sign("{") {
                let Some(name) = expr.qualified_name() else { return Ok(expr) };
                expr = self.message(&name)?;
            } else {
                return Ok(expr);
            }
        }
    }

    fn selection(&mut self, operand: Expr, at: u32) -> Parsed<Expr> {
        let optional = self.take("?").is_some();
        let (name, name_at) = self.identifier()?;
        if optional {
            let field = self.build.node(name_at, Kind::Literal(Literal::String(name)))?;
            return self.build.call(at, "_?._", None, vec![operand, field]);
        }
        let Some(open) = self.take("(") else {
            return self.build.node(at, Kind::Select { operand: Box::new(operand), field: name, test: false });
        };
        let args = self.arguments()?;
        match macros::member(&mut self.build, self.macros, open, &name, operand, args)? {
            macros::Expanded::Yes(expr) => Ok(expr),
            macros::Expanded::No(operand, args) => self.build.call(open, &name, Some(operand), args),
        }
    }

    /// Arguments up to the closing parenthesis.
    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if self.take(")").is_some() {
            return Ok(args);
        }
        loop {
            args.push(self.expression()?);
            if self.take(")").is_some() {
                return Ok(args);
            }
            self.expect(",")?;
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let at = self.at();
        match self.peek() {
            Token::Sign("(") => {
                self.next += 1;
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign("[") => self.list(),
            Token::Sign("{") => self.map(),
            Token::Sign(".") => {
                self.next += 1;
                self.name(at, ".")
            }
            Token::Ident(_) => self.name(at, ""),
            _ => {
                let literal = self.literal()?;
                self.build.node(at, Kind::Literal(literal))
            }
        }
    }

    /// A variable or a call of a function that is no member.
    fn name(&mut self, at: u32, dot: &str) -> Parsed<Expr> {
        let (name, _) = self.identifier()?;
        if gantry_api::names::is_expression_word(&name) {
            return Err((Some(at), format!("reserved identifier: {name}")));
        }
        let name: Arc<str> = if dot.is_empty() { name } else { format!("{dot}{name}").into() };
        let Some(open) = self.take("(") else { return self.build.node(at, Kind::Ident(name)) };
        let args = self.arguments()?;
        match macros::global(&mut self.build, open, &name, args)? {
            Ok(expr) => Ok(expr),
            Err(args) => self.build.call(open, &name, None, args),
        }
    }

    fn literal(&mut self) -> Parsed<Literal> {
        let at = Some(self.at());
        let negative = self.take("-").is_some();
        let sign = if negative { "-" } else { "" };
        let literal = match self.peek() {
            Token::Sign("true") => Literal::Bool(true),
            Token::Sign("false") => Literal::Bool(false),
            Token::Sign("null") => Literal::Null,
            Token::Int(digits) => {
                Literal::Int(int(sign, digits).ok_or_else(|| (at, "invalid int literal".to_owned()))?)
            }
            Token::Uint(digits) => Literal::Uint(uint(digits).ok_or_else(|| (at, "invalid uint literal".to_owned()))?),
            Token::Double(digits) => {
                let value: f64 =
                    format!("{sign}{digits}").parse().map_err(|_| (at, "invalid double literal".to_owned()))?;
                if value.is_infinite() {
                    return Err((at, "invalid double literal".to_owned()));
                }
                Literal::Double(value)
            }
            Token::String(text) => Literal::String(Arc::clone(text)),
            Token::Bytes(bytes) => Literal::Bytes(Arc::clone(bytes)),
            _ => return Err(self.unexpected(OPERAND)),
        };
        self.next += 1;
        Ok(literal)
    }

    fn list(&mut self) -> Parsed<Expr> {
        let at = self.expect("[")?;
        let mut items = Vec::new();
        while self.take("]").is_none() {
            let optional = self.take("?").is_some();
            items.push(Item { value: self.expression()?, optional });
            if self.take(",").is_none() {
                self.expect("]")?;
                break;
            }
        }
        self.build.node(at, Kind::List(items))
    }

    fn map(&mut self) -> Parsed<Expr> {
        let at = self.expect("{")?;
        let mut entries = Vec::new();
        while self.take("}").is_none() {
            let optional = self.take("?").is_some();
            let key = self.expression()?;
            self.expect(":")?;
            entries.push(Entry { key, value: self.expression()?, optional });
            if self.take(",").is_none() {
                self.expect("}")?;
                break;
            }
        }
        self.build.node(at, Kind::Map(entries))
    }

    fn message(&mut self, name: &str) -> Parsed<Expr> {
        let at = self.expect("{")?;
        let mut fields = Vec::new();
        while self.take("}").is_none() {
            let optional = self.take("?").is_some();
            let (field, _) = self.identifier()?;
            let colon = self.expect(":")?;
            fields.push(FieldInit { name: field, at: colon, value: self.expression()?, optional });
            if self.take(",").is_none() {
                self.expect("}")?;
                break;
            }
        }
        self.build.node(at, Kind::Struct { name: name.into(), fields })
    }
}

fn int(sign: &str, digits: &str) -> Option<i64> {
    match digits.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(&format!("{sign}{hex}"), 16).ok(),
        None => format!("{sign}{digits}").parse().ok(),
    }
}

fn uint(digits: &str) -> Option<u64> {
    match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    }
}
