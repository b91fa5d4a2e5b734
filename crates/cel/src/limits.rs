//! Bounds. What an untrusted author writes can neither run forever nor fill the memory.

/// The longest source, in code points (cel-go's default).
pub(crate) const MAX_SOURCE_CODE_POINTS: usize = 100_000;
/// The deepest tree (cel-go's default for the recursion of its parser).
pub(crate) const MAX_DEPTH: u16 = 250;
/// How deep parentheses, brackets and arguments may be nested (cel-go's default for the recursion of its parser, too).
pub(crate) const MAX_NESTING: u16 = 250;
/// How deep so that the parser's recursion surely fits half the stack of a thread that serves requests; what may be deeper is parsed on a thread
/// of its own.
pub(crate) const SHALLOW_NESTING: usize = 100;
/// The stack of such a thread.
pub(crate) const PARSER_STACK_BYTES: usize = 16 << 20;
/// The most nodes of one expression with its macros expanded.
pub(crate) const MAX_NODES: u32 = 200_000;
/// Cost limit of one expression (`PerCallLimit`).
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// Cost limit of all rules of one object (`RuntimeCELCostBudget`).
pub const RULE_SET_LIMIT: u64 = 10_000_000;
/// Estimated cost, times how often its place may occur, from which on a rule of a custom resource is refused (`StaticEstimatedCostLimit`).
pub const ESTIMATED_RULE_LIMIT: u64 = 10_000_000;
/// The same for the sum over all rules of a definition (`StaticEstimatedCRDCostLimit`).
pub const ESTIMATED_DEFINITION_LIMIT: u64 = 100_000_000;
/// What one expression may make anew, in bytes. Costs do not count the making of lists, so doubling one is bounded here.
pub(crate) const MAX_ALLOCATED: u64 = 64 << 20;
/// How many elements one expression may look at while comparing and converting nested values.
pub(crate) const MAX_VISITED: u64 = 20_000_000;
/// Digits after the point in `format`.
pub(crate) const MAX_PRECISION: usize = 1000;
