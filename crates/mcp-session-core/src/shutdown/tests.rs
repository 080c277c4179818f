use std::time::Duration;

use super::*;
use crate::testing::start;

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_secs(1);
const PATIENT: ShutdownPolicy = ShutdownPolicy { lame_duck: LONG, drain: LONG, cancel: LONG, finish: LONG };

/// S10: a budget for a later phase holds whether it comes before or after that phase begins.
#[test]
fn s_10_tightening_works_before_and_after_a_phase_begins() {
    let now = start();
    let hurried = ShutdownPolicy { finish: SHORT, ..PATIENT };
    for tighten_first in [true, false] {
        let progress = Progress::new(now, PATIENT, Arc::default());
        assert_eq!(progress.deadlines().close, now + LONG * 4);
        if tighten_first {
            progress.tighten(now, hurried);
            progress.enter(now, ShutdownPhase::Finishing);
        } else {
            progress.enter(now, ShutdownPhase::Finishing);
            progress.tighten(now, hurried);
        }
        assert_eq!(progress.deadlines().close, now + SHORT);
    }
}

#[test]
fn tightening_after_the_end_changes_nothing() {
    let now = start();
    let progress = Progress::new(now, PATIENT, Arc::default());
    progress.enter(now, ShutdownPhase::Finishing);
    progress.enter(now, ShutdownPhase::Closed);
    progress.tighten(now, ShutdownPolicy { finish: SHORT, ..PATIENT });
    assert_eq!(progress.deadlines().close, now + LONG);
}
