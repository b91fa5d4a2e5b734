//! The estimated cost of calls.

use super::{Entries, Estimate, Estimator, NOTHING, ONE, UNKNOWN};
use crate::ast::{Expr, Kind, Literal};
use crate::cost::actual::selector;
use crate::cost::paths::{Step, declared_size, fixed_size, step};
use crate::cost::{AUTHORISATION, LIST_BASE, REGEX, TRAVERSAL};
use crate::library::SORT_BY_KEYS;
use crate::registry::Overload;
use crate::types::Type;

/// The longest regular expression of a named format (`MaxNameFormatRegexSize`).
const FORMAT_REGEX_MAX: f64 = 128.0;
/// The longest name of a format (`MaxFormatSize`).
const FORMAT_NAME_MAX: u64 = 64;

/// A call: what it is applied to and what its arguments cost.
struct Site<'e> {
    expr: &'e Expr,
    function: &'e str,
    target: Option<&'e Expr>,
    args: &'e [Expr],
    costs: Vec<Estimate>,
}

/// Cost of a call with its arguments, and the size of its result if that is known.
type Cost = (Estimate, Option<Estimate>);

impl Estimator<'_> {
    pub(super) fn call(&mut self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) -> Estimate {
        if let ("dyn", [arg]) = (function, args) {
            let cost = self.cost(arg).plus(ONE);
            let (size, entries, path) = (self.size(arg), self.entries(arg), self.path(arg));
            self.set_size(expr, size);
            self.entries.extend(entries.map(|e| (expr.id, e)));
            self.set_path(expr, path);
            return cost;
        }
        let costs: Vec<Estimate> = args.iter().map(|a| self.cost(a)).collect();
        if function == "_?._" {
            return self.optional_select(expr, args, &costs);
        }
        let overloads = self.program.overloads[expr.id as usize].clone();
        // The target of `optional.of(..)` is part of the name.
        let member = overloads.first().is_some_and(|o| o.member);
        let qualified = target.filter(|_| !member).and_then(Expr::qualified_name);
        let qualified = qualified.map(|name| format!("{}.{function}", name.trim_start_matches('.')));
        let function = qualified.as_deref().unwrap_or(function);
        let target = target.filter(|_| member);
        let before = target.map_or(NOTHING, |t| self.cost(t));
        let site = Site { expr, function, target, args, costs };
        let mut cost: Option<Estimate> = None;
        let mut size: Option<Estimate> = None;
        for overload in &overloads {
            let (one, its_size) = self.overload(&site, overload);
            cost = Some(cost.map_or(one, |c| c.union(one)));
            size = match (size, its_size) {
                (Some(a), Some(b)) => Some(a.union(b)),
                (a, b) => a.or(b),
            };
            if matches!(function, "_[_]" | "_[?_]")
                && let Some(container) = args.first()
            {
                size = self.entries(container).map(|e| e.value);
                let path = self.path(container).and_then(|ty| step(&ty, &Step::Value));
                self.set_path(expr, path);
            }
            size = size.or_else(|| self.size(expr));
        }
        self.set_size(expr, size);
        before.plus(cost.unwrap_or(NOTHING))
    }

    fn optional_select(&mut self, expr: &Expr, args: &[Expr], costs: &[Estimate]) -> Estimate {
        if let [operand, Expr { kind: Kind::Literal(Literal::String(field)), .. }] = args {
            let path = self.path(operand).and_then(|ty| step(&ty, &Step::Field(field)));
            self.set_path(expr, path);
        }
        sum(costs).plus(ONE)
    }

    fn overload(&mut self, site: &Site<'_>, overload: &Overload) -> Cost {
        let args = sum(&site.costs);
        if let Some((cost, size)) = self.library(site, overload) {
            return (cost.plus(args), size);
        }
        match (site.function, site.args) {
            ("_&&_" | "_||_", [_, _]) => {
                let (left, right) = (site.costs[0], site.costs[1]);
                (Estimate { min: left.min, max: left.plus(right).max }, None)
            }
            ("_?_:_", [_, a, b]) => {
                let size = self.size_or_unknown(a).union(self.size_or_unknown(b));
                self.join_entries(site.expr, a, b);
                (site.costs[0].plus(site.costs[1].union(site.costs[2])), Some(size))
            }
            ("_+_", [a, b]) if matches!(overload.result, Type::String | Type::Bytes | Type::List(_)) => {
                let size = self.size_or_unknown(a).plus(self.size_or_unknown(b));
                self.join_entries(site.expr, a, b);
                let list = matches!(overload.result, Type::List(_));
                (if list { ONE } else { size.times(TRAVERSAL) }.plus(args), Some(size))
            }
            ("@in", [_, list]) if matches!(overload.params.get(1), Some(Type::List(_))) => {
                (self.size_or_unknown(list).times(1.0).plus(args), None)
            }
            ("_==_" | "_!=_", [a, b]) => (self.compared(a, b).plus(args), None),
            ("_<_" | "_<=_" | "_>_" | "_>=_", [a, b]) if matches!(overload.params[0], Type::String | Type::Bytes) => {
                (self.compared(a, b).plus(args), None)
            }
            ("bytes", [a]) if overload.params[0] == Type::String => {
                let size = self.size_or_unknown(a);
                let result = Estimate { min: size.min, max: size.max.saturating_mul(4) };
                (size.times(TRAVERSAL).plus(args), Some(result))
            }
            ("string", [a]) if overload.params[0] == Type::Bytes => {
                let size = self.size_or_unknown(a);
                (size.times(TRAVERSAL).plus(args), Some(Estimate { min: size.min / 4, max: size.max }))
            }
            _ => (ONE.plus(args), None),
        }
    }

    fn join_entries(&mut self, expr: &Expr, a: &Expr, b: &Expr) {
        if let (Some(a), Some(b)) = (self.entries(a), self.entries(b)) {
            let joined: Entries = a.union(b);
            self.entries.insert(expr.id, joined);
        }
    }

    fn compared(&self, a: &Expr, b: &Expr) -> Estimate {
        let max = self.size_or_unknown(a).max.min(self.size_or_unknown(b).max);
        Estimate { min: u64::from(max > 0), max }.times(TRAVERSAL)
    }

    /// The functions of libraries that have costs of their own.
    fn library(&self, site: &Site<'_>, overload: &Overload) -> Option<Cost> {
        let target = || site.target.map(|t| self.size_or_unknown(t));
        let arg = |at: usize| site.args.get(at).map(|a| self.size_or_unknown(a));
        let text = |size: Estimate, times: f64| size.times(times * TRAVERSAL);
        Some(match site.function {
            "check" => (Estimate::exactly(AUTHORISATION), None),
            "fieldSelector" | "labelSelector" => {
                let length = arg(0)?;
                (Estimate { min: selector(length.min), max: selector(length.max) }, None)
            }
            "_==_" => (self.same(site)?, None),
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => (self.traversal(site.target?), None),
            "url" | "jsonpatch.escapeKey" => (text(arg(0)?, 1.0), arg(0)),
            "strings.quote" => {
                let size = arg(0)?;
                let result =
                    Estimate { min: size.min.saturating_add(2), max: size.max.saturating_mul(2).saturating_add(2) };
                (text(size, 1.0), Some(result))
            }
            "ip" if site.target.is_some() => (ONE, None),
            "ip" | "isIP" | "cidr" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
                (text(arg(0)?, 1.0), None)
            }
            "ip.isCanonical" => (text(arg(0)?, 2.0), None),
            "lowerAscii" | "upperAscii" | "substring" | "trim" => (text(target()?, 1.0), target()),
            "startsWith" | "endsWith" => (text(arg(0)?, 1.0), None),
            "contains" => (text(target()?, 1.0).product(text(arg(0)?, 1.0)), None),
            "format" => (text(target()?, 1.0), None),
            "replace" => (text(target()?, 2.0), Some(replaced(target()?, arg(0)?, arg(1)?))),
            "split" => {
                let max = site.args.get(1).map_or(target()?.max, |limit| whole(limit, u64::MAX));
                (text(target()?, 2.0), Some(Estimate { min: 0, max }))
            }
            "join" => {
                let size = self.joined(site.target?, arg(0));
                (text(size, 1.0), Some(size))
            }
            "matches" if site.target.is_none() => (regex(arg(0)?, arg(1)?), None),
            "matches" => (regex(target()?, arg(0)?), None),
            "find" | "findAll" => (regex(target()?, arg(0)?), Some(Estimate { min: 0, max: target()?.max })),
            "containsIP" | "containsCIDR" => (self.network(site, overload), None),
            "sets.contains" | "sets.intersects" => (arg(0)?.product(arg(1)?).plus(ONE), None),
            "sets.equivalent" => (arg(0)?.product(arg(1)?).product(Estimate::exactly(2)).plus(ONE), None),
            "slice" => {
                let max = target()?.max;
                let (start, end) = (whole(site.args.first()?, 0), whole(site.args.get(1)?, max));
                list_made(1.0, Estimate::exactly(end.saturating_sub(start)))
            }
            "lists.range" => list_made(1.0, Estimate::exactly(whole(site.args.first()?, u64::MAX))),
            "reverse" => list_made(1.0, target()?),
            "flatten" => list_made(site.args.first().map_or(1, |depth| whole(depth, u64::MAX)) as f64, target()?),
            "distinct" => list_made(2.0, target()?.product(target()?)),
            "sort" => sorted(target()?, &overload.params[0]),
            SORT_BY_KEYS => sorted(arg(0)?, &overload.params[1]),
            "validate" => (text(arg(0)?, 1.0).times(FORMAT_REGEX_MAX * REGEX), None),
            _ => return None,
        })
    }

    /// Comparing what only functions look into.
    fn same(&self, site: &Site<'_>) -> Option<Estimate> {
        let [a, b] = site.args else { return None };
        let (Type::Opaque(name), Type::Opaque(other)) = (self.type_of(a).plain(), self.type_of(b).plain()) else {
            return None;
        };
        let max = match *name {
            _ if name != other => return None,
            // Those of images are unknown to upstream.
            "kubernetes.Image" => return None,
            "kubernetes.URL" => self.sizes.get(&b.id).map_or(1, |size| size.max),
            "kubernetes.NamedFormat" => FORMAT_NAME_MAX,
            _ => return Some(ONE),
        };
        Some(Estimate { min: 1, max }.times(TRAVERSAL))
    }

    /// One for each element, and the characters of texts.
    fn traversal(&self, target: &Expr) -> Estimate {
        let size = self.size_or_unknown(target);
        let Type::List(element) = self.type_of(target).plain() else { return size.times(TRAVERSAL) };
        match element.plain() {
            Type::String | Type::Bytes => size.product(ONE.plus(self.element_size(target).times(TRAVERSAL))),
            _ => size,
        }
    }

    fn element_size(&self, list: &Expr) -> Estimate {
        let declared = self.path(list).and_then(|ty| step(&ty, &Step::Value));
        let of_type = match self.type_of(list).plain() {
            Type::List(element) => fixed_size(element),
            _ => None,
        };
        declared.and_then(|ty| declared_size(&ty)).or(of_type).unwrap_or(UNKNOWN)
    }

    fn joined(&self, list: &Expr, separator: Option<Estimate>) -> Estimate {
        let count = self.size_or_unknown(list);
        let between = Estimate { min: count.min.saturating_sub(1), max: count.max.saturating_sub(1) };
        let separators = separator.map_or(NOTHING, |s| s.product(between));
        count.product(self.element_size(list)).plus(separators)
    }

    fn network(&self, site: &Site<'_>, overload: &Overload) -> Estimate {
        let address = Estimate { min: 4, max: 16 };
        let mut cost = address.plus(address).times(TRAVERSAL);
        if site.function == "containsCIDR" {
            cost = cost.plus(address.times(TRAVERSAL)).plus(ONE);
        }
        match site.args.first() {
            Some(arg) if overload.params.get(1) == Some(&Type::String) => {
                cost.plus(self.size_or_unknown(arg).times(TRAVERSAL))
            }
            _ => cost,
        }
    }
}

