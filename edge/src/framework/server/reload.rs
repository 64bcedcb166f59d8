//! SIGHUP: what is read again, and what is not.
//!
//! Certificates, site documents and cluster state are read again and the log file is opened anew. The node file is checked; what changed in
//! it needs a restart, and the log says so. Invariant 6: whatever is bad leaves in force what was good.

use std::path::PathBuf;
use std::sync::Arc;

use jet9_config::node::Node;

use crate::commands::run::read_node;
use crate::framework::tls::Certificates;
use crate::parts::Edge;

/// What a reload works on.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) file: PathBuf,
    pub(super) node: Node,
    pub(super) edge: Arc<Edge>,
    pub(super) certificates: Arc<Certificates>,
}

impl Reload {
    /// Reads everything again.
    pub(super) async fn run(self: Arc<Self>) {
        log::info!("reading documents again");
        self.edge.recorder.reopen();
        let this = Arc::clone(&self);
        let files = tokio::task::spawn_blocking(move || {
            this.certificates.reload();
            this.check_node();
        });
        self.edge.masters.reload().await;
        self.edge.sites.reload().await;
        // It can only fail by a panic, which was reported.
        let _ = files.await;
        log::info!("documents were read again");
    }

    fn check_node(&self) {
        match read_node(&self.file) {
            Err(failure) => {
                log::error!("{failure}\nthe node file is not in force; the one before it stays")
            }
            Ok(node) => {
                let changed = changed_sections(&self.node, &node);
                if !changed.is_empty() {
                    log::warn!(
                        "{}: a restart is needed for what changed in [{}]",
                        self.file.display(),
                        changed.join("], [")
                    );
                }
            }
        }
    }
}

/// The sections of the node file that differ.
fn changed_sections(old: &Node, new: &Node) -> Vec<&'static str> {
    let sections = |node: &Node| {
        [
            (
                "node",
                format!("{:?}", (&node.id, &node.zone, &node.data_dir, node.threads)),
            ),
            ("listen", format!("{:?}", node.listen)),
            ("cache", format!("{:?}", node.cache)),
            ("state", format!("{:?}", node.state)),
            ("tls", format!("{:?}", node.tls)),
            ("limits", format!("{:?}", node.limits)),
            ("log", format!("{:?}", node.log)),
        ]
    };
    let pairs = sections(old).into_iter().zip(sections(new));
    pairs
        .filter(|((_, old), (_, new))| old != new)
        .map(|((name, _), _)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn check(old: &str, new: &str, expected: &[&str]) {
        let node = |text: &str| {
            let text = format!("[node]\nid = \"e1\"\n{text}");
            jet9_config::check::node("node.toml", Path::new("/e"), &text).unwrap()
        };
        assert_eq!(changed_sections(&node(old), &node(new)), expected);
    }

    #[test]
    fn what_needs_a_restart_is_named_by_its_section() {
        let first = "[listen]\nhttp = [\"127.0.0.1:80\"]\n";
        check(first, first, &[]);
        let second =
            "zone = \"z\"\n[listen]\nhttp = [\"127.0.0.1:81\"]\n[limits]\ndrain = \"1s\"\n";
        check(first, second, &["node", "listen", "limits"]);
    }
}
