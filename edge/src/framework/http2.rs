//! HTTP/2: Pingora sessions that tell the same story.
