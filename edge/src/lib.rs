//! Jet9 Edge: the story of a request, and the program around it.
//!
//! ```text
//! accept ─ client ─ TLS ─ site ─ guard ─ key ─ lookup ──hit───────────────────────────────┐
//!                                               │ stale / forward(reason)                ▼
//!                                               └─ master ─ forward ─ receive ─ store ─ deliver ─ record
//!                                                     ▲____retry, hold______|     │
//!                                            any failure ─► fault ◄───────────────┘ (or a stale response)
//! ```
//!
//! [`story`] tells it on one page; the modules below stand in reading order. Stage functions take protocol-neutral types
//! ([`message`]) and facts, and do not know who calls them: `framework` carries bytes (Pingora, the HTTP/1.1 front) and decides nothing.
//! The only crate that names Pingora, opens sockets and reads the clock.

pub mod clock;
pub mod exchange;
pub mod interim;
pub mod message;
pub mod parts;
pub mod story;

pub mod origin;
pub mod record;
pub mod request;
pub mod response;

pub mod client;
pub mod commands;
pub mod control;
pub mod framework;
