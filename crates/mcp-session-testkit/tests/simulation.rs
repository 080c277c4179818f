//! Schedules that once violated an invariant, and what the simulation promises of itself.

use mcp_session_testkit::simulation::{Replay, Simulation, replay};

/// Each seed found a bug, which its line names. A seed keeps its meaning only until what is drawn changes: then it goes, and what
/// it found stays a scenario or a test of the machine.
const FOUND: &[(u64, &str)] = &[
    (
        20_014_791,
        "of two GETs at another node, the second one did not wait for the first, and got a message again",
    ),
    (20_018_181, "a session used at a node that had left was taken for a half-open one"),
    (20_029_460, "`initialized` at a node that drained was lost"),
    (20_078_870, "a session that was deleted while a node adopted it was served there for a moment"),
    (40_139_010, "after a failover, an append of nothing was repeated for ever within one poll"),
    (20_090_653, "the store in memory dropped a session although a client had used it later"),
    (40_886_650, "a call that was last read at a node that left ran for ever"),
    (
        42_496_499,
        "a call was given up although its client read it elsewhere, on a connection that had got no number",
    ),
    (44_777_132, "a cancel for a call whose session was ending at its node had no effect"),
    (44_188_244, "a GET that waited while its session parted and was adopted again got 404"),
    (41_049_239, "a session that had ended elsewhere while it parted from a node got 503 there"),
    (40_765_983, "the end of a log was tried again without a pause while the store could not write"),
];

#[test]
fn what_was_found_stays_fixed() {
    for (seed, found) in FOUND {
        let replayed = replay(&Replay::new(*seed));
        assert_eq!(replayed.violation, None, "{found}\n{}", replayed.trace);
    }
}

#[test]
fn a_seed_does_the_same_again() {
    let traces = |seed| [(); 2].map(|()| replay(&Replay::new(seed)).trace);
    for seed in 0..40 {
        let [one, two] = traces(seed);
        assert_eq!(one, two);
        assert!(!one.is_empty());
    }
}

#[test]
fn some_hundred_schedules_violate_nothing() {
    let mut simulation = Simulation::new(0);
    simulation.schedules = 400;
    let report = simulation.run(|_| {});
    if let Some(failure) = report.failure {
        panic!("{failure}");
    }
    assert_eq!(report.schedules, 400);
    assert!(report.coverage.lines().count() > 50, "{}", report.coverage);
}

#[test]
fn a_part_that_is_left_out_changes_no_other() {
    let whole = replay(&Replay::new(3));
    let text = |keep: &str| format!("3:keep={keep}").parse::<Replay>().expect("a replay");
    assert_eq!(replay(&text("0-1000")).trace, whole.trace);
    let nothing = replay(&text(""));
    assert_ne!(nothing.trace, whole.trace);
    assert!(!nothing.trace.contains("handled at node"), "{}", nothing.trace);
}
