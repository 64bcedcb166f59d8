//! Sockets: bound before anything runs, accepted by one loop each.
