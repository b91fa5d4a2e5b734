//! What an evaluation may still do.

use crate::error::{EvalError, Scope};
use crate::limits::{MAX_ALLOCATED, MAX_VISITED, PER_CALL_LIMIT, RULE_SET_LIMIT};

/// Cost that is left, shared by the expressions that are evaluated with it. Costs are cel-go's: about one for each variable, field and call, more for
/// work that grows with its input.
#[derive(Debug, Clone)]
pub struct Budget {
    remaining: u64,
    per_call: u64,
    call: Call,
}

/// What the expression that is being evaluated has used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Call {
    cost: u64,
    allocated: u64,
    visited: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::rule_set()
    }
}

impl Budget {
    /// For one expression: [`PER_CALL_LIMIT`].
    #[must_use]
    pub fn one_call() -> Self {
        Self::new(PER_CALL_LIMIT, PER_CALL_LIMIT)
    }

    /// For all rules of one object or policy: [`RULE_SET_LIMIT`], each at most [`PER_CALL_LIMIT`].
    #[must_use]
    pub fn rule_set() -> Self {
        Self::new(RULE_SET_LIMIT, PER_CALL_LIMIT)
    }

    /// With limits of one's own, in units of cost.
    #[must_use]
    pub fn new(total: u64, per_call: u64) -> Self {
        Self { remaining: total, per_call, call: Call::default() }
    }

    /// What is left for all expressions.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// What the last expression used.
    #[must_use]
    pub fn last_cost(&self) -> u64 {
        self.call.cost
    }

    /// Starts to count for another expression; gives what the present one has used.
    pub(crate) fn begin(&mut self) -> Call {
        std::mem::take(&mut self.call)
    }

    /// Goes on with the expression that was interrupted by [`Self::begin`].
    pub(crate) fn resume(&mut self, call: Call) {
        self.call = call;
    }

    pub(crate) fn spend(&mut self, cost: u64) -> Result<(), EvalError> {
        self.call.cost = self.call.cost.saturating_add(cost);
        if self.call.cost > self.per_call {
            return Err(EvalError::OverBudget(Scope::Call));
        }
        match self.remaining.checked_sub(cost) {
            Some(remaining) => {
                self.remaining = remaining;
                Ok(())
            }
            None => {
                self.remaining = 0;
                Err(EvalError::OverBudget(Scope::Set))
            }
        }
    }

    /// Asks for bytes before they are made.
    pub(crate) fn allocate(&mut self, bytes: u64) -> Result<(), EvalError> {
        self.call.allocated = self.call.allocated.saturating_add(bytes);
        if self.call.allocated > MAX_ALLOCATED { Err(EvalError::OverBudget(Scope::Call)) } else { Ok(()) }
    }

    /// Counts elements that are looked at.
    pub(crate) fn visit(&mut self, elements: u64) -> Result<(), EvalError> {
        self.call.visited = self.call.visited.saturating_add(elements);
        if self.call.visited > MAX_VISITED { Err(EvalError::OverBudget(Scope::Call)) } else { Ok(()) }
    }
}
