//! Distributions of times.

use hdrhistogram::Histogram;

/// Nanoseconds up to a minute, which is the limit of any load, to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("the bounds are in order")
}

/// A quantile in microseconds.
pub(super) fn micros(times: &Histogram<u64>, quantile: f64) -> f64 {
    times.value_at_quantile(quantile) as f64 / 1e3
}
