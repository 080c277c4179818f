//! Makes a schedule that fails as small as it can.

use super::{
    Failure, Replay,
    book::Violation,
    plan::Plan,
    run::{self, Outcome},
};

/// The number of orders of the ready tasks that are tried for each smaller plan.
const ORDERS: u64 = 4;

/// The number of runs after which it is small enough.
const RUNS: u32 = 3_000;

/// The number of lines of a trace.
const LINES: usize = 60;

/// Leaves out parts of the schedule of a seed, as long as it violates the same invariant.
pub(super) fn shrink(seed: u64, after: u64, violation: &Violation) -> Failure {
    let whole = Plan::draw(seed);
    let mut keep: Vec<usize> = (0..whole.size()).collect();
    let mut order = whole.order;
    let mut runs = 0;
    // Halves first, then smaller pieces, as delta debugging does.
    let mut piece = keep.len().div_ceil(2);
    while piece > 0 && runs < RUNS {
        let mut start = 0;
        while start < keep.len() && runs < RUNS {
            let without: Vec<usize> = [&keep[..start], &keep[(start + piece).min(keep.len())..]].concat();
            let orders = [order, 0].into_iter().chain((1..ORDERS).map(|n| order.wrapping_add(n)));
            let fails = orders.into_iter().find(|order| {
                runs += 1;
                let smaller = Replay { seed, order: Some(*order), keep: Some(without.clone()) };
                let outcome = run::run(smaller.plan(), false);
                outcome.violation.is_some_and(|found| found.invariant == violation.invariant)
            });
            match fails {
                Some(same) => (keep, order) = (without, same),
                None => start += piece,
            }
        }
        piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
    }
    let smallest = Replay { seed, order: Some(order), keep: Some(keep) };
    let plan = smallest.plan();
    let text = format!("{plan:#?}");
    let Outcome { violation: found, trace, .. } = run::run(plan, true);
    let (text, plan) = match found {
        Some(found) if found.invariant == violation.invariant => (found.text, text),
        // A run that does not repeat is the worst find of all.
        other => (format!("{}; and not when it was run again: {other:?}", violation.text), text),
    };
    let lines: Vec<&str> = trace.lines().collect();
    let trace = lines[lines.len().saturating_sub(LINES)..].join("\n");
    Failure { invariant: violation.invariant, text, seed, after, smallest, plan, trace }
}
