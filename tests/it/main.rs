#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop there")]

mod audit;
