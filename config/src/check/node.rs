//! The reader of node files.
//!
//! Called by [`super::node()`]. One function a section, in the order of docs/configuration.md.
//! Knows the schema, the defaults and the bounds of each key; the limits are next door.
//! Invariant: what this version cannot do is refused with these words, even where the key is well formed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::{limits, state};
use crate::names::check_token;
use crate::node::{
    AccessLogFormat, AdminListen, Listen, Log, Node, Storage, Tls, TlsVersion, Volume,
};
use crate::reader::{Item, Table};
use crate::units::SIZE_MAX;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The path of a Unix socket that the kernel takes: `sun_path` is 108 bytes with its final zero.
const SOCKET_PATH_MAX: usize = 107;

pub(super) fn read(table: &mut Table<'_>, base: &Path) -> Option<Node> {
    let identity = table.section("node", |table| identity(table, base));
    let data_dir = identity.data_dir.clone();
    let node = Node {
        zone: identity.zone,
        threads: identity.threads,
        listen: table.section("listen", |table| listen(table, base, &data_dir)),
        cache: table.section("cache", |table| storage(table, base)),
        state: table.section("state", |table| state::read(table, base)),
        tls: table.section("tls", |table| tls(table, base, &data_dir)),
        limits: table.section("limits", limits::read),
        log: table.section("log", |table| log(table, base)),
        data_dir,
        // Last, so that a node without a name is read to its end.
        id: identity.id?,
    };
    Some(node)
}

struct Identity {
    id: Option<String>,
    zone: String,
    data_dir: PathBuf,
    threads: usize,
}

fn identity(table: &mut Table<'_>, base: &Path) -> Identity {
    let id = table.require("id", "the name of this node in Via, Cache-Status and logs");
    Identity {
        id: id.and_then(|item| token(&item)),
        zone: table.value("zone", "local".into(), |item| token(&item)),
        data_dir: table.value("data_dir", base.join("data"), |item| path(&item, base)),
        threads: table.value("threads", 0, |item| item.integer(0..=1024)),
    }
}

fn listen(table: &mut Table<'_>, base: &Path, data_dir: &Path) -> Listen {
    let problems = table.problems();
    let mut taken = Vec::new();
    let http = table.value("http", Vec::new(), |item| addresses(&item, &mut taken));
    let https = table.value("https", Vec::new(), |item| addresses(&item, &mut taken));
    if taken.is_empty() && table.problems() == problems {
        table.complain(
            "http",
            "nothing to serve: listen.http and listen.https are both empty",
        );
    }
    let own = vec![AdminListen::Unix(data_dir.join("admin.sock"))];
    let admin = |item: Item<'_>| item.list(|item| admin_address(&item, base, &mut taken));
    let admin = table.value("admin", own, admin);
    let metrics = |item: Item<'_>| Some(optional(&item)?.and_then(|_| address(&item, &mut taken)));
    let metrics = table.value("metrics", None, metrics);
    let proxies = table.take("proxy_protocol_from");
    Listen {
        http,
        https,
        admin,
        metrics,
        proxy_protocol_from: proxies
            .map(|item| proxies_not_yet(&item))
            .unwrap_or_default(),
    }
}

fn proxies_not_yet(item: &Item<'_>) -> Vec<IpNet> {
    let networks = item.list(|item| network(&item)).unwrap_or_default();
    if !networks.is_empty() {
        item.not_yet("the PROXY protocol; leave the list empty");
    }
    networks
}

fn storage(table: &mut Table<'_>, base: &Path) -> Storage {
    let memory = table.value("memory", 256 * MIB, |item| item.size(MIB..=SIZE_MAX));
    let mut disk: Vec<Volume> = Vec::new();
    for item in table
        .take("disk")
        .and_then(|item| item.array())
        .unwrap_or_default()
    {
        let Some(volume) = item.clone().table(|table| volume(table, base)) else {
            continue;
        };
        let overlaps = |other: &&Volume| {
            volume.path.starts_with(&other.path) || other.path.starts_with(&volume.path)
        };
        match disk.iter().find(overlaps) {
            Some(other) => item.problem(format!(
                "this volume and that in {} share a directory",
                other.path.display()
            )),
            None => disk.push(volume),
        }
    }
    let max_object = table.value("max_object", GIB, |item| item.size(1..=SIZE_MAX));
    Storage {
        memory,
        disk,
        max_object,
    }
}

fn volume(table: &mut Table<'_>, base: &Path) -> Option<Volume> {
    let own = table.require("path", "the directory of this volume");
    let size = table.require("size", "how much this volume may take, such as \"4GiB\"");
    let own = own.and_then(|item| path(&item, base));
    let size = size.and_then(|item| item.size(64 * MIB..=SIZE_MAX));
    Some(Volume {
        path: own?,
        size: size?,
    })
}

