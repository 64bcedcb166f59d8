//! The whole system, from outside: the built `jet9` with files, ports and origins of each test's own.
//!
//! One binary, because linking is slow. Every test sets a scene ([`support::scene`]) with an overall deadline, owns its directory, its ports
//! and its processes, and may run beside all others. The contract that is tested is `docs/configuration.md` and the invariants of
//! `ARCHITECTURE.md`; nothing of the program's inside is used.

// The attribute tells clippy that helpers, too, are tests, where a panic is the way to fail.
#[cfg(test)]
#[expect(dead_code, reason = "the stories use the rest of it")]
mod support;

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod collapsing;
mod control;
#[cfg(test)]
mod dialects;
#[cfg(test)]
mod etcd;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod interim;
#[cfg(test)]
mod mixed_connection;
#[cfg(test)]
mod names;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod pacemaker;
#[cfg(test)]
mod panel;
#[cfg(test)]
mod purge;
#[cfg(test)]
mod purge_race;
#[cfg(test)]
mod readiness;
#[cfg(test)]
mod real_site;
#[cfg(test)]
mod side_guard;
#[cfg(test)]
mod start_stop;
