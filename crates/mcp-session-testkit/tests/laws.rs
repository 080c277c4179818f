//! The laws of a runtime hold on the simulation, and those of a store for the store in memory, on several schedules.

use std::process::ExitCode;

use mcp_session_core::store::{MemoryStore, Store};
use mcp_session_testkit::{
    Contended, SimRuntime, contract,
    store_contract::{self, announcements},
    suite,
};

fn main() -> ExitCode {
    let memory = async |runtime| Store::new(MemoryStore::new(runtime));
    suite::run([
        contract::suite("sim_fifo", || SimRuntime::new(0)),
        contract::suite("sim_seed_1", || SimRuntime::new(1)),
        contract::suite("sim_seed_max", || SimRuntime::new(u64::MAX)),
        contract::suite("contended", || Contended::new(SimRuntime::new(1), 1)),
        store_contract::suite("shared_fifo", || SimRuntime::new(0), memory),
        store_contract::suite("shared_seed_1", || SimRuntime::new(1), memory),
        store_contract::suite("shared_contended", || Contended::new(SimRuntime::new(2), 2), memory),
        announcements::suite("announcements_fifo", || SimRuntime::new(0), memory),
        announcements::suite("announcements_seed_1", || SimRuntime::new(1), memory),
        announcements::suite("announcements_contended", || Contended::new(SimRuntime::new(2), 2), memory),
    ])
}
