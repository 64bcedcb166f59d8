//! What every whole-system test needs: a scene, an edge, origins, clients, and a way to wait for facts.
//!
//! Helpers fail by panicking with what they saw; a scene adds the words of its processes. Every wait has a deadline, and nothing here
//! knows a port or a path that another test could use as well.

pub(crate) mod access_log;
pub(crate) mod cluster;
pub(crate) mod edge;
pub(crate) mod etcd;
pub(crate) mod gate;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod nginx;
pub(crate) mod origin;
pub(crate) mod process;
pub(crate) mod refusing_disk;
pub(crate) mod scene;
pub(crate) mod setup;
pub(crate) mod tls;
pub(crate) mod wait;
