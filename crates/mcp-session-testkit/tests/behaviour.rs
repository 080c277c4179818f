//! The behaviour suite in virtual time, under schedules of several seeds.

use mcp_session_testkit::{SimRuntime, behaviour_suite};

behaviour_suite!(sim_fifo, SimRuntime::new(0));
behaviour_suite!(sim_seed_1, SimRuntime::new(1));
behaviour_suite!(sim_seed_2, SimRuntime::new(2));