fn tls(table: &mut Table<'_>, base: &Path, data_dir: &Path) -> Tls {
    let versions = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
    let default_certificate =
        |item: Item<'_>| Some(optional(&item)?.and_then(|_| path(&item, base)));
    table.section("acme", acme);
    Tls {
        min_version: table.value("min_version", TlsVersion::V1_2, |item| item.word(&versions)),
        default_certificate: table.value("default_certificate", None, default_certificate),
        certificates: table.value("certificates", data_dir.join("certificates"), |item| {
            path(&item, base)
        }),
    }
}

fn acme(table: &mut Table<'_>) {
    if let Some(item) = table.take("directory")
        && item.string().is_some_and(|url| !url.is_empty())
    {
        item.not_yet("certificates by ACME; put PEM files into tls.certificates");
    }
    if let Some(item) = table.take("contact")
        && item
            .list(|item| item.string().map(drop))
            .is_some_and(|list| !list.is_empty())
    {
        item.not_yet("certificates by ACME, whose contacts these are");
    }
    if let Some(item) = table.take("challenges") {
        item.list(|item| item.word(&[("http-01", ()), ("tls-alpn-01", ())]));
    }
}

fn log(table: &mut Table<'_>, base: &Path) -> Log {
    let formats = [
        ("json", AccessLogFormat::Json),
        ("combined", AccessLogFormat::Combined),
        ("off", AccessLogFormat::Off),
    ];
    let file = |item: Item<'_>| match item.string()? {
        "-" => Some(None),
        _ => path(&item, base).map(Some),
    };
    table.section("access", |table| Log {
        format: table.value("format", AccessLogFormat::Json, |item| item.word(&formats)),
        path: table.value("path", None, file),
        sample: table.value("sample", 1.0, |item| item.share()),
    })
}

/// A text that may be empty, which is as if it were absent.
fn optional<'d>(item: &Item<'d>) -> Option<Option<&'d str>> {
    item.string().map(|text| (!text.is_empty()).then_some(text))
}

fn token(item: &Item<'_>) -> Option<String> {
    item.parse(|text| check_token(text).map(|()| text.to_owned()))
}

pub(super) fn path(item: &Item<'_>, base: &Path) -> Option<PathBuf> {
    item.parse(|text| match text {
        "" => Err("expected a path, found \"\""),
        _ if text.contains('\0') => Err("a path has no zero byte"),
        _ => Ok(base.join(text)),
    })
}

/// A network: an address, or an address and a length. Bits beyond the length are refused, for one of the two is a slip.
pub(super) fn network(item: &Item<'_>) -> Option<IpNet> {
    item.parse(|text| {
        if let Ok(address) = text.parse() {
            return Ok(IpNet::new_assert(
                address,
                if address.is_ipv4() { 32 } else { 128 },
            ));
        }
        match text.parse::<IpNet>() {
            Ok(network) if network.addr() == network.network() => Ok(network),
            Ok(network) => Err(format!(
                "{text} has bits beyond its length; did you mean {}?",
                network.trunc()
            )),
            Err(_) => Err(format!(
                "expected a network such as \"192.0.2.0/24\", found {text:?}"
            )),
        }
    })
}

fn addresses(item: &Item<'_>, taken: &mut Vec<SocketAddr>) -> Option<Vec<SocketAddr>> {
    item.list(|item| address(&item, taken))
}

fn address(item: &Item<'_>, taken: &mut Vec<SocketAddr>) -> Option<SocketAddr> {
    let example = "expected an address and a port such as \"127.0.0.1:8080\" or \"[::]:8080\"";
    let address = item.parse(|text| {
        text.parse::<SocketAddr>()
            .map_err(|_| format!("{example}, found {text:?}"))
    })?;
    if address.port() != 0 && taken.contains(&address) {
        item.problem(format!("{address} is listened on twice"));
        return None;
    }
    taken.push(address);
    Some(address)
}

fn admin_address(item: &Item<'_>, base: &Path, taken: &mut Vec<SocketAddr>) -> Option<AdminListen> {
    if let Some(socket) = item.string()?.strip_prefix("unix:") {
        return admin_socket(item, socket, base);
    }
    address(item, taken).map(AdminListen::Tcp)
}

fn admin_socket(item: &Item<'_>, socket: &str, base: &Path) -> Option<AdminListen> {
    let path = base.join(socket);
    if socket.is_empty() || socket.contains('\0') {
        item.problem("expected a path after \"unix:\"");
    } else if path.as_os_str().len() > SOCKET_PATH_MAX {
        item.problem(format!(
            "{} is longer than {SOCKET_PATH_MAX} bytes, the longest path of a socket",
            path.display()
        ));
    }
    Some(AdminListen::Unix(path))
}
