//! Whose is what listens at a port of the loopback?
//!
//! Asked by [`super::Client`] once it is connected, before a token that was found beside an edge's data goes there in clear text: while the edge is down, any
//! user of the machine can listen where it did, and would be given everything. The system tells the user of each listening socket in
//! `/proc/net/tcp` (proc(5)); who is neither the owner of the token's file nor root gets nothing. Of a token that somebody gives by hand nothing is
//! asked here: who gives it knows where it goes.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Where the system lists the sockets of this network namespace.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// The state of a socket that listens.
const LISTENING: &str = "0A";

/// Refuses unless the listener at this address of the loopback is this user's, or root's.
///
/// # Errors
/// When it is another's, or nobody can tell.
pub(super) fn check(address: SocketAddr, owner: u32) -> io::Result<()> {
    let mut users = Vec::new();
    for table in TABLES {
        match std::fs::read_to_string(table) {
            Ok(table) => users.extend(listeners(&table, address)),
            // Without IPv6 there is no second.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(refusal(&format!("{table}: {error}"))),
        }
    }
    let is_good = |user: &u32| *user == 0 || *user == owner;
    match users.iter().find(|user| !is_good(user)) {
        Some(user) => Err(refusal(&format!("user {user} listens there"))),
        None if users.is_empty() => Err(refusal("nobody can tell who listens there")),
        None => Ok(()),
    }
}

fn refusal(why: &str) -> io::Error {
    io::Error::other(format!(
        "the token that was found is for the edge whose data it is of, and {why}; give a token with JET9_TOKEN, or ask over the socket"
    ))
}

/// The users of the sockets that may have taken a connection to this address.
fn listeners(table: &str, address: SocketAddr) -> Vec<u32> {
    let listener = |line: &str| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, _, LISTENING, _, _, _, user, ..] = columns[..] else {
            return None;
        };
        let (found, port) = local.split_once(':')?;
        let found = address_of(found)?.to_canonical();
        let is_there = found == address.ip().to_canonical() || found.is_unspecified();
        let is_there = is_there && u16::from_str_radix(port, 16).ok()? == address.port();
        is_there.then(|| user.parse().ok())?
    };
    table.lines().filter_map(listener).collect()
}

/// An address as the table has it: words of 32 bits in hexadecimal, each in the order of this machine.
fn address_of(text: &str) -> Option<IpAddr> {
    let word = |index: usize| {
        let word = text.get(8 * index..8 * index + 8)?;
        Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
    };
    match text.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_users_of_those_who_listen_at_an_address_are_found() {
        let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        let local = word([127, 0, 0, 1]);
        let mapped = format!("{0}{0}{1}{local}", word([0; 4]), word([0, 0, 255, 255]));
        let local6 = format!("{0}{0}{0}{1}", word([0; 4]), word([0, 0, 0, 1]));
        let row = |address: &str, port: u16, state: &str, user: u32| {
            format!(
                "   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {user:5}        0 1 1 0 100 0 0 10 0\n"
            )
        };
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let table = [
            head.to_owned(),
            row(&local, 9443, "0A", 1),
            row(&local, 9444, "0A", 2),
            row(&local, 9443, "01", 3),
            row("00000000", 9443, "0A", 4),
            row(&mapped, 9443, "0A", 5),
            row(&local6, 9443, "0A", 6),
            row(&word([127, 0, 0, 2]), 9443, "0A", 7),
            "nonsense".to_owned(),
        ];
        let check = |address: &str, expected: &[u32]| {
            let address = address.parse().expect("an address");
            assert_eq!(listeners(&table.concat(), address), expected, "{address}");
        };
        check("127.0.0.1:9443", &[1, 4, 5]);
        check("[::1]:9443", &[4, 6]);
        check("127.0.0.2:9443", &[4, 7]);
        check("127.0.0.1:9445", &[]);
    }

    #[test]
    fn a_token_is_for_its_owner_s_listener_and_nobody_else_s() {
        let own = rustix::process::geteuid().as_raw();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // Not each machine has IPv6.
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let address = listener.local_addr().expect("an address");
            check(address, own).expect("its own");
            let other = check(address, own + 1).map_err(|error| error.to_string());
            // What root listens at is the machine's.
            assert_eq!(other.is_ok(), own == 0, "{other:?}");
            drop(listener);
            let gone = check(address, own)
                .expect_err("nobody is there")
                .to_string();
            assert!(gone.contains("nobody can tell"), "{gone}");
        }
    }
}
