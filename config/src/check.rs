//! Documents to types: node files and site documents, with every problem collected.
