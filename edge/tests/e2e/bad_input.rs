//! Bad input of every kind: a clear message, and what was good stays as it was. Nothing panics; each scene sees to that.

use std::time::Duration;

use super::support::origin::Origin;

mod at_start;
mod documents;
mod on_disk;
mod on_the_ports;

const LIMIT: Duration = Duration::from_secs(60);

fn stored_pages() -> Origin {
    Origin::start(|seen, wire| {
        wire.content();
        let content = format!("page {} ", seen.target).repeat(64);
        wire.answer(
            "200 OK",
            "Cache-Control: max-age=600\r\n",
            content.as_bytes(),
        )
    })
}

fn page(target: &str) -> String {
    format!("page {target} ").repeat(64)
}
