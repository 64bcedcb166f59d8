//! The framing of several parts in one content: `multipart/byteranges` (RFC 9110 §14.6).
//!
//! Called by `edge::response::multipart`. Gives what stands before each part and after the last, and the length of all of it; the caller
//! puts the bytes of the parts between. The boundary is the caller's: one that does not occur in the content, or is not to be guessed.
//! Invariant: the length is exact, so that the answer can carry a Content-Length.

use http::HeaderValue;

use super::Part;

/// The framing of one answer with several parts.
#[derive(Clone, Debug)]
pub struct Multipart {
    /// The delimiter: 1 to 70 characters out of letters and digits (RFC 2046 §5.1.1).
    pub boundary: String,
    /// `Content-Type` of the stored response.
    pub content_type: Option<HeaderValue>,
    /// The length of the complete content.
    pub complete: u64,
}

impl Multipart {
    /// The value of `Content-Type`.
    pub fn media_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// What stands before the bytes of a part.
    pub fn before(&self, part: Part) -> Vec<u8> {
        let mut head = format!("\r\n--{}\r\n", self.boundary).into_bytes();
        if let Some(content_type) = &self.content_type {
            head.extend(b"Content-Type: ");
            head.extend(content_type.as_bytes());
            head.extend(b"\r\n");
        }
        let range = part.content_range(self.complete);
        head.extend(format!("Content-Range: {range}\r\n\r\n").bytes());
        head
    }

    /// What stands after the last part.
    pub fn end(&self) -> Vec<u8> {
        format!("\r\n--{}--\r\n", self.boundary).into_bytes()
    }

    /// How many bytes an answer with these parts has. Saturates.
    pub fn length(&self, parts: &[Part]) -> u64 {
        let size = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let part = |part: &Part| size(&self.before(*part)).saturating_add(part.length());
        let end = size(&self.end());
        parts.iter().map(part).fold(end, u64::saturating_add)
    }
}
