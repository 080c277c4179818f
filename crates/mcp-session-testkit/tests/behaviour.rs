//! The behaviour suite in virtual time, with several seeds, and on a slow machine.

use mcp_session_testkit::{Contended, SimRuntime, behaviour_suite};

behaviour_suite!(sim_fifo, SimRuntime::new(0));
behaviour_suite!(sim_seed_1, SimRuntime::new(1));
behaviour_suite!(sim_seed_2, SimRuntime::new(2));

behaviour_suite!(contended_seed_1, Contended::new(SimRuntime::new(1), 1));
behaviour_suite!(contended_seed_2, Contended::new(SimRuntime::new(2), 2));
behaviour_suite!(contended_seed_3, Contended::new(SimRuntime::new(3), 3));
