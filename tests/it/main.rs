//! Every integration test in one binary, so that llama.cpp is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop right there"
)]

mod accept;
mod agent;
mod audit;
mod bench;
mod beside;
mod book;
mod cli;
mod console;
mod init;
mod manual;
mod memory;
mod modbus;
mod mqtt;
mod operations;
mod outages;
mod peers;
mod policies;
mod reason;
mod resolution;
mod sites;
mod sparkplug;
mod steps;
mod trace;
mod upgrade;
mod words;
mod workload;