/// A literal that is a whole number, or what stands for all others.
fn whole(expr: &Expr, otherwise: u64) -> u64 {
    match &expr.kind {
        Kind::Literal(Literal::Int(n)) => u64::try_from(*n).unwrap_or(otherwise),
        _ => otherwise,
    }
}

/// A call that makes a list, by the size that is worked through. Upstream also takes that for the size of the result.
fn list_made(factor: f64, size: Estimate) -> Cost {
    (size.times(factor).plus(Estimate::exactly(1 + LIST_BASE)), Some(size))
}

fn sorted(keys: Estimate, list: &Type) -> Cost {
    let text = matches!(list, Type::List(element) if matches!(**element, Type::String | Type::Bytes));
    list_made(if text { 2.0 + TRAVERSAL } else { 2.0 }, keys.product(keys))
}

fn sum(costs: &[Estimate]) -> Estimate {
    costs.iter().copied().fold(NOTHING, Estimate::plus)
}

fn regex(text: Estimate, pattern: Estimate) -> Estimate {
    text.plus(ONE).times(TRAVERSAL).product(pattern.times(REGEX))
}

/// The size of a text after replacing.
fn replaced(text: Estimate, from: Estimate, to: Estimate) -> Estimate {
    let max = if from.min == 0 {
        // Nothing is replaced around every character.
        text.max.saturating_add(1).saturating_mul(to.max).saturating_add(text.max)
    } else if to.max <= from.min {
        text.max
    } else {
        text.max.div_ceil(from.min).saturating_mul(to.max)
    };
    let min = if from.max == 0 {
        text.min.saturating_add(1).saturating_mul(to.min).saturating_add(text.min)
    } else if from.max <= to.min {
        text.min
    } else {
        text.min.div_ceil(from.max).saturating_mul(to.min)
    };
    Estimate { min, max }
}
